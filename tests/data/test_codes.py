"""Codes beside a corpus: lhotse reads them, so do we, and nothing else is touched."""

import hashlib

import numpy as np
import pytest
import torch
from lhotse import CutSet

from audiossl.data.code_writing import finish_codes, write_codes
from audiossl.data.codes import CodeFacts, shar_fields
from audiossl.data.columns import _mapped_file
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.nn.codes import Codes
from tests.data.corpora import RATE, encode, prepare, write_folder

# lhotse's readers leave their tars to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    write_folder(folder / "audio", [1.0, 0.73, 2.0, 0.5, 1.21])
    prepare(folder / "audio", folder / "cuts", shard_size=2)
    encode(folder / "cuts", folder / "speech", without=("003",))
    encode(folder / "cuts", folder / "audio_codes", "audio", rate=25.0, books=2)
    return folder


@pytest.fixture(scope="module")
def cuts(folder) -> list:
    fields = shar_fields(folder / "cuts", folder / "speech", folder / "audio_codes")
    return list(CutSet.from_shar(fields=fields))


def test_lhotse_and_we_read_the_same_codes_of_every_cut(folder, cuts):
    corpus = Corpus(folder / "cuts", folder / "speech", folder / "audio_codes")
    for index, cut in enumerate(cuts):
        assert cut.id == corpus.name(index)
        np.testing.assert_array_equal(cut.load_audio()[0], corpus.waveform(index))
        np.testing.assert_array_equal(cut.load_custom("audio"), corpus.codes(index, "audio").values)
        if cut.id != "003":
            np.testing.assert_array_equal(cut.load_speech(), corpus.codes(index, "speech").values)


def test_a_cut_that_was_left_out_has_none(folder, cuts):
    corpus = Corpus(folder / "cuts", folder / "speech")
    assert corpus.code_fields["speech"].present.tolist() == [True, True, True, False, True]
    assert not cuts[3].has_custom("speech")
    with pytest.raises(UserError, match="cut 003: has no codes 'speech'"):
        corpus.codes(3, "speech")


@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.5), (0.5, 0.5), (0.24, 1.0), (1.5, 0.5)])
def test_a_truncated_cut_truncates_its_codes(folder, cuts, start, duration):
    corpus = Corpus(folder / "cuts", folder / "speech")
    there = cuts[2].truncate(offset=start, duration=duration).load_speech()
    here = corpus.codes(2, "speech", round(start * RATE), round(duration * RATE)).values
    assert len(here) == duration * 50
    assert int(here[0, 0]) == round(start * 50)
    np.testing.assert_array_equal(there, here)


def test_a_second_teacher_rewrites_nothing(folder, tmp_path):
    def content():
        files = sorted(p for name in ("cuts", "speech") for p in (folder / name).rglob("*.*"))
        return {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).digest()) for p in files}

    before = content()
    encode(folder / "cuts", tmp_path / "second", "second")
    assert content() == before
    corpus = Corpus(folder / "cuts", folder / "speech", tmp_path / "second")
    assert set(corpus.code_fields) == {"speech", "second"}
    assert corpus.stems == ()


def test_the_same_codes_are_the_same_bytes(folder, tmp_path):
    encode(folder / "cuts", tmp_path / "again", without=("003",))
    for path in (tmp_path / "again").rglob("*.*"):
        first = folder / "speech" / path.relative_to(tmp_path / "again")
        assert path.read_bytes() == first.read_bytes()


def _damaged(folder, tmp_path, change):
    encode(folder / "cuts", tmp_path / "damaged")
    change(tmp_path / "damaged" / "shar" / "speech.000001.tar")
    _mapped_file.cache_clear()
    return Corpus(folder / "cuts", tmp_path / "damaged")


def test_a_truncated_array_is_refused(folder, tmp_path):
    def cut_short(path):
        path.write_bytes(path.read_bytes()[:700])

    corpus = _damaged(folder, tmp_path, cut_short)
    assert len(corpus.codes(0, "speech").values) == 50
    with pytest.raises(UserError, match=r"cut 002, codes 'speech': codes are damaged: \(\d+, 3\)"):
        corpus.codes(2, "speech")
    with pytest.raises(UserError, match=r"cut 003, codes 'speech': codes are damaged"):
        corpus.codes(3, "speech")


def test_a_changed_array_is_refused(folder, tmp_path):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[512 + 128 + 30] ^= 1
        path.write_bytes(bytes(content))

    corpus = _damaged(folder, tmp_path, flip)
    with pytest.raises(UserError, match=r"cut 002.*checksum differs"):
        corpus.codes(2, "speech")


def test_a_shard_that_is_gone_is_named(folder, tmp_path):
    corpus = _damaged(folder, tmp_path, lambda path: path.unlink())
    with pytest.raises(UserError, match=r"speech\.000001\.tar: shard is missing"):
        corpus.codes(2, "speech")


def test_codes_of_another_quantizer_are_refused_by_name(folder):
    field = Corpus(folder / "cuts", folder / "speech").code_fields["speech"]
    field.check_made_by("0123456789abcdef")
    with pytest.raises(UserError, match=r"'speech' are of quantizer 0123456789abcdef, but.* beef"):
        field.check_made_by("beef")


def test_two_folders_with_one_field_are_refused(folder, tmp_path):
    encode(folder / "cuts", tmp_path / "second")
    with pytest.raises(UserError, match="both have codes 'speech'"):
        Corpus(folder / "cuts", folder / "speech", tmp_path / "second")


def test_wide_codes_keep_their_type(folder, tmp_path):
    corpus = Corpus(folder / "cuts")
    values = torch.arange(20, dtype=torch.int16)[:, None] * 25
    for shard in range(3):
        names = [corpus.name(cut) for cut in corpus.shard_cuts(shard).tolist()]
        write_codes(tmp_path, "km", shard, [(name, Codes(values, "beef", 25.0)) for name in names])
    finish_codes(folder / "cuts", tmp_path, "km", CodeFacts("beef", 25.0, 1, 500, "int16"))
    found = Corpus(folder / "cuts", tmp_path).codes(4, "km")
    assert torch.equal(found.values, values)
    assert found.frame_rate == 25.0
