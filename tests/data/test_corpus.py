import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from audiossl.data.columns import _mapped_file
from audiossl.data.corpus import Corpus
from audiossl.data.lhotse_cuts import lhotse_items, shar_items, shar_shards
from audiossl.data.reading import read_item
from audiossl.errors import UserError
from tests.data.corpora import RATE, prepare, tone, write_folder


@pytest.mark.parametrize("encoding", ["wav", "flac"])
def test_any_crop_is_that_of_the_file(tmp_path, encoding):
    write_folder(tmp_path / "audio", [0.5, 1.0, 0.3, 0.7, 0.9])
    prepare(tmp_path / "audio", tmp_path / "corpus", encoding=encoding, shard_size=2)
    corpus = Corpus(tmp_path / "corpus")
    assert [corpus.name(i) for i in range(len(corpus))] == ["000", "001", "002", "003", "004"]
    for index in range(5):
        whole, _ = soundfile.read(tmp_path / "audio" / f"{index:03d}.wav", dtype="float32")
        np.testing.assert_allclose(corpus.waveform(index), whole, atol=1 / 32768)
        np.testing.assert_array_equal(
            corpus.waveform(index, start=1000, num_samples=777), corpus.waveform(index)[1000:1777]
        )
        energy = float(corpus.fields["recording"].energy[index])
        assert energy == pytest.approx(float((whole.astype(np.float64) ** 2).sum()), rel=1e-3)


def test_any_rate_and_number_of_channels_comes_out_as_16_khz_mono(tmp_path):
    (tmp_path / "audio").mkdir()
    for name, rate, channels in (("a", 44100, 2), ("b", 8000, 1), ("c", 192000, 8)):
        wave = np.repeat(tone(1.0, 440, rate)[:, None], channels, axis=1)
        soundfile.write(tmp_path / "audio" / f"{name}.wav", wave, rate)
    prepare(tmp_path / "audio", tmp_path / "corpus")
    corpus = Corpus(tmp_path / "corpus")
    labels = list(corpus.labels())
    for index, (rate, channels) in enumerate([(44100, 2), (8000, 1), (192000, 8)]):
        waveform = corpus.waveform(index)
        assert len(waveform) == 16000
        np.testing.assert_allclose(waveform[800:-800], tone(1.0, 440)[800:-800], atol=2e-3)
        assert labels[index]["native_rate"] == str(rate)
        assert labels[index]["native_channels"] == str(channels)


# lhotse's reader of tars leaves its last files for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_lhotse_reads_what_we_write_and_we_read_what_lhotse_writes(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 1.0, 0.3])
    prepare(tmp_path / "audio", tmp_path / "corpus", shard_size=2)
    corpus = Corpus(tmp_path / "corpus")
    files = {
        name: sorted(str(path) for path in (tmp_path / "corpus" / "shar").glob(f"{name}.*"))
        for name in ("cuts", "recording")
    }
    cuts = CutSet.from_shar(fields=files).to_eager()
    for index, cut in enumerate(cuts):
        assert cut.id == corpus.name(index)
        np.testing.assert_array_equal(cut.load_audio()[0], corpus.waveform(index))
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=2)
    shards = shar_shards(tmp_path / "shar")
    items = [item for shard in shards for item in shar_items(shard)]
    assert [item.id for item in items] == ["000", "001", "002"]
    assert "shard_origin" not in items[0].labels
    for index, item in enumerate(items):
        np.testing.assert_array_equal(read_item(item).waveform, corpus.waveform(index))


def test_lhotse_cuts_keep_their_labels_and_spans(tmp_path):
    write_folder(tmp_path / "audio", [2.0])
    recording = Recording.from_file(tmp_path / "audio" / "000.wav")
    spoken = SupervisionSegment("000", recording.id, 0.0, 2.0, speaker="ann", text="two words")
    cut = recording.to_cut().truncate(offset=0.5, duration=0.25)
    cut.supervisions = [spoken]
    CutSet.from_cuts([cut]).to_file(tmp_path / "cuts.jsonl.gz")
    (item,) = lhotse_items(tmp_path / "cuts.jsonl.gz")
    assert item.labels == {"speaker": "ann", "text": "two words"}
    expected, _ = soundfile.read(tmp_path / "audio" / "000.wav", dtype="float32")
    np.testing.assert_array_equal(read_item(item).waveform, expected[8000:12000])


def test_the_same_corpus_gives_the_same_bytes(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 1.0])
    digests = []
    for name in ("one", "two"):
        prepare(tmp_path / "audio", tmp_path / name)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        digests.append([hashlib.sha256(p.read_bytes()).hexdigest() for p in files])
    assert digests[0] == digests[1]


def test_a_mixture_beyond_full_scale_keeps_its_level(tmp_path):
    folder = tmp_path / "audio" / "song"
    folder.mkdir(parents=True)
    loud = tone(0.5, 300, level=0.9)
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", loud, 16000, subtype="FLOAT")
    (tmp_path / "labels.csv").write_text("path,x\nsong,1\n")
    prepare(
        tmp_path / "audio", tmp_path / "corpus", labels=[tmp_path / "labels.csv"], only_labeled=True
    )
    corpus = Corpus(tmp_path / "corpus")
    np.testing.assert_allclose(corpus.waveform(0), 3 * loud, atol=4 / 32768)
    assert next(corpus.labels())["gain"] == "0.25"


def test_bad_files_are_named_and_left_out(tmp_path):
    audio = tmp_path / "audio"
    write_folder(audio, [0.5])
    (audio / "empty.wav").touch()
    (audio / "text.wav").write_text("not audio")
    soundfile.write(audio / "nan.wav", np.full(1600, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(audio / "sample.wav", np.zeros(1, np.float32), 16000)
    whole = (audio / "000.wav").read_bytes()
    (audio / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (report,) = prepare(audio, tmp_path / "corpus", shard_size=100)
    assert report.num_items == 6
    assert [skip["id"] for skip in report.skipped] == [
        "empty",
        "nan",
        "sample",
        "text",
        "truncated",
    ]
    for skip in report.skipped:
        assert f"{skip['id']}.wav: " in skip["reason"]
        assert "\n" not in skip["reason"]
    assert len(Corpus(tmp_path / "corpus")) == 1


def test_unfinished_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="not a finished corpus"):
        Corpus(tmp_path)
    for name, durations in (("one", [0.5]), ("two", [0.6])):
        write_folder(tmp_path / f"audio-{name}", durations)
        prepare(tmp_path / f"audio-{name}", tmp_path / name)
    with pytest.raises(UserError, match="was made from other cuts"):
        Corpus(tmp_path / "one", tmp_path / "two")


def test_cuts_are_selected_by_labels(tmp_path):
    write_folder(tmp_path / "audio", [0.1, 0.1, 0.1])
    (tmp_path / "labels.csv").write_text("path,split\n000.wav,train\n001.wav,test\n002.wav,train\n")
    prepare(tmp_path / "audio", tmp_path / "corpus", labels=[tmp_path / "labels.csv"])
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.select({"split": ["train"]}).tolist() == [0, 2]
    with pytest.raises(UserError, match=r"no cut has split in \['valid'\]"):
        corpus.select({"split": ["valid"]})


@pytest.mark.parametrize(
    ("start", "num_samples"),
    [(-1, 10), (0, 1601), (1600, 1), (-16, None), (10, -5), (5000, None), (2**40, 1)],
)
def test_a_crop_never_reaches_what_lies_beside_its_cut(tmp_path, start, num_samples):
    write_folder(tmp_path / "audio", [0.1, 0.1, 0.1])
    for encoding in ("wav", "flac"):
        prepare(tmp_path / "audio", tmp_path / encoding, encoding=encoding)
        with pytest.raises(UserError, match="cut 001: has samples 0 to 1600, asked for"):
            Corpus(tmp_path / encoding).waveform(1, start=start, num_samples=num_samples)


@pytest.mark.parametrize("encoding", ["wav", "flac"])
@pytest.mark.parametrize("dbfs", [-20, -60, -80, -90, -96, -110, -140, -300])
def test_recordings_keep_40_db_at_any_level(tmp_path, encoding, dbfs):
    generator = np.random.default_rng(0)
    shape = np.sin(np.arange(16000) / 7) * np.hanning(16000) + generator.normal(0, 0.02, 16000)
    quiet = (10 ** (dbfs / 20) * shape / np.abs(shape).max()).astype(np.float32)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", quiet, 16000, subtype="FLOAT")
    prepare(tmp_path / "audio", tmp_path / "cuts", encoding=encoding)
    corpus = Corpus(tmp_path / "cuts")
    error = np.square(corpus.waveform(0).astype(np.float64) - quiet).sum()
    assert 10 * np.log10(np.square(quiet.astype(np.float64)).sum() / error) > 40
    # Where 16 bits are enough, readers that do not look at the gain find the level as it is.
    assert (float(corpus.fields["recording"].columns["gain"][0]) == 1.0) == (dbfs >= -20)
    crop = corpus.waveform(0, start=100, num_samples=50)
    np.testing.assert_array_equal(crop, corpus.waveform(0)[100:150])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_levels_survive_a_second_preparation(tmp_path):
    (tmp_path / "audio").mkdir()
    quiet = 1e-5 * tone(0.5, 300)
    soundfile.write(tmp_path / "audio" / "a.wav", quiet, 16000, subtype="FLOAT")
    prepare(tmp_path / "audio", tmp_path / "cuts")
    (shard,) = shar_shards(tmp_path / "cuts" / "shar")
    (item,) = shar_items(shard)
    np.testing.assert_array_equal(read_item(item).waveform, Corpus(tmp_path / "cuts").waveform(0))


@pytest.mark.parametrize("lost", [1, 2000, 15_000, None])
def test_a_shard_that_was_cut_short_is_refused_by_name_at_opening(tmp_path, lost):
    write_folder(tmp_path / "audio", [0.5, 0.5, 0.5])
    prepare(tmp_path / "audio", tmp_path / "cuts", shard_size=2)
    path = tmp_path / "cuts" / "shar" / "recording.000001.tar"
    end = int(Corpus(tmp_path / "cuts").fields["recording"].columns["offset"][2]) + 16044
    path.write_bytes(path.read_bytes()[: 0 if lost is None else end - lost])
    with pytest.raises(UserError, match=r"recording.000001.tar: damaged \(\d+ bytes"):
        Corpus(tmp_path / "cuts")
    path.unlink()
    with pytest.raises(UserError, match=r"recording.000001.tar: damaged"):
        Corpus(tmp_path / "cuts")


def test_damaged_flac_and_damaged_cuts_are_named(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 0.5])
    prepare(tmp_path / "audio", tmp_path / "cuts", encoding="flac")
    corpus = Corpus(tmp_path / "cuts")
    path = tmp_path / "cuts" / "shar" / "recording.000000.tar"
    content = bytearray(path.read_bytes())
    first = int(corpus.fields["recording"].columns["offset"][1])
    content[first : first + 4000] = bytes(4000)
    path.write_bytes(bytes(content))
    _mapped_file.cache_clear()
    with pytest.raises(UserError, match=r"recording.000000.tar: damaged \(cut 001"):
        corpus.waveform(1)
    cuts = tmp_path / "cuts" / "shar" / "cuts.000000.jsonl.gz"
    cuts.write_bytes(cuts.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"cuts.000000.jsonl.gz: damaged"):
        list(corpus.labels())


def test_a_corpus_that_was_made_anew_is_read_anew(tmp_path, monkeypatch):
    """One path, in one process, and two corpora: also below another working folder."""
    for name, seconds in (("first", 0.5), ("second", 0.8)):
        write_folder(tmp_path / f"{name}_audio", [seconds])
        prepare(tmp_path / f"{name}_audio", tmp_path / name / "cuts")
        monkeypatch.chdir(tmp_path / name)
        assert len(Corpus(Path("cuts")).waveform(0)) == int(seconds * RATE)
    monkeypatch.chdir(tmp_path)
    Path("first/cuts").rename("old")
    Path("second/cuts").rename("first/cuts")
    assert len(Corpus(Path("first/cuts")).waveform(0)) == int(0.8 * RATE)
