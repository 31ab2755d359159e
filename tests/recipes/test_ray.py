"""The Ray engine gives the files of the local one, on a cluster of two nodes, whatever dies."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
SCRIPT = Path(__file__).with_name("ray_cluster.py")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=300,
        check=False, env=_environment(),
    )  # fmt: skip


def _environment() -> dict[str, str]:
    import os

    root = str(SCRIPT.parents[2])
    return {**os.environ, "PYTHONPATH": root, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def _content(folder):
    return {p.name: p.read_text() for p in folder.glob("*.txt") if p.name != "log.txt"}


@pytest.mark.timeout(400)
def test_two_nodes_a_killed_actor_and_a_killed_driver(tmp_path):
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("1 2 3 x 5 6 7 8")
    expected = {f"{i}.txt": str((i + 1) ** 2) for i in range(8) if i != 3}
    done = _run(str(numbers), str(tmp_path / "actor"), "--kill-actor", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "actor" / "killed").exists()
    assert _content(tmp_path / "actor") == expected
    words = (str(numbers), str(tmp_path / "driver"), "--seconds", "0.5")
    killed = _run(*words, "--kill-driver", "3")
    assert killed.returncode == -9, killed.stderr[-3000:]
    assert 0 < len(_content(tmp_path / "driver")) < len(expected)
    resumed = _run(*words)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert _content(tmp_path / "driver") == expected
    assert not (tmp_path / "driver" / "ray").exists()
