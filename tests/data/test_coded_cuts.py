"""Batches of coded cuts: what is in them, resumed and shared, and what is refused."""

import collections

import numpy as np
import pytest
import torch

from audiossl.audio.frame_rates import IGNORED
from audiossl.data.coded_cuts import CodedCorpusConfig, CodedCuts, CodedCutsConfig
from audiossl.data.corpus import Corpus
from audiossl.data.loading import BatchSource, stream
from audiossl.data.plan import PlanConfig, Position
from audiossl.errors import UserError
from tests.data.corpora import RATE, encode, prepare, write_folder

UNIFIED = {"speech": ["speech"], "audio": ["speech", "audio"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight cuts of speech with one field of codes, four of audio with two, one of noise."""
    folder = tmp_path_factory.mktemp("coded")
    durations = {"a": [0.6 + 0.2 * i for i in range(8)], "b": [1.0, 1.5, 2.0, 2.5], "noise": [0.4]}
    for name, seconds in durations.items():
        write_folder(folder / f"{name}.audio", seconds)
        prepare(folder / f"{name}.audio", folder / name, shard_size=3)
    encode(folder / "a", folder / "a.speech")
    encode(folder / "b", folder / "b.speech")
    encode(folder / "b", folder / "b.audio_codes", "audio", rate=25.0, books=2, quantizer="a")
    return folder


def _corpora(folder, **weights):
    speech = CodedCorpusConfig(
        cuts=folder / "a", codes=(folder / "a.speech",), weight=weights.get("a", 1.0)
    )
    audio = CodedCorpusConfig(
        cuts=folder / "b", codes=(folder / "b.speech", folder / "b.audio_codes"), domain="audio",
        weight=weights.get("b", 1.0),
    )  # fmt: skip
    return speech, audio


def _source(folder, *, corpora=None, plan=None, **settings):
    config = CodedCutsConfig(**{"targets": UNIFIED, **settings})
    plan = plan or PlanConfig(batch_duration=8.0, num_buckets=3, multiple=2)
    return CodedCuts(corpora or _corpora(folder), config, plan)


def _positions(source, count):
    positions = source.plan.positions(Position())
    return [next(positions) for _ in range(count)]


def test_a_row_is_a_cut_with_its_codes_and_its_domain(folder):
    source = _source(folder)
    assert isinstance(source, BatchSource)
    corpora = [Corpus(folder / "a", folder / "a.speech")]
    corpora += [Corpus(folder / "b", folder / "b.speech", folder / "b.audio_codes")]
    for position in _positions(source, 12):
        batch, names = source.load(position), source.names(position)
        assert set(batch.codes) == {"speech", "audio"}
        width = batch.waveforms.shape[1]
        for name, rate in (("speech", 50), ("audio", 25)):
            assert batch.codes[name].shape[:2] == (len(names), int(width / RATE * rate + 1e-6))
        for row, name in enumerate(names):
            domain, length = int(batch.domains[row]), int(batch.lengths[row])
            corpus, cut = corpora[domain], int(name)
            assert length == corpus.num_samples[cut]
            np.testing.assert_array_equal(batch.waveforms[row, :length], corpus.waveform(cut))
            assert not batch.waveforms[row, length:].any()
            for field in UNIFIED["audio" if domain else "speech"]:
                expected, found = corpus.codes(cut, field).values, batch.codes[field][row]
                assert torch.equal(found[: len(expected)], expected.long())
                assert (found[len(expected) :] == IGNORED).all()
            if domain == 0:
                assert (batch.codes["audio"][row] == IGNORED).all()


def test_shapes_are_those_of_the_buckets(folder):
    source = _source(folder)
    shapes = {tuple(source.load(p).waveforms.shape) for p in _positions(source, 40)}
    assert len(shapes) <= 3
    assert all(rows % 2 == 0 and rows * width <= 8 * RATE for rows, width in shapes)


def _same(one, two):
    assert torch.equal(one.waveforms, two.waveforms)
    assert torch.equal(one.domains, two.domains)
    assert all(torch.equal(one.codes[name], two.codes[name]) for name in one.codes)
    assert (one.noise is None) == (two.noise is None)
    assert one.noise is None or torch.equal(one.noise, two.noise)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_stream_equals_an_uninterrupted_one(folder, workers):
    source = _source(folder, noise=(folder / "noise",))
    batches = stream(source, Position(), 0)
    whole = [next(batches) for _ in range(9)]
    resumed = stream(_source(folder, noise=(folder / "noise",)), whole[4][1], workers)
    for batch, position in whole[5:]:
        again, after = next(resumed)
        _same(batch, again)
        assert position == after


@pytest.mark.parametrize("world_size", [2, 3])
def test_shares_of_ranks_are_the_batch(folder, world_size):
    plan = PlanConfig(batch_size=6, num_buckets=3)
    source = _source(folder, plan=plan, noise=(folder / "noise",))
    for position in _positions(source, 5):
        whole = source.load(position)
        shares = [source.load(position, rank, world_size) for rank in range(world_size)]
        assert len({tuple(share.waveforms.shape) for share in shares}) == 1
        assert torch.equal(torch.cat([share.waveforms for share in shares]), whole.waveforms)
        assert torch.equal(torch.cat([share.noise for share in shares]), whole.noise)
        for name in whole.codes:
            parts = torch.cat([share.codes[name] for share in shares])
            assert torch.equal(parts, whole.codes[name])


def _rank_stream(folder):
    batches = stream(_source(folder), Position(), 0)
    return [next(batches)[0] for _ in range(20)]


def test_two_ranks_with_uneven_shards_get_as_many_batches_each(folder, two_processes):
    ranks = two_processes.run(_rank_stream, folder)
    source = _source(folder)
    for position, *shares in zip(_positions(source, 20), *ranks, strict=True):
        joined = torch.cat([share.waveforms for share in shares])
        assert torch.equal(joined, source.load(position).waveforms)


def _shares(source, epochs=60):
    counts = collections.Counter()
    for epoch in range(epochs):
        drawn = source.plan.draw(epoch, np.random.default_rng(epoch))
        counts.update(np.searchsorted(source.plan.firsts, drawn, side="right").tolist())
    return np.array([counts[1], counts[2]]) / sum(counts.values())


@pytest.mark.parametrize(
    ("weights", "domain_shares", "expected"),
    [
        ({}, {}, (8, 4)),
        ({"b": 3.0}, {}, (8, 12)),
        ({"b": 3.0}, {"speech": 1.0, "audio": 1.0}, (1, 1)),
        ({}, {"speech": 0.9, "audio": 0.1}, (9, 1)),
    ],
)
def test_corpora_come_as_often_as_their_weights_say(folder, weights, domain_shares, expected):
    source = _source(folder, corpora=_corpora(folder, **weights), domain_shares=domain_shares)
    np.testing.assert_allclose(_shares(source), np.array(expected) / sum(expected), atol=2e-3)


def test_batches_follow_the_shares(folder):
    source = _source(folder, domain_shares={"speech": 1.0, "audio": 3.0})
    domains = torch.cat([source.load(position).domains for position in _positions(source, 150)])
    assert abs(float(domains.float().mean()) - 0.75) < 0.08


def test_durations_out_of_bounds_are_left_out(folder):
    source = _source(folder, min_duration=0.9, max_duration=1.45)
    lengths = np.concatenate([items.lengths for items in source.items]) / RATE
    assert sorted(lengths.round(1)) == [1.0, 1.0, 1.2, 1.4]
    with pytest.raises(UserError, match=r"none of 8 cuts has 5.0 to 9.0 s"):
        _source(folder, min_duration=5.0, max_duration=9.0)


def test_long_cuts_are_split_with_their_codes(folder):
    source = _source(folder, long_cuts="split", max_duration=0.8, min_duration=0.3)
    parts = source.items[1]
    # 1.0, 1.5, 2.0 and 2.5 s: the remainders of 0.2 and 0.1 s are too short.
    assert (parts.lengths / RATE).round(1).tolist() == [0.8, 0.8, 0.7, 0.8, 0.8, 0.4, 0.8, 0.8, 0.8]
    for position in _positions(source, 20):
        batch = source.load(position)
        assert batch.waveforms.shape[1] <= 0.8 * RATE
        for row, domain in enumerate(batch.domains.tolist()):
            seconds = int(batch.lengths[row]) / RATE
            codes = batch.codes["speech"][row, :, 0]
            valid = codes[codes != IGNORED]
            assert len(valid) == int(seconds * 50 + 1e-6)
            assert (valid.diff() == 1).all()
            assert domain == 1 or int(valid[0]) in (0, 40, 80)


def test_noise_is_as_long_as_the_batch_and_repeats_short_recordings(folder):
    source = _source(folder, noise=(folder / "noise",))
    batch = source.load(Position(0, 1))
    assert batch.noise.shape == batch.waveforms.shape
    assert not torch.equal(batch.noise[0], batch.noise[1])
    period = int(0.4 * RATE)
    assert torch.equal(batch.noise[:, period:], batch.noise[:, :-period])


def test_a_corpus_with_one_cut(folder, tmp_path):
    write_folder(tmp_path / "audio", [1.0])
    prepare(tmp_path / "audio", tmp_path / "cuts")
    encode(tmp_path / "cuts", tmp_path / "codes")
    alone = CodedCorpusConfig(cuts=tmp_path / "cuts", codes=(tmp_path / "codes",))
    batch = _source(folder, corpora=(alone,), targets={"speech": ["speech"]}).load(Position())
    assert batch.waveforms.shape == (8, RATE)
    assert (batch.codes["speech"][:, :, 0] == torch.arange(50)).all()


def test_missing_codes_are_refused_by_the_name_of_the_cut(folder, tmp_path):
    corpus = CodedCorpusConfig(cuts=folder / "b", codes=(folder / "b.speech",), domain="audio")
    with pytest.raises(UserError, match=r"cut 000 and all.*no codes 'audio'.*\(they have speech\)"):
        _source(folder, corpora=(corpus,))
    encode(folder / "b", tmp_path / "some", without=("002",))
    corpus = CodedCorpusConfig(cuts=folder / "b", codes=(tmp_path / "some",))
    with pytest.raises(UserError, match=r"cut 002: has no codes 'speech'.*max_missing 1%"):
        _source(folder, corpora=(corpus,), targets={"speech": ["speech"]})
    source = _source(folder, corpora=(corpus,), targets={"speech": ["speech"]}, max_missing=0.3)
    assert source.items[0].cuts.tolist() == [0, 1, 3]


def test_a_cut_that_is_too_short_anyway_may_lack_its_codes(folder, tmp_path):
    encode(folder / "a", tmp_path / "some", without=("000",))
    corpus = CodedCorpusConfig(cuts=folder / "a", codes=(tmp_path / "some",))
    source = _source(
        folder, corpora=(corpus,), targets={"speech": ["speech"]}, min_duration=0.7, max_missing=0.0
    )
    assert source.items[0].cuts.tolist() == list(range(1, 8))


def test_a_domain_without_targets_is_refused(folder):
    with pytest.raises(UserError, match="is audio, for which targets has no codes"):
        _source(folder, targets={"speech": ["speech"]})


def test_codes_of_two_quantizers_under_one_name_are_refused(folder, tmp_path):
    encode(folder / "b", tmp_path / "other", quantizer="beef")
    speech, _ = _corpora(folder)
    other = CodedCorpusConfig(cuts=folder / "b", codes=(tmp_path / "other",))
    with pytest.raises(UserError, match="'speech' are of quantizer beef, but quantizer 0123456789"):
        _source(folder, corpora=(speech, other))


@pytest.mark.parametrize("extra", [6, -6])
def test_codes_of_another_length_than_the_audio_are_refused(folder, tmp_path, extra):
    encode(folder / "a", tmp_path / "codes", extra=extra)
    corpus = CodedCorpusConfig(cuts=folder / "a", codes=(tmp_path / "codes",))
    with pytest.raises(UserError, match=r"cut 000: \d+ codes 'speech' for 30 frames of its audio"):
        _source(folder, corpora=(corpus,))


def test_codes_a_few_frames_short_are_padded(folder, tmp_path):
    encode(folder / "a", tmp_path / "codes", extra=-5)
    corpus = CodedCorpusConfig(cuts=folder / "a", codes=(tmp_path / "codes",))
    batch = _source(folder, corpora=(corpus,), targets={"speech": ["speech"]}).load(Position())
    valid = (batch.codes["speech"][:, :, 0] != IGNORED).sum(dim=1)
    assert torch.equal(valid, (batch.lengths * 50 / RATE + 1e-3).long() - 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": {"speechy": ["speech"]}}, "unknown domain 'speechy'; did you mean 'speech'"),
        ({"targets": {"speech": []}}, "every domain needs codes"),
        ({"min_duration": 3.0, "max_duration": 2.0}, "give 0 < min <= max"),
        ({"domain_shares": {"speech": 0.0}}, "shares must be above 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        CodedCutsConfig(**{"targets": UNIFIED, **settings})


def test_domain_shares_must_name_the_domains(folder):
    with pytest.raises(UserError, match=r"names \['speech'\], the corpora are \['audio', 'speech'"):
        _source(folder, domain_shares={"speech": 1.0})
    with pytest.raises(UserError, match="weights of corpora must be above 0"):
        _source(folder, corpora=_corpora(folder, a=-1.0))
