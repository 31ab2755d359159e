import numpy as np
import pytest
import torch

from audiossl.batches import to_device
from audiossl.data.plan import Position
from audiossl.errors import UserError
from audiossl.reports.pair_pages import some_of_each
from audiossl.reports.pairs import inspect_pairs, pair_scores
from audiossl.training.runs import has_pairs, open_run


@pytest.fixture(scope="module")
def run(experiment):
    return open_run(experiment.source_0)


def test_a_run_is_opened_at_its_last_step(experiment, run):
    assert run.step == 2
    assert not run.method.training
    assert has_pairs(experiment.cola_0)
    assert not has_pairs(experiment.fitted)
    with pytest.raises(UserError, match="give the output of a pretrain stage"):
        open_run(experiment.audio)


def test_surprise_is_the_loss_of_the_method(run):
    batch = to_device(run.views.load(Position(0, 0)), torch.device("cpu"))
    scores, targets = pair_scores(run.method, batch)
    loss = torch.nn.functional.cross_entropy(scores, targets)
    with torch.inference_mode():
        trained = run.method(batch, 0, torch.Generator().manual_seed(0))
    assert float(loss) == pytest.approx(float(trained.total), rel=1e-5)


def test_pairs_are_those_of_the_first_batches_most_surprising_first(run):
    pairs = inspect_pairs(run.views, run.method, batches=2)
    assert len(pairs) == 8
    surprises = [pair.surprise for pair in pairs]
    assert surprises == sorted(surprises, reverse=True)
    names = {run.views.corpus.name(int(cut)) for cut in run.views.cuts}
    assert {pair.recording for pair in pairs} <= names
    for pair in pairs:
        assert 1 <= pair.rank <= pair.candidates
        assert (pair.mistaken_for == "") == (pair.rank == 1)
        assert pair.surprise >= 0


def test_an_absent_source_is_said_to_be_absent(run):
    pairs = inspect_pairs(run.views, run.method, batches=6)
    for pair in pairs:
        silent = np.abs(pair.positive).max() == 0
        assert pair.active or pair.dbfs < -40 or silent
        if pair.source == "high" and pair.recording.endswith(("002", "005")):
            assert not pair.active
            assert pair.dbfs == -np.inf


def test_any_encoder_can_judge_pairs(run):
    pairs = inspect_pairs(run.views, run.method.encoder, batches=1)
    assert all(np.isfinite(pair.similarity) for pair in pairs)
    assert all(abs(pair.similarity) <= 5.01 for pair in pairs), "cosine over a temperature of 0.2"


def test_some_of_each_source_are_chosen(run):
    pairs = inspect_pairs(run.views, run.method, batches=4)
    sources = {pair.source for pair in pairs}
    chosen = some_of_each(pairs, len(sources))
    assert {pair.source for pair in chosen} == sources
    assert len({id(pair) for pair in some_of_each(pairs, 10)}) == 10
