import math
from itertools import pairwise

import multi_quantization
import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.quantization.direct_sum_training import (
    DirectSumConfig,
    begin,
    restore,
    train_direct_sum,
)
from audiossl.quantization.frame_batches import FrameBatches

SHORT = DirectSumConfig(num_codebooks=2, phase_steps=(30, 20), batch_size=64)


def structured(num_frames, dim=32, seed=0):
    """The structured data of the sanity table: 16 bounded causes, mixed, with noise and offset."""
    generator = np.random.default_rng(seed + 1)
    mixing = np.random.default_rng(0).standard_normal((16, dim))
    frames = np.tanh(generator.standard_normal((num_frames, 16))) @ mixing / 2
    frames += 0.1 * generator.standard_normal((num_frames, dim)) + np.linspace(-1, 1, dim)
    return frames.astype(np.float32)


def gaussian(num_frames, dim=32, seed=0):
    return np.random.default_rng(seed).standard_normal((num_frames, dim)).astype(np.float32)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    batches = FrameBatches(structured(2000), 64, seed=0)
    whole = train_direct_sum(batches, SHORT)
    training = None
    for num_steps in (17, 13, 11, 100):  # in phase one, at its end, in phase two, to the end
        training = train_direct_sum(batches, SHORT, training, num_steps=num_steps)
        torch.save(training.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        training = restore(32, SHORT, state, "cpu")
    assert training.step == whole.step == 50
    assert training.quantizer.codebook_size == 256
    for name, value in whole.quantizer.state_dict().items():
        assert torch.equal(training.quantizer.state_dict()[name], value), name


def test_the_seed_decides_the_training():
    batches = FrameBatches(structured(500), 64, seed=0)
    first = train_direct_sum(batches, SHORT, num_steps=5).quantizer
    torch.manual_seed(123)
    assert train_direct_sum(batches, SHORT, num_steps=5).quantizer.id == first.id
    other = DirectSumConfig(**{**SHORT.__dict__, "seed": 1})
    assert train_direct_sum(batches, other, num_steps=5).quantizer.id != first.id


def test_the_learning_rate_halves_with_each_quarter_and_with_the_phase():
    config = DirectSumConfig(num_codebooks=1, phase_steps=(8, 4), batch_size=32)
    batches = FrameBatches(gaussian(100), 32, seed=0)
    training, rates = begin(32, config, "cpu"), []
    for _ in range(12):
        optimizer = training.optimizer  # the next phase, if this step begins it, has another
        training = train_direct_sum(batches, config, training, num_steps=1)
        rates.append(optimizer.param_groups[0]["lr"] / 0.005)
    assert rates == [1, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 2, 1 / 4, 1 / 8, 1 / 16]


def test_losses_are_reported_and_fall():
    losses = []
    batches = FrameBatches(structured(2000), 64, seed=0)
    train_direct_sum(
        batches, SHORT, report=lambda step, found: losses.append(float(found.reconstruction))
    )
    assert len(losses) == 50
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def test_a_loss_that_explodes_stops_the_training():
    config = DirectSumConfig(
        num_codebooks=1, phase_steps=(50, 50), batch_size=32, learning_rate=1e6
    )
    with pytest.raises(UserError, match=r"the loss is .* at step .*lower learning_rate"):
        train_direct_sum(FrameBatches(gaussian(100), 32, seed=0), config)


def test_frames_of_another_dimension_are_refused():
    training = begin(16, SHORT, "cpu")
    with pytest.raises(UserError, match="takes frames of 16 dimensions, got 32"):
        train_direct_sum(FrameBatches(gaussian(100), 32, seed=0), SHORT, training)


TABLE = {
    "gaussian": (gaussian, 2, [0.638, 0.595, 0.5945, 0.5945, 0.5945, 0.5945], 1.494),
    "structured": (structured, 4, [0.1845, 0.0798, 0.0665, 0.0648, 0.0646, 0.0645], 2.497),
}
"""Data, codebooks, relative losses after 0 to 5 passes and -log p of the codes, as the library gave
them once after 800 and 600 steps with batches of 256 frames. How the causes were mixed then is not
known, and other mixtures move the second row by 0.01; hence the library is trained here too."""


def losses_of_library(batches, num_codebooks, unseen):
    trainer = multi_quantization.QuantizerTrainer(32, num_codebooks, torch.device("cpu"), 800, 600)
    for step in range(1401):
        trainer.step(batches.batch(step))
    quantizer, frames = trainer.get_quantizer(), torch.from_numpy(unseen)
    with torch.no_grad():
        parts = [
            [float(quantizer.compute_loss(part, passes)[0]) for part in frames.split(256)]
            for passes in range(6)
        ]
        return np.mean(parts, axis=1), float(quantizer.compute_loss(frames, 5)[1])


@pytest.mark.long
@pytest.mark.parametrize("name", TABLE)
def test_reaches_what_the_library_reaches(name):
    make, num_codebooks, table, log_prob = TABLE[name]
    config = DirectSumConfig(num_codebooks=num_codebooks, phase_steps=(800, 600), batch_size=256)
    batches, unseen = FrameBatches(make(256 * 1400), 256, seed=0), make(10240, seed=1)
    trained = train_direct_sum(batches, config).quantizer
    parts = torch.from_numpy(unseen).split(256)
    with torch.no_grad():
        errors = [
            np.mean([float(trained.losses(p, refinements=n).reconstruction) for p in parts])
            for n in range(6)
        ]
    losses = trained.losses(torch.from_numpy(unseen), refinements=5).detached()
    library, library_log_prob = losses_of_library(batches, num_codebooks, unseen)
    rows = {
        "ours": (*errors, float(losses.log_prob)),
        "library": (*library, library_log_prob),
        "table": (*table, log_prob),
    }
    for who, row in rows.items():
        print(f"{name:10} {who:8}", *(f"{value:.4f}" for value in row))
    np.testing.assert_allclose(errors, table, atol=0.01)
    np.testing.assert_allclose(errors, library, atol=0.01)
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(errors))
    assert float(losses.log_prob) == pytest.approx(log_prob, abs=0.15)
    assert float(losses.log_prob) == pytest.approx(library_log_prob, abs=0.15)
    assert float(losses.index_entropy) < 0.02
    assert 2 < math.exp(10 * float(trained.centers_scale.detach())) < 4
