"""Whole processes as rows: modules that are run as a user runs them, on one thread."""

import os
import subprocess
import sys
import time
from pathlib import Path


def run(log: Path, module: str, *words: object) -> tuple[float, float]:
    """Run a module; return its seconds, and the MiB that it held at most."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            env=environment, stdout=file, stderr=file,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text()
    return time.perf_counter() - started, used.ru_maxrss / 1024
