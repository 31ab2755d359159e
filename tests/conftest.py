"""What every test has: fixed seeds, no network beyond loopback, two processes on demand."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Before torch: threads that spin while they wait take the cores from those that work. Benchmarks
# time what a user gets, one process with torch's own policy.
if not any("benchmarks" in argument for argument in sys.argv):
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Processes of tests that run at once share the cores.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    at_once = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))

import torch

from tests.experiment import experiment as experiment
from tests.processes import Processes

LONGEST = (
    "egs/test_mini.py", "test_contracts.py", "trust/test_campaign.py", "recipes/test_ray.py",
    "test_documents.py", "recipes/test_sequence.py", "egs/test_benchmarks.py",
)  # fmt: skip
"""Files that begin first, so that no process is left alone with one of them in the end."""
SMALL_TENSORS = ("quantization", "separation", "teachers")
"""Folders where a second thread would wait longer for its turn than it computes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and keep the order of the others."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may draw from the global state


@pytest.fixture(autouse=True)
def _threads_as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stages choose their number of threads, and sums of floats depend on it."""
    threads = torch.get_num_threads()
    if request.path.parent.name in SMALL_TENSORS:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost") and host != socket.gethostname():
            raise OSError(f"tests have no network, but one wanted {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)


@pytest.fixture(scope="session")
def two_processes() -> Iterator[Processes]:
    """Two gloo processes: `two_processes.run(function, *arguments)` gives both results."""
    with Processes(2) as processes:
        yield processes
