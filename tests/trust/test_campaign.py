"""The campaign behind docs/trust.md: a quick one with all tests, an hour with the long ones.

It runs in a process of its own, which forks: pytest's has threads by now.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _campaign(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.campaign", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    problems = [line for line in done.stdout.splitlines() if line.startswith("* ")]
    assert done.returncode == 0, "\n".join(problems) or done.stderr[-4000:]


@pytest.mark.timeout(1500)
def test_bad_input_mutated_files_and_killed_stages():
    _campaign(
        "--moments", "2", "--mutations", "1", "--every", "6", "--ranks", "1", "--minutes", "2"
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_all_of_it_for_an_hour():
    _campaign("--moments", "20", "--mutations", "200", "--minutes", "60", "--seed", "1")
