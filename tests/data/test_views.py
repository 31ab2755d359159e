"""The sampler's acceptance checks of musical source association, and COLA's."""

import collections
from pathlib import Path

import numpy as np
import pytest

from audiossl.atomic_files import read_json
from audiossl.data.columns import write_part
from audiossl.data.corpus import Corpus
from audiossl.data.folder import stem_files
from audiossl.data.layout import MIXTURE, part_file
from audiossl.data.plan import PlanConfig, Position
from audiossl.data.preparing import finish_corpus
from audiossl.data.priors import PriorsConfig
from audiossl.data.shar import FieldWriter
from audiossl.data.views import Views, ViewsConfig
from audiossl.errors import UserError
from tests.data.corpora import prepare, write_folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Twelve songs of two to three seconds with stems `low` and, in two of three, `high`."""
    return _made(tmp_path_factory.mktemp("views"), "path", "")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory) -> Corpus:
    """The same songs, nine of kind a and three of b, all with a tempo."""
    return _made(tmp_path_factory.mktemp("labeled"), "path,kind,tempo,year", ",{kind},{tempo},1990")


def _made(folder: Path, columns: str, row: str) -> Corpus:
    import soundfile

    write_folder(folder / "audio", [2.0 + 0.1 * (i % 10) for i in range(12)], stems=True)
    rows = [f"{i:03d}" + row.format(kind="aaab"[i % 4], tempo=90 + i) for i in range(12)]
    (folder / "labels.csv").write_text("\n".join([columns, *rows]) + "\n")
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


@pytest.mark.parametrize(
    ("treatment", "identical", "left"), [("pad", 4, 12), ("shorten", 0, 12), ("leave_out", 0, 8)]
)
def test_cuts_no_longer_than_a_crop_give_no_identical_pairs(corpus, treatment, identical, left):
    # Two songs each of 2.0 and 2.1 s have room for one offset in crops of 33 600 samples.
    config = ViewsConfig(crop_samples=33_600, short_cuts=treatment)
    views = Views(corpus, config, _plan())
    assert (views.identical.sum(), len(views.cuts)) == (identical, left)
    same = []
    for position in _positions(views, 30):
        draw, batch = views.draw(position), views.load(position)
        assert batch.anchors.shape == (4, 33_600)
        equal = (batch.anchors == batch.positives).all(dim=1).numpy()
        assert equal[views.identical[draw.segments]].all()
        same += equal[~views.identical[draw.segments]].tolist()
    # Songs are tones: some crops are whole periods apart.
    assert np.mean(same) < 0.05


def test_shortened_crops_are_three_quarters_of_their_cut(corpus):
    views = Views(corpus, ViewsConfig(crop_samples=33_600, short_cuts="shorten"), _plan(12))
    draw, batch = views.draw(Position()), views.load(Position())
    row = int(np.flatnonzero(views.lengths[draw.segments] == 32_000)[0])
    crop, start = batch.anchors[row].numpy(), int(draw.anchor_offsets[row])
    whole = corpus.waveform(int(views.cuts[draw.segments[row]]))
    energy = corpus.fields["recording"].energy[views.cuts[draw.segments[row]]]
    expected = whole[start : start + 24_000] / np.sqrt(energy)
    np.testing.assert_allclose(crop[4800:28_800], expected, rtol=1e-5)
    assert not crop[:4800].any()
    assert not crop[28_800:].any()


def test_crops_longer_than_all_cuts_cannot_be_left_out(corpus):
    with pytest.raises(UserError, match="none of 12 segments has room"):
        Views(corpus, ViewsConfig(crop_samples=90_000, short_cuts="leave_out"), _plan())


def _kinds(views: Views, positions: list[Position]) -> list[np.ndarray]:
    kinds = np.array([labels["kind"] for labels in views.corpus.labels()])
    return [kinds[views.cuts[views.draw(p).segments]] for p in positions]


def test_values_of_a_label_get_equal_shares(labeled):
    """Nine songs are of kind a, three of b."""
    views = Views(labeled, ViewsConfig(crop_samples=8000, balance="kind"), _plan())
    drawn = np.concatenate(_kinds(views, _positions(views, 30)))
    assert (drawn == "a").mean() == pytest.approx(0.5, abs=0.02)
    stems = Views(
        labeled, ViewsConfig(crop_samples=8000, balance="kind", sources={"low": 1.0}), _plan(2)
    )
    drawn = np.concatenate(_kinds(stems, _positions(stems, 200)))
    assert (drawn == "a").mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("sources", [{MIXTURE: 1.0}, {"low": 1.0, "high": 1.0}])
def test_a_batch_is_of_one_value_of_a_label(labeled, sources):
    config = ViewsConfig(crop_samples=8000, batches_of_one="kind", sources=sources)
    views = Views(labeled, config, _plan(3))
    batches = _kinds(views, _positions(views, 20))
    assert all(len(set(batch)) == 1 for batch in batches)
    assert {batch[0] for batch in batches} == {"a", "b"}
    # Songs of kind b are fewer than a batch of four: they share the only batches there are.
    assert len(Views(labeled, config, _plan(4)).plan.batch_sizes) == 2
    assert len(Views(labeled, config, _plan(12)).plan.batch_sizes) == 1


@pytest.mark.parametrize("setting", ["balance", "batches_of_one"])
def test_a_label_that_cuts_lack_is_named(corpus, setting):
    with pytest.raises(UserError, match=rf"{setting}: cut 000 has no label 'speeker'.*it has"):
        Views(corpus, ViewsConfig(**{setting: "speeker"}), _plan())


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


def test_priors_are_standardized_columns_tags_and_vectors(labeled, tmp_path):
    paths = [f"/elsewhere/{i:03d}" for i in range(12)]
    vectors = np.arange(24.0).reshape(12, 2)
    np.savez(tmp_path / "v.npz", paths=np.array(paths[::-1]), vectors=vectors[::-1])
    config = PriorsConfig(columns=("tempo",), tags=("kind",), vectors=tmp_path / "v.npz")
    views = Views(labeled, ViewsConfig(crop_samples=8000, priors=config), _plan(12))
    assert views.facts.prior_dim == 5
    tempo = np.arange(12)[views.cuts]
    np.testing.assert_allclose(views.priors[:, 0], (tempo - 5.5) / tempo.std(), rtol=1e-5)
    assert sorted(set(views.priors[:, 1].tolist())) == pytest.approx([-(3**0.5), 3**-0.5])
    np.testing.assert_array_equal(views.priors[:, 3:], vectors[views.cuts])
    draw, batch = views.draw(Position()), views.load(Position())
    np.testing.assert_array_equal(batch.priors, views.priors[draw.segments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ("temp",)}, r"no label 'temp'; did you mean 'tempo'\?"),
        ({"columns": ("year",)}, "columns year: is the same for all cuts"),
        ({"columns": ("kind",)}, "columns kind: 'a' of cut 000 is no number"),
        ({"tags": ("year",)}, "tags year: is the same for all cuts"),
    ],
)
def test_priors_that_tell_nothing_are_refused(labeled, settings, message):
    with pytest.raises(UserError, match=message):
        Views(labeled, ViewsConfig(priors=PriorsConfig(**settings)), _plan())


def test_vectors_of_other_files_are_refused(labeled, tmp_path):
    np.savez(tmp_path / "v.npz", paths=np.array(["/a/000"]), vectors=np.ones((1, 2)))
    priors = PriorsConfig(vectors=tmp_path / "v.npz")
    with pytest.raises(UserError, match="no vector of cut 001"):
        Views(labeled, ViewsConfig(priors=priors), _plan())
