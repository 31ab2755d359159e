"""Runs whose encoders are compiled learn what plain runs learn."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from audiossl.errors import UserError
from audiossl.training.compilation import compile_units


def _runs(backend, kind):
    # A program of its own: the checks of shapes around every function here are no part of a graph.
    command = [sys.executable, "-m", "tests.training.compiling", backend, kind]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("eager", "efficientnet"),
        ("eager", "zipformer"),
        pytest.param("inductor", "efficientnet", marks=pytest.mark.long),
        pytest.param("inductor", "patch_transformer", marks=pytest.mark.long),
    ],
)
def test_losses_are_those_of_a_plain_run(backend, kind):
    runs = _runs(backend, kind)
    assert len(runs["plain"]) == 3
    assert runs["compiled"] == pytest.approx(runs["plain"], rel=1e-3)
    assert runs["graphs"] > 0


def test_a_method_without_units_is_refused_by_name():
    with pytest.raises(UserError, match=r"loop\.compile: Linear has no encoder with units"):
        compile_units(nn.Linear(2, 2))
