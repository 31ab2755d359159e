"""Two crops of each cut: of the same audio where they overlap, with the labels of their frames."""

from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.batches import LabelBatch, micro_batches
from audiossl.errors import UserError
from audiossl.losses.labels import Loss, Outputs, Scored, classes_of_frames, label_loss
from audiossl.methods.overlapping_crops import (
    ConsistencyConfig,
    overlap,
    overlapping_crops,
    with_consistency,
)
from audiossl.methods.supervised import FrozenConfig, Supervised, SupervisedConfig, facts_of
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.sequence_heads import HeadConfig
from tests.methods.codes import SMALL

RATE = 25.0
STEP = 640


def _batch(rows=6) -> LabelBatch:
    """Waveforms that say the time, and a segment somewhere in each."""
    lengths = torch.arange(rows) * 1000 + 9000
    waveforms = torch.arange(1.0, lengths.max() + 1).repeat(rows, 1)
    waveforms *= torch.arange(len(waveforms[0])) < lengths[:, None]
    segments = torch.tensor([[[0.12, 0.28, 1.0], [0.24, 0.48, 0.0]]]).repeat(rows, 1, 1)
    return LabelBatch(waveforms, lengths, segments, torch.full((rows,), 2))


def _crops(batch, share=0.75):
    return overlapping_crops(batch, share, RATE, torch.Generator().manual_seed(3))


def test_crops_are_pieces_of_their_cuts_from_frame_to_frame():
    batch = _batch()
    crops, starts = _crops(batch)
    assert len(starts.unique()) > 1
    for row in range(12):
        length, first = int(crops.lengths[row]), int(starts.flatten()[row]) * STEP
        expected = batch.waveforms[row // 2, first : first + length]
        assert torch.equal(crops.waveforms[row, :length], expected)
        assert not crops.waveforms[row, length:].any()
        assert first + length <= batch.lengths[row // 2]
        assert 0.75 * (batch.lengths[row // 2] - STEP) <= length


def test_frames_that_overlap_have_the_same_audio_and_the_same_labels():
    batch = _batch()
    crops, starts = _crops(batch)
    counts = crops.lengths // STEP
    most = int(counts.max())
    places, shared = overlap(counts, starts, most)
    assert shared.any(dim=1).all()
    times = (torch.arange(most) + 0.5) / RATE
    labels = classes_of_frames(times, crops.targets, crops.counts, 2)
    for row, frame in shared.nonzero().tolist():
        other = int(places[row, frame])
        first = crops.waveforms[2 * row, frame * STEP : (frame + 1) * STEP]
        second = crops.waveforms[2 * row + 1, other * STEP : (other + 1) * STEP]
        assert torch.equal(first, second)
        assert torch.equal(labels[2 * row, frame], labels[2 * row + 1, other])


def test_parts_of_a_batch_are_cropped_like_the_whole():
    batch = _batch()
    whole = _crops(batch)[0]
    parts = []
    for index, part in enumerate(micro_batches(batch, 3)):
        with distributed.micro_batch(index, 3):
            parts.append(_crops(part)[0].waveforms)
    assert torch.equal(torch.cat(parts), whole.waveforms)


def _scored(rows=12):
    torch.manual_seed(0)
    lengths = torch.tensor([6, 7] * (rows // 2))
    return Scored(2 * torch.randn(rows, 7, 2), lengths, (torch.arange(7) + 0.5) / RATE)


@pytest.mark.parametrize("objective", ["frames", "events"])
def test_losses_of_parts_add_up_to_that_of_the_whole(objective):
    outputs, config = Outputs(objective, (2,)), ConsistencyConfig(weight=0.5)
    crops, starts = _crops(_batch())
    counts = torch.tensor([2, 2, -1, -1] * 3)
    scored = _scored()

    def loss(rows: slice) -> Loss:
        own = Scored(scored.scores[rows], scored.lengths[rows], scored.times)
        labels = label_loss(outputs, own, crops.targets[rows], counts[rows])
        starts_of_rows = starts[rows.start // 2 : rows.stop // 2]
        return with_consistency(labels, outputs, own, starts_of_rows, config)

    whole, parts = loss(slice(0, 12)), [loss(slice(0, 4)), loss(slice(4, 12))]
    assert whole.weight == sum(part.weight for part in parts) == 6 * 13
    mean = sum(part.total * part.weight for part in parts) / whole.weight
    torch.testing.assert_close(mean, whole.total)


@pytest.mark.parametrize("objective", ["frames", "events"])
def test_a_cut_without_a_label_is_not_a_cut_without_events(objective):
    outputs, scored = Outputs(objective, (2,)), _scored(2)
    crops = _crops(_batch(1))[0]
    unknown = label_loss(outputs, scored, crops.targets, torch.tensor([-1, -1]))
    assert (float(unknown.total), unknown.weight) == (0.0, 0.0)


def _method(**settings):
    torch.manual_seed(0)
    encoder = Zipformer(SMALL)
    config = SupervisedConfig(
        input="output", head=HeadConfig(projection=0),
        consistency=ConsistencyConfig(**settings),
    )  # fmt: skip
    return Supervised(encoder, config, Outputs("events", (2,)), facts_of(encoder), FrozenConfig())


def test_unlabeled_cuts_teach_the_head():
    method, batch = _method(confidence=0.0), _batch()
    batch = replace(batch, counts=torch.full((6,), -1), waveforms=1e-4 * batch.waveforms)
    method(batch, 0, torch.Generator().manual_seed(0)).total.backward()
    assert method.head.output.weight.grad.any()
    # Crops that are the whole cut are the same, and have nothing to teach.
    method = _method(confidence=0.0, crop=1.0)
    found = method(batch, 0, torch.Generator().manual_seed(0))
    assert float(found.metrics["divergence"]) == pytest.approx(0.0, abs=1e-9)


def test_what_cannot_agree_is_refused():
    with pytest.raises(UserError, match=r"above 0\.5"):
        ConsistencyConfig(crop=0.5)
    encoder = Zipformer(SMALL)
    facts = facts_of(encoder)
    config = SupervisedConfig(consistency=ConsistencyConfig())
    for outputs, shape, words in (
        (Outputs("tags", (2,)), facts, "target is tags"),
        (Outputs("speakers", (2,)), facts, "target is speakers"),
        (Outputs("events", (2,)), replace(facts, frame_rate=0.0), "has no frames"),
    ):
        with pytest.raises(UserError, match=words):
            Supervised(encoder, config, outputs, shape, FrozenConfig())
