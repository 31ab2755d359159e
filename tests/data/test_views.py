"""The sampler's acceptance checks of musical source association, and COLA's."""

import collections

import numpy as np
import pytest

from audiossl.atomic_files import read_json
from audiossl.data.columns import write_part
from audiossl.data.corpus import Corpus
from audiossl.data.folder import stem_files
from audiossl.data.layout import MIXTURE, part_file
from audiossl.data.plan import PlanConfig, Position
from audiossl.data.preparing import finish_corpus
from audiossl.data.shar import FieldWriter
from audiossl.data.views import Views, ViewsConfig
from audiossl.errors import UserError
from tests.data.corpora import prepare, write_folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Twelve songs of two to three seconds with stems `low` and, in two of three, `high`."""
    import soundfile

    folder = tmp_path_factory.mktemp("views")
    write_folder(folder / "audio", [2.0 + 0.1 * (i % 10) for i in range(12)], stems=True)
    (folder / "labels.csv").write_text("path\n" + "\n".join(f"{i:03d}" for i in range(12)) + "\n")
    prepare(
        folder / "audio", folder / "cuts", shard_size=12, labels=[folder / "labels.csv"],
        only_labeled=True,
    )  # fmt: skip
    for name in ("low", "high"):
        with FieldWriter(folder / "stems", name, 0, "wav") as writer:
            for index in range(12):
                path = stem_files(folder / "audio" / f"{index:03d}")[name]
                writer.write(f"{index:03d}", soundfile.read(path, dtype="float32")[0])
        write_part(folder / "stems" / part_file(name, 0), writer.columns())
    cuts = read_json(folder / "cuts" / "corpus.json")["cuts"]
    finish_corpus(folder / "stems", 1, ["low", "high"], {"encoding": "wav", "cuts": cuts})
    return Corpus(folder / "cuts", folder / "stems")


def _plan(batch_size: int = 4) -> PlanConfig:
    return PlanConfig(batch_size=batch_size, num_buckets=1)


def _positions(views: Views, count: int) -> list[Position]:
    return [p for p, _ in zip(views.plan.positions(Position()), range(count), strict=False)]


SEGMENTS = {"crop_samples": 8000, "segment_samples": 16_000, "offset_step": 160}


def test_cola_takes_two_independent_crops_of_every_recording_once_an_epoch(corpus):
    views = Views(corpus, ViewsConfig(), _plan())
    draws = [views.draw(p) for p in _positions(views, 3)]
    assert sorted(np.concatenate([d.segments for d in draws])) == list(range(12))
    assert all(d.active.all() and set(d.sources) == {MIXTURE} for d in draws)
    batch = views.load(Position())
    first = draws[0].segments[0]
    whole = corpus.waveform(int(first)) / np.sqrt(corpus.fields["recording"].energy[first])
    start = draws[0].anchor_offsets[0]
    np.testing.assert_allclose(batch.anchors[0], whole[start : start + 16_000], rtol=1e-5)
    assert not np.array_equal(draws[0].anchor_offsets, draws[0].positive_offsets)


def test_offsets_are_uniform_over_their_range_on_the_grid(corpus):
    views = Views(corpus, ViewsConfig(**SEGMENTS), _plan())
    offsets = np.concatenate([views.draw(p).anchor_offsets for p in _positions(views, 300)])
    assert set(offsets.tolist()) == set(range(0, 8000, 160))
    counts = np.bincount(offsets // 160)
    assert counts.min() > 5


def test_the_source_is_drawn_once_a_batch_and_evenly(corpus):
    config = ViewsConfig(**SEGMENTS, sources={"low": 1.0, "high": 1.0, MIXTURE: 1.0})
    views = Views(corpus, config, _plan())
    draws = [views.draw(p) for p in _positions(views, 300)]
    assert all(len(set(draw.sources)) == 1 for draw in draws)
    counts = collections.Counter(draw.sources[0] for draw in draws)
    assert min(counts.values()) > 70
    each = Views(
        corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0, "high": 1.0}, per_pair=True), _plan(8)
    )
    assert any(len(set(each.draw(p).sources)) == 2 for p in _positions(each, 10))


def test_without_silent_every_pair_sounds_and_segments_are_distinct(corpus):
    views = Views(corpus, ViewsConfig(**SEGMENTS, sources={"high": 1.0}), _plan())
    for position in _positions(views, 50):
        draw = views.draw(position)
        assert draw.active.all()
        assert len(set(draw.segments)) == 4
        assert np.array_equal(draw.segments, draw.positive_segments)
        assert set(views.cuts[draw.segments] % 3) <= {0, 1}


def test_with_silent_half_of_the_batches_follow_the_permutation(corpus):
    views = Views(corpus, ViewsConfig(**SEGMENTS, sources={"high": 1.0}, silent=True), _plan())
    draws = [(p, views.draw(p)) for p in _positions(views, 300)]
    mixed = [(p, d) for p, d in draws if not d.active.all()]
    assert 0.3 < len(mixed) / len(draws) < 0.6
    for position, draw in mixed:
        in_turn = views.plan.epoch(position.epoch).cuts(position.batch)
        assert np.array_equal(draw.segments[2:], in_turn[2:])
        assert draw.active.sum() >= 2
        assert np.array_equal(draw.active, views.cuts[draw.segments] % 3 != 2)


def test_positives_are_the_stem_leveled_over_its_own_recording(corpus):
    config = ViewsConfig(crop_samples=8000, segment_samples=16_000, sources={"low": 1.0})
    views = Views(corpus, config, _plan())
    draw, batch = views.draw(Position()), views.load(Position())
    assert batch.source == "low"
    segment = draw.segments[1]
    cut, start = int(views.cuts[segment]), int(views.starts[segment] + draw.positive_offsets[1])
    stem = corpus.waveform(cut, "low") / np.sqrt(corpus.fields["low"].energy[cut])
    np.testing.assert_allclose(batch.positives[1], stem[start : start + 8000], rtol=1e-5)


def test_activity_is_that_of_the_segments_own_samples(corpus):
    # `low` has an amplitude of 0.3, a mean magnitude of 0.191: -14.4 dBFS.
    below, above = -14.5, -14.3
    views = Views(corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0}, active_dbfs=below), _plan())
    assert views.active["low"].all()
    with pytest.raises(UserError, match=r"'low' is above -14\.3 dBFS in no segment"):
        Views(corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0}, active_dbfs=above), _plan())


def test_ranks_share_a_batch_row_by_row(corpus):
    views = Views(corpus, ViewsConfig(**SEGMENTS, sources={"high": 1.0}, silent=True), _plan())
    for position in _positions(views, 5):
        whole = views.load(position)
        shares = [views.load(position, rank, 2) for rank in range(2)]
        for name in ("anchors", "positives", "active", "recordings"):
            joined = np.concatenate([getattr(share, name).numpy() for share in shares])
            np.testing.assert_array_equal(joined, getattr(whole, name).numpy())


def test_short_cuts_lie_in_the_middle_of_silence(corpus):
    views = Views(corpus, ViewsConfig(crop_samples=40_001), _plan(12))
    draw, batch = views.draw(Position()), views.load(Position())
    row = int(np.flatnonzero(views.lengths[draw.segments] == 32_000)[0])
    missing = 40_001 - 32_000
    crop = batch.anchors[row].numpy()
    assert not crop[: missing // 2].any()
    assert not crop[-(missing - missing // 2) :].any()
    assert crop[missing // 2 + 1] != 0


def test_ablations_change_the_positives_alone(corpus):
    plain = Views(corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0}), _plan())
    leaky = Views(corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0}, leakage=1.0), _plan())
    shuffled = Views(corpus, ViewsConfig(**SEGMENTS, sources={"low": 1.0}, shuffled=True), _plan())
    batch, leaked = plain.load(Position()), leaky.load(Position())
    np.testing.assert_array_equal(batch.anchors, leaked.anchors)
    assert not np.array_equal(batch.positives, leaked.positives)
    draw = shuffled.draw(Position())
    assert not np.array_equal(draw.segments, draw.positive_segments)


def test_remixed_anchors_are_the_pairs_own_stem_among_stems_of_others(corpus):
    sources = {"low": 1.0, "high": 1.0}
    plain = Views(corpus, ViewsConfig(**SEGMENTS, sources=sources), _plan())
    views = Views(corpus, ViewsConfig(**SEGMENTS, sources=sources, remix=1.0, guests=9), _plan())
    counts = collections.Counter()
    for position in _positions(views, 20):
        draw, batch = views.draw(position), views.load(position)
        np.testing.assert_array_equal(batch.positives, plain.load(position).positives)
        for row, guests in enumerate(draw.guests):
            counts[len(guests)] += 1
            own = _leveled(views, draw.segments[row], draw.sources[row], draw.anchor_offsets[row])
            mixed = own + sum(
                guest.gain * _leveled(views, guest.segment, guest.source, guest.offset)
                for guest in guests
            )
            assert all(guest.source != draw.sources[row] for guest in guests)
            power = 1 + sum(guest.gain**2 for guest in guests)
            np.testing.assert_allclose(batch.anchors[row], mixed / power**0.5, atol=1e-6)
    assert set(counts) == {0, 1}


def _leveled(views: Views, segment: int, source: str, offset: int) -> np.ndarray:
    cut, start = int(views.cuts[segment]), int(views.starts[segment] + offset)
    stem = views.corpus.waveform(cut, source, start, views.config.crop_samples)
    return stem / np.sqrt(views.corpus.fields[source].energy[cut])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": {"lo": 1.0}}, "has no stem 'lo'; did you mean 'low'? (it has low, high)"),
        ({"sources": {}}, "name at least one"),
        ({"segment_samples": 100}, "segment_samples 100 is less than crop_samples 16000"),
        ({"leakage": 2.0}, "leakage 2.0 is no share"),
    ],
)
def test_settings_that_make_no_sense_are_refused(corpus, settings, message):
    with pytest.raises(UserError) as caught:
        Views(corpus, ViewsConfig(**settings), _plan())
    assert message in str(caught.value)
