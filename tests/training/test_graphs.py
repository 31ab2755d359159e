"""Nothing that outlives a step lies in the memory of a CUDA graph; what cannot be is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from audiossl.errors import UserError
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.training import loop
from audiossl.training.compilation import begin_forward, check_graphs
from tests.training import overwriting
from tests.training.toy import Source, loop_config, method, place

CUDA = torch.device("cuda")


def _lines(module, *words):
    # A program of its own: the checks of shapes around every function here are no part of a graph.
    command = [sys.executable, "-m", f"tests.training.{module}", *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def _check_same_losses(names):
    lines = _lines("overwriting", *names)
    prefix = overwriting.PREFIX
    found = [json.loads(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]
    assert [run["name"] for run in found] == list(names)
    for run in found:
        # Where nothing counted there is no loss: in the same steps, and not in all.
        counted = [step for step, loss in enumerate(run["plain"]) if loss is not None]
        assert counted == [step for step, loss in enumerate(run["graphs"]) if loss is not None]
        graphs, plain = ([run[kind][step] for step in counted] for kind in ("graphs", "plain"))
        assert counted
        assert graphs == pytest.approx(plain, rel=1e-3), run
        assert len(run["plain"]) == 3
        assert run["begun"] >= 3 * overwriting.RUNS[run["name"]][2]
        assert run["overwritten"] > run["begun"]


def test_queues_gradients_and_metrics_outlive_graphs():
    _check_same_losses(["queue", "masked_patches"])


@pytest.mark.long
@pytest.mark.parametrize("name", overwriting.RUNS)
def test_of_every_method_nothing_that_outlives_a_step_is_of_a_graph(name):
    # What is not to be forgotten is that run's encoder.
    _check_same_losses(["cola", name] if name == "forgetting" else [name])


def test_every_method_is_compared():
    assert set(overwriting.METHODS) <= set(overwriting.RUNS)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_begins_before_each_forward_pass(tmp_path, monkeypatch, accumulate):
    events = []
    monkeypatch.setattr(loop, "check_graphs", lambda *_: None)
    monkeypatch.setattr(loop, "compile_units", lambda *_, graphs: [])
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: events.append("begin"))
    toy = method()
    toy.register_forward_pre_hook(lambda *_: events.append("forward"))
    config = loop_config(steps=3, compile=True, graphs=True, accumulate=accumulate)
    loop.train(toy, Source(), config, place(tmp_path))
    assert events == ["begin", "forward"] * 3 * accumulate


def test_gradients_of_an_earlier_part_are_copied(monkeypatch):
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    layer = nn.Linear(2, 2)
    layer.weight.grad = of_graph = torch.ones(2, 2)
    begin_forward(layer)
    of_graph.fill_(float("nan"))
    assert torch.equal(layer.weight.grad, torch.ones(2, 2))
    assert layer.bias.grad is None


def test_what_cannot_be_recorded_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^loop\.graphs is of compiled units: set loop\.compile"):
        loop_config(graphs=True)
    config = loop_config(compile=True, graphs=True)
    with pytest.raises(UserError, match=r"^loop\.graphs: CUDA graphs need a CUDA device.*is cpu"):
        loop.train(method(), Source(), config, place(tmp_path))
    check_graphs(Zipformer(TINY), CUDA)
    with pytest.raises(UserError, match=r"^loop\.graphs: what encoder\.checkpoint_stacks"):
        check_graphs(Zipformer(replace(TINY, checkpoint_stacks=True)), CUDA)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["efficientnet", "zipformer"])
@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_losses_on_an_accelerator_are_those_of_a_plain_run(kind, accumulate):
    runs = json.loads(_lines("compiling", "inductor", kind, "cuda", accumulate)[-1])
    assert runs["compiled"] == pytest.approx(runs["plain"], rel=1e-2)
    assert runs["graphed"] == pytest.approx(runs["plain"], rel=1e-2)
    assert runs["recorded"] > 0
    assert runs["skipped"] == 0
