import numpy as np
import pytest
import torch
from torch import nn

from audiossl.probing.heads import HeadPlan, fit_heads, train_heads
from audiossl.probing.probe import Examples
from tests.probing.protocols.made_problems import clouds


def plan(**changes):
    facts = {
        "norm": "standard", "rates": (0.01, 0.1), "seeds": (0, 1), "batch_size": 16, "epochs": 4,
    }  # fmt: skip
    return HeadPlan(**facts | changes)


def layers(count):
    """The same items under several embeddings of one dimension."""
    problem = clouds(noise=2.0)
    generator = np.random.default_rng(1)
    turned = [generator.normal(size=(8, 8)).astype(np.float32) for _ in range(count)]
    parts = [
        [Examples(e.vectors @ turn, e.items, e.targets) for e in (problem.train, problem.valid)]
        for turn in turned
    ]
    return [type(problem)(*both, problem.kind, problem.metric) for both in parts]


@pytest.mark.parametrize("hidden", [0, 6])
@pytest.mark.parametrize("norm", ["standard", "layer", "none"])
def test_heads_that_are_trained_together_are_those_that_are_trained_alone(norm, hidden):
    problems = layers(3)
    together = train_heads(plan(norm=norm, hidden=hidden, dropout=0.2), problems)
    for problem, heads in zip(problems, together, strict=True):
        for number, (rate, seed) in enumerate([(r, s) for r in (0.01, 0.1) for s in (0, 1)]):
            alone = plan(norm=norm, hidden=hidden, dropout=0.2, rates=(rate,), seeds=(seed,))
            (single,) = train_heads(alone, [problem])
            rows = problem.valid.vectors
            torch.testing.assert_close(
                heads.logits(rows, [number]), single.logits(rows, [0]), rtol=1e-3, atol=1e-3
            )


def test_a_head_is_trained_as_torch_would():
    problem = clouds(noise=2.0)
    size, epochs, rate = 16, 3, 0.01
    (heads,) = train_heads(
        plan(norm="layer", rates=(rate,), seeds=(5,), batch_size=size, epochs=epochs,
             final_rate=0.1, keep="last", weight_decay=0.01),
        [problem],
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=0.01)
    rows = torch.from_numpy(problem.train.vectors)
    labels = torch.from_numpy(problem.train.targets.argmax(axis=1))
    orders = torch.Generator().manual_seed(5)
    for epoch in range(epochs):
        share = 0.1 + 0.9 * (1 + np.cos(np.pi * epoch / epochs)) / 2
        optimizer.param_groups[0]["lr"] = rate * share
        for batch in torch.randperm(len(rows), generator=orders).split(size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(rows[batch]), labels[batch]).backward()
            optimizer.step()
    valid = problem.valid.vectors
    torch.testing.assert_close(
        heads.logits(valid, [0])[0], model(torch.from_numpy(valid)).detach(), rtol=1e-4, atol=1e-4
    )


def test_the_rate_that_validates_best_is_kept():
    problem = clouds(noise=1.0)
    fitted = fit_heads(plan(rates=(1e-7, 0.1)), {"clip": problem})["clip"]
    assert fitted.choice == {"rate": 0.1}
    assert fitted.predict(problem.valid.vectors).shape == (2, 40, 3)


def test_embeddings_of_several_dimensions_are_fitted_in_their_order():
    problems = dict(zip("abc", layers(3), strict=True))
    wider = clouds(noise=2.0, dim=12)
    fits = fit_heads(plan(), {"wide": wider, **problems})
    assert list(fits) == ["wide", "a", "b", "c"]
    assert fits["wide"].predict(wider.valid.vectors).shape == (2, 40, 3)
