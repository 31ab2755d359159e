import shutil

import numpy as np
import pytest
import soundfile

from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.separation.decomposition import DecompositionConfig
from audiossl.separation.given import GivenConfig
from recipes.prepare import folder as prepare_folder
from recipes.source_association import separate
from recipes.stage import Resources, run
from tests.data.corpora import RATE, write_folder

GIVEN = GivenConfig(sources={"low": "bass", "high": "other"}, pattern="{folder}/{stem}.wav")


@pytest.fixture
def song_folder(tmp_path):
    write_folder(tmp_path / "songs", [1.0, 0.7, 1.2, 0.5], stems=True)
    for song in (tmp_path / "songs").iterdir():
        stems = [soundfile.read(path, dtype="float32")[0] for path in song.glob("*.wav")]
        soundfile.write(song / "mixture.wav", np.sum(stems, axis=0), RATE)
    return tmp_path / "songs"


def prepared(song_folder):
    output = song_folder.parent / "cuts"
    config = prepare_folder.Config(folder=song_folder, output=output, shard_size=2)
    run(config, prepare_folder.prepare, "recipes.prepare.folder")
    return output


def separated(song_folder, name, separator=GIVEN, **settings):
    config = separate.Config(
        cuts=song_folder.parent / "cuts",
        output=song_folder.parent / name,
        separator=separator,
        originals=song_folder,
        **settings,
    )
    return run(config, separate.separate, "recipes.source_association.separate")


def content(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "shar").iterdir())}


def test_given_stems_are_stored_as_they_are_and_silence_as_absent(song_folder):
    cuts = prepared(song_folder)
    separated(song_folder, "stems")
    corpus = Corpus(cuts, song_folder.parent / "stems")
    assert set(corpus.stems) == {"bass", "other"}
    for cut in range(len(corpus)):
        stems = {name: corpus.waveform(cut, name) for name in corpus.stems}
        np.testing.assert_allclose(sum(stems.values()), corpus.waveform(cut), atol=1e-4)
    silent = [cut for cut in range(len(corpus)) if not corpus.waveform(cut, "other").any()]
    assert [corpus.name(cut) for cut in silent] == ["002"]


@pytest.mark.parametrize("separator", [GIVEN, DecompositionConfig()], ids=["given", "estimated"])
def test_a_lost_shard_is_made_again_to_the_bit_by_any_number_of_workers(song_folder, separator):
    prepared(song_folder)
    separated(song_folder, "whole", separator)
    separated(song_folder, "again", separator, resources=Resources(workers=2))
    whole = content(song_folder.parent / "whole")
    assert content(song_folder.parent / "again") == whole
    again = song_folder.parent / "again"
    next((again / "shar").glob("other.*000001*")).unlink()
    shutil.rmtree(again / "receipts")
    (again / "stage.json").write_text(
        (again / "stage.json").read_text().replace('"finished": "', '"finished": null, "was": "')
    )
    separated(song_folder, "again", separator)
    assert content(again) == whole


def test_a_stem_shorter_than_its_mixture_is_skipped_by_name_and_bounded(song_folder):
    cuts = prepared(song_folder)
    samples = soundfile.read(song_folder / "001" / "low.wav", dtype="float32")[0]
    soundfile.write(song_folder / "001" / "low.wav", samples[: RATE // 4], RATE)
    with pytest.raises(UserError, match=r"1 of 4 .*001"):
        separated(song_folder, "strict")
    separated(song_folder, "lenient", max_skipped=0.5)
    skipped = (song_folder.parent / "lenient" / "skipped.jsonl").read_text()
    assert '"001"' in skipped
    corpus = Corpus(cuts, song_folder.parent / "lenient")
    assert not corpus.waveform(1, "bass").any()
