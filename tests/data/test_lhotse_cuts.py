import gzip
import json
import tarfile

import numpy as np
import pytest
import soundfile
from lhotse import (
    AudioSource,
    CutSet,
    MonoCut,
    Recording,
    RecordingSet,
    SupervisionSegment,
    SupervisionSet,
)

from audiossl.data.lhotse_cuts import lhotse_items, shar_items, shar_shards
from audiossl.data.reading import read_item
from audiossl.errors import Skip, UserError
from tests.data.corpora import tone, write_folder


def spoken(number, start, text, speaker, **rest):
    return SupervisionSegment(
        f"s{number}", "rec", start, 1.0, text=text, speaker=speaker, **{"channel": 0, **rest}
    )


@pytest.fixture
def stereo(tmp_path):
    both = np.stack([tone(4.0, 300), tone(4.0, 700)], 1)
    soundfile.write(tmp_path / "a.wav", both, 16000)
    return Recording.from_file(tmp_path / "a.wav", recording_id="rec")


def cut_of(recording, **rest):
    return MonoCut(**{"id": "c", "start": 0.0, "duration": 4.0, "channel": 0,
                      "recording": recording, **rest})  # fmt: skip


def written(tmp_path, *cuts):
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    return lhotse_items(tmp_path / "cuts.jsonl.gz")


def test_all_supervisions_of_a_cut_count_in_the_order_of_time(tmp_path, stereo):
    both = [spoken(2, 2.0, "good bye", "B", language="en"), spoken(1, 0.0, "hello", "A")]
    (item,) = written(tmp_path, cut_of(stereo, supervisions=both))
    assert item.labels == {"text": "hello good bye", "speaker": "A|B", "language": "en"}


def test_cuts_of_several_channels_are_named_and_the_others_used(tmp_path, stereo):
    (multi,) = CutSet.from_manifests(recordings=RecordingSet.from_recordings([stereo]))
    mixed = cut_of(stereo, id="long").pad(duration=5.0, preserve_id=True)
    bare = cut_of(None, id="bare")
    early = cut_of(stereo, id="early", start=-1.0, duration=2.0)
    late = cut_of(stereo, id="late", start=3.0, duration=2.0)
    items = {i.id: i for i in written(tmp_path, multi, cut_of(stereo), mixed, bare, early, late)}
    assert not items["c"].problem
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(read_item(items["c"]).waveform, expected[:, 0])
    for name, message in {
        "rec-0": r"has channels \[0, 1\]: split it",
        "long": "is a MixedCut",
        "bare": "has no recording",
        "early": "is from -1.0 to 1.0 s of a recording of 4.0 s",
        "late": "is from 3.0 to 5.0 s",
    }.items():
        with pytest.raises(Skip, match=f"cut {name} {message}"):
            read_item(items[name])
    # What the messages advise works.
    split = multi.to_mono()
    stored = CutSet.from_cuts([mixed.drop_supervisions()]).save_audios(tmp_path / "stored")
    assert not any(item.problem for item in written(tmp_path, *split, *stored))


def test_stereo_recordings_are_named_and_supervisions_choose_a_channel(tmp_path, stereo):
    RecordingSet.from_recordings([stereo]).to_file(tmp_path / "recordings.jsonl")
    (whole,) = lhotse_items(tmp_path / "recordings.jsonl")
    assert "has channels [0, 1]" in whole.problem
    SupervisionSet.from_segments(
        [
            spoken(1, 0.5, "hello", "A", channel=1),
            SupervisionSegment("s2", "nowhere", 0.0, 1.0, text="lost"),
        ]
    ).to_file(tmp_path / "supervisions.jsonl")
    first, lost = lhotse_items(tmp_path / "recordings.jsonl", tmp_path / "supervisions.jsonl")
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(read_item(first).waveform, expected[8000:24000, 1])
    assert (first.id, first.labels) == ("s1", {"text": "hello", "speaker": "A"})
    assert "recording 'nowhere' is not in" in lost.problem


def test_commands_run_only_where_the_user_has_allowed_them(tmp_path, stereo):
    source = AudioSource("command", [0, 1], f"cat {tmp_path}/a.wav")
    command = Recording("rec", [source], 16000, 64000, 4.0)
    with pytest.raises(UserError, match=r"cut c: a shell command \(cat .*--allow-commands"):
        written(tmp_path, cut_of(command))
    (item,) = lhotse_items(tmp_path / "cuts.jsonl.gz", allow_commands=True)
    np.testing.assert_allclose(read_item(item).waveform, tone(4.0, 300), atol=1e-4)


def test_damaged_manifests_are_refused_by_line(tmp_path, stereo):
    written(tmp_path, *(cut_of(stereo, id=f"c{number}") for number in range(2000)))
    path = tmp_path / "cuts.jsonl.gz"
    lines = gzip.decompress(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"line \d+: damaged or truncated"):
        lhotse_items(path)
    for content, message in (
        (lines[:-100], "line 2000: no entry"),
        (lines.replace(b'"MonoCut"', b'"FortyCut"', 1), "line 1: no entry.*FortyCut"),
        (b"[1]\n", "line 1: no entry .*list instead"),
        (b'{"a":' * 100_000, "line 1: no entry"),
        (b'{"type": "MonoCut"}', "line 1: no entry"),
        (b"\xff", "line 1: no entry"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            lhotse_items(path)


@pytest.fixture
def shar(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 1.0, 0.3])
    recordings = RecordingSet.from_dir(tmp_path / "audio", "*.wav")
    (tmp_path / "shar").mkdir()
    CutSet.from_manifests(recordings=recordings).to_shar(
        tmp_path / "shar", fields={"recording": "wav"}, shard_size=2
    )
    return shar_shards(tmp_path / "shar")


# lhotse's reader of tars leaves its last files for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kept", [0.0, 0.2, 0.6, 0.9])
def test_a_truncated_tar_loses_no_cut_in_silence(shar, kept):
    tar = shar[0].with_name("recording.000000.tar")
    tar.write_bytes(tar.read_bytes()[: int(kept * tar.stat().st_size)])
    items = list(shar_items(shar[0]))
    assert len(items) == 2
    lost = [item for item in items if item.problem]
    assert lost
    assert all(f"{tar}: ends too early" in item.problem for item in lost)
    assert all(len(read_item(item).waveform) for item in items if not item.problem)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_swapped_tar_and_missing_cuts_are_named(shar):
    first, second = (shard.with_name(f"recording.00000{n}.tar") for n, shard in enumerate(shar))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert all("where" in i.problem or "too early" in i.problem for i in shar_items(shar[0]))
    swapped = list(shar_items(shar[1]))
    assert len(swapped) == 2
    assert "has no cut for" in swapped[1].problem


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_bad_json_in_a_tar_is_named(shar):
    tar = shar[0].with_name("recording.000000.tar")
    with tarfile.open(tar) as file:
        place = file.getmembers()[1].offset_data
    content = bytearray(tar.read_bytes())
    content[place : place + 4] = b"!!!!"
    tar.write_bytes(bytes(content))
    assert all("ends too early" in item.problem for item in shar_items(shar[0]))


def test_integers_as_identities_are_text(tmp_path, stereo):
    row = {**cut_of(stereo).to_dict(), "id": 17}
    (tmp_path / "cuts.jsonl").write_text(json.dumps(row) + "\n")
    (item,) = lhotse_items(tmp_path / "cuts.jsonl")
    assert item.id == "17"
