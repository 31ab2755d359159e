import torch

from audiossl.batches import TextBatch
from audiossl.features.spec_augment import SpecAugmentConfig
from audiossl.methods.transcription import Transcription, TranscriptionConfig, collapsed
from audiossl.models.zipformer.model import Zipformer
from tests.methods.codes import SMALL

PLAIN = TranscriptionConfig(dropout=0.0, augmentation=SpecAugmentConfig(probability=0.0))


def _batch() -> TextBatch:
    """Two notes, high and low, in four orders."""
    symbols = torch.tensor([[1, 2], [2, 1], [1, 1], [2, 2]])
    time = torch.arange(8000) / 16000
    notes = {n: 0.3 * torch.sin(2 * torch.pi * f * time) for n, f in ((1, 300), (2, 3000))}
    rest = torch.zeros(2000)
    rows = [torch.cat([notes[a], rest, notes[b]]) for a, b in symbols.tolist()]
    return TextBatch(torch.stack(rows), torch.full((4,), 18000), symbols, torch.full((4,), 2))


def test_symbols_that_repeat_are_one_and_blanks_part_them():
    assert collapsed(torch.tensor([0, 1, 1, 0, 1, 2, 2, 0])) == [1, 1, 2]
    assert collapsed(torch.tensor([0, 0])) == []


def test_the_loss_falls_and_every_cut_gets_a_transcript():
    torch.manual_seed(0)
    method, batch = Transcription(Zipformer(SMALL), PLAIN, 2), _batch()
    optimizer, first = torch.optim.Adam(method.parameters(), 5e-3), 0.0
    generator = torch.Generator()
    for step in range(40):
        optimizer.zero_grad()
        losses = method(batch, step, generator.manual_seed(step))
        losses.total.backward()
        optimizer.step()
        first = float(losses.total.detach()) if step == 0 else first
    assert losses.weight == 8
    assert float(losses.total.detach()) < 0.5 * first
    found = method.eval().transcribe(batch.waveforms, batch.lengths)
    assert len(found) == 4
    assert {symbol for row in found for symbol in row} <= {1, 2}


def test_a_cut_too_short_for_its_text_has_no_infinite_loss():
    method, batch = Transcription(Zipformer(SMALL), PLAIN, 2), _batch()
    short = TextBatch(
        batch.waveforms[:, :8000], torch.full((4,), 8000), torch.ones(4, 40).long(),
        torch.full((4,), 40),
    )  # fmt: skip
    loss = method(short, 0, torch.Generator()).total
    assert torch.isfinite(loss)
