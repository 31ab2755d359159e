from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.batches import LabelBatch, micro_batches
from audiossl.losses.labels import Outputs, can_be_spelled, collapsed
from audiossl.methods.supervised import Supervised, SupervisedConfig, WholeConfig, facts_of
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.sequence_heads import HeadConfig
from audiossl.optim.scaled_adam import ScaledAdam
from tests.methods.codes import SMALL

TEXTS = [[1, 2], [2, 1], [1, 1], [2, 2]]


def _transcription(config) -> Supervised:
    encoder = Zipformer(config)
    settings = SupervisedConfig(input="output", head=HeadConfig(projection=0))
    return Supervised(encoder, settings, Outputs("text", (3,)), facts_of(encoder), WholeConfig())


def _transcribed(method, batch) -> list[list[int]]:
    return [row.tolist() for row in method.eval().predict(batch)[0]]


def _batch() -> LabelBatch:
    """Two notes, high and low, in four orders."""
    time = torch.arange(3200) / 16000
    notes = {n: 0.3 * torch.sin(2 * torch.pi * f * time) for n, f in ((1, 300), (2, 3000))}
    rest = torch.zeros(1600)
    rows = [torch.cat([notes[a], rest, notes[b]]) for a, b in TEXTS]
    return LabelBatch(
        torch.stack(rows), torch.full((4,), 8000), torch.tensor(TEXTS), torch.full((4,), 2)
    )


def test_symbols_that_repeat_are_one_and_blanks_part_them():
    assert collapsed(torch.tensor([0, 1, 1, 0, 1, 2, 2, 0])) == [1, 1, 2]
    assert collapsed(torch.tensor([0, 0])) == []


@pytest.mark.long
def test_four_cuts_are_learnt_by_heart():
    """A plateau has to be left, at ln 2 a character: there it knows when and not which note sounds.

    Networks of 16 dimensions are held by it for hundreds of steps, and Adam longer than ScaledAdam.
    """
    torch.manual_seed(0)
    wide = replace(SMALL, dim=32, unmasked_dim=16, feed_forward_dim=64)
    method, batch = _transcription(wide), _batch()
    optimizer, generator = ScaledAdam(method.parameters(), lr=0.02), torch.Generator()
    for step in range(160):
        optimizer.zero_grad()
        losses = method(batch, step, generator.manual_seed(step))
        losses.total.backward()
        optimizer.step()
    assert losses.weight == 8
    assert float(losses.total.detach()) < 0.1
    assert _transcribed(method, batch) == TEXTS


def test_a_text_needs_a_frame_a_symbol_and_blanks_between_equal_ones():
    symbols = torch.tensor([[1, 2, 3], [1, 1, 2], [1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    counts = torch.tensor([3, 3, 3, 2, 1, 0])
    least = [3, 4, 5, 3, 1]
    for row, frames in enumerate(least):
        for given, expected in ((frames, True), (frames - 1, False)):
            found = can_be_spelled(symbols[row : row + 1], counts[row : row + 1], _one(given))
            assert found.tolist() == [expected]
    # There is nothing to learn from a cut without text, however long.
    assert can_be_spelled(symbols[5:], counts[5:], _one(9)).tolist() == [False]


def _one(number: int) -> torch.Tensor:
    return torch.tensor([number])


def _loss_and_gradients(batch, rows=None):
    torch.manual_seed(0)
    # In float32 a product of four rows and of one need not round alike.
    method = _transcription(SMALL).double()
    if rows is not None:
        batch = LabelBatch(*(value[rows] for value in vars(batch).values()))
    batch = replace(batch, waveforms=batch.waveforms.double())
    losses = method(batch, 0, torch.Generator())
    losses.total.backward()
    return losses, torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def _spoilt(batch: LabelBatch) -> LabelBatch:
    """The second cut has no frame, the third more symbols than frames, the fourth no text."""
    symbols = torch.ones(4, 40, dtype=torch.int64)
    symbols[:, :2] = batch.targets
    return LabelBatch(
        batch.waveforms,
        torch.tensor([8000, 1000, 8000, 8000]),
        symbols,
        torch.tensor([2, 2, 40, 0]),
    )


def test_cuts_that_cannot_be_spelled_count_for_nothing_and_are_counted():
    spoilt = _spoilt(_batch())
    losses, gradients = _loss_and_gradients(spoilt)
    alone, expected = _loss_and_gradients(spoilt, [0])
    assert losses.weight == alone.weight == 2
    torch.testing.assert_close(losses.total, alone.total)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)
    assert float(losses.metrics["left_out"]) == 0.75
    assert float(alone.metrics["left_out"]) == 0.0


@pytest.mark.parametrize("samples", [0, 400, 1300])
def test_a_batch_too_short_for_any_frame_has_no_weight_no_gradient_and_no_text(samples):
    """Up to 8 frames of the filter bank make none of the encoder."""
    batch = _batch()
    short = replace(
        batch, waveforms=batch.waveforms[:, :samples], lengths=torch.full((4,), samples)
    )
    losses, gradients = _loss_and_gradients(short)
    assert (float(losses.total.detach()), losses.weight) == (0.0, 0.0)
    assert not gradients.any()
    assert float(losses.metrics["left_out"]) == 1.0
    assert _transcribed(_transcription(SMALL), short) == [[], [], [], []]


def _summed():
    """Loss and gradients of a batch of which one rank's share has nothing to learn from."""
    order = [0, 3, 1, 2]
    whole = LabelBatch(*(value[order] for value in vars(_spoilt(_batch())).values()))
    (own,) = micro_batches(whole, distributed.world_size())[distributed.rank() :][:1]
    losses, gradients = _loss_and_gradients(own)
    weight = distributed.total(torch.tensor(losses.weight))
    return (
        distributed.total(losses.total.detach() * losses.weight) / weight,
        distributed.total(gradients * losses.weight) / weight,
    )


def test_a_rank_whose_cuts_cannot_be_spelled_changes_nothing(two_processes):
    loss, gradients = _summed()
    # Sums of float32 are rounded by their size, which is that of the largest gradients (15 here).
    rounding = 1e-6 * float(gradients.abs().max())
    for other_loss, other in two_processes.run(_summed):
        torch.testing.assert_close(other_loss, loss)
        torch.testing.assert_close(other, gradients, rtol=1e-4, atol=rounding)
