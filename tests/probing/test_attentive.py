import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.probing.attentive import AttentiveConfig, AttentiveHead, fit_attentive
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.frame_tracks import Track
from audiossl.probing.linear import LinearConfig, fit_linear
from audiossl.probing.measure import measure
from audiossl.probing.probe import Examples, Problem
from tests.probing.made import task

QUICK = AttentiveConfig(heads=2, head_dim=8, rates=(0.03,), seeds=1, epochs=15, batch_size=16)


def rare_frames(items: int, seed: int) -> Examples:
    """Clips of noise, in one frame of which a sound that says the class lies at a chance place."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(10, 30, size=items)
    targets = np.eye(2, dtype=bool)[np.arange(items) % 2]
    vectors = generator.normal(size=(counts.sum(), 8)).astype(np.float32)
    starts = np.cumsum(counts) - counts
    loud = np.zeros((2, 8), np.float32)
    loud[:, 0], loud[:, 1] = 8.0, (-5.0, 5.0)
    vectors[starts + generator.integers(0, counts)] = loud[targets.argmax(axis=1)]
    return Examples(vectors, np.repeat(np.arange(items), counts), targets)


def problem(kind: str = "single", metric: str = "accuracy") -> Problem:
    return Problem(rare_frames(128, 0), rare_frames(32, 1), kind, metric, ("a", "b"))


def test_it_finds_what_the_mean_over_frames_washes_out():
    given, test = problem(), rare_frames(64, 2)
    found = fit_attentive(QUICK, given).predict(test)[0]
    attentive = np.mean(found.argmax(axis=1) == test.targets.argmax(axis=1))
    mean = Problem(given.train.averaged(), given.valid.averaged(), "single", "accuracy")
    plain = fit_linear(LinearConfig(), mean).predict(test.averaged().vectors)[0]
    assert attentive > 0.95
    assert np.mean(plain.argmax(axis=1) == test.targets.argmax(axis=1)) < 0.95


def test_padding_is_not_looked_at():
    torch.manual_seed(0)
    head = AttentiveHead(6, 3, QUICK)
    frames = torch.randn(2, 9, 6)
    valid = torch.arange(9) < torch.tensor([[9], [4]])
    louder = frames.clone()
    louder[1, 4:] = 1e4
    torch.testing.assert_close(head(louder, valid), head(frames, valid))
    torch.testing.assert_close(head(frames[1:, :4], valid[1:, :4]), head(frames, valid)[1:])


def test_its_attention_is_torchs():
    torch.manual_seed(1)
    head, frames = AttentiveHead(6, 3, QUICK), torch.randn(2, 9, 6)
    valid = torch.arange(9) < torch.tensor([[9], [4]])
    keys, values = (
        part(frames).unflatten(2, (2, 8)).transpose(1, 2) for part in (head.keys, head.values)
    )
    query = head.query[None, :, None].expand(2, -1, -1, -1)
    looked = torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=valid[:, None, None]
    )
    torch.testing.assert_close(head(frames, valid), head.output(looked.flatten(1)))


def test_seeds_are_runs_and_a_seed_says_the_same_again():
    config = AttentiveConfig(heads=1, head_dim=4, rates=(0.01, 1e-9), seeds=2, epochs=2)
    first, again = (fit_attentive(config, problem("multi", "roc_auc")) for _ in range(2))
    found = first.predict(rare_frames(6, 3))
    assert found.shape == (2, 6, 2)
    assert first.choice == {"rate": 0.01}
    np.testing.assert_array_equal(found, again.predict(rare_frames(6, 3)))
    assert not np.array_equal(found[0], found[1])


def embeddings_of(made, *, frames: bool) -> Embeddings:
    """Two frames a cut, of which the second says the class."""
    items = len(made.targets)
    vectors = np.zeros((2 * items, 4), np.float32)
    vectors[1::2, :3] = 5 * made.targets[np.argsort(made.cuts)]
    starts = np.arange(items + 1)
    track = Track(vectors, np.tile([0.0, 0.5], items), 2 * starts)
    return Embeddings({"clip": vectors[::2]}, starts, frames={"output": track} if frames else {})


def test_measure_fits_it_on_the_frames_of_every_layer_that_were_kept():
    made = task()
    found = measure(made, embeddings_of(made, frames=True), QUICK, encoder="one")
    assert found.predictions.probe == "attentive"
    assert found.predictions.score("accuracy") == 1.0
    assert found.choice["embedding"] == "output"


def test_it_says_what_it_needs():
    made = task()
    with pytest.raises(UserError, match=r"task animals: .*embedding.frames true"):
        measure(made, embeddings_of(made, frames=False), QUICK, encoder="one")
