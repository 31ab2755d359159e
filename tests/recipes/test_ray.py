"""The Ray engine gives the files of the local one, on a cluster of two nodes, whatever dies."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}  # fmt: skip
NUMBERS = "1 2 3 x 5 6 7 8"
EXPECTED = {f"{i}.txt": str((i + 1) ** 2) for i in range(8) if i != 3}


@pytest.fixture
def address():
    """Of two nodes, where actors and drivers come and go."""
    command = [sys.executable, Path(__file__).with_name("ray_cluster.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=ENVIRONMENT) as cluster:
        yield cluster.stdout.readline().strip()


def _start(address: str, output: Path, *words: str) -> subprocess.Popen[str]:
    """Start the counting stage as a driver on the cluster."""
    numbers = output.with_suffix(".numbers")
    numbers.write_text(NUMBERS)
    return subprocess.Popen(
        [
            sys.executable, "-m", "tests.recipes.counting", "--numbers", numbers,
            "--output", output, "--resources.engine", "ray", "--resources.workers", "2",
            "--resources.device", "cpu", *words,
        ],
        stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, "RAY_ADDRESS": address}, cwd=ROOT,
    )  # fmt: skip


def _content(folder):
    return {p.name: p.read_text() for p in folder.glob("*.txt") if p.name != "log.txt"}


@pytest.mark.timeout(400)
def test_two_nodes_a_killed_actor_and_a_killed_driver(address, tmp_path):
    driver = _start(address, tmp_path / "actor", "--kill_at", "2")
    _, told = driver.communicate(timeout=300)
    assert driver.returncode == 0, told[-3000:]
    assert (tmp_path / "actor" / "killed").exists()
    assert _content(tmp_path / "actor") == EXPECTED
    output = tmp_path / "driver"
    with _start(address, output, "--seconds", "0.5") as driver:
        while len(_content(output)) < 3:
            time.sleep(0.05)
            assert driver.poll() is None
        driver.kill()
    assert 0 < len(_content(output)) < len(EXPECTED)
    resumed = _start(address, output, "--seconds", "0.5")
    _, told = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, told[-3000:]
    assert _content(output) == EXPECTED
    assert not (output / "ray").exists()
