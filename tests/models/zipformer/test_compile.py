"""Compiled whole, without a break, the network computes the same and is compiled once a bucket."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_one_graph_a_bucket_with_the_numbers_of_the_plain_network(backend):
    # A program of its own: the checks of shapes around every function here are no part of a graph.
    command = [sys.executable, "-m", "tests.models.zipformer.compiling", backend]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
