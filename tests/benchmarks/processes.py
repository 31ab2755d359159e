"""Whole processes as rows: modules that are run as a user runs them, on one thread."""

import os
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import atexit, pathlib, runpy, sys

def note(peak=pathlib.Path(sys.argv[1])):
    status = pathlib.Path("/proc/self/status").read_text()
    peak.write_text(status.partition("VmHWM:")[2].split()[0])

atexit.register(note)
module = sys.argv[2]
del sys.argv[1:3]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Run a module, and note the kB of memory that it held at most: what `wait4` says of a process that
a large one has started is the size of the large one."""


def run(log: Path, module: str, *words: object) -> tuple[float, float]:
    """Run a module; return its seconds, and the MiB that it held at most."""
    environment, peak = {**os.environ, "OMP_NUM_THREADS": "1"}, log.with_suffix(".peak")
    started = time.perf_counter()
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(peak), module, *map(str, words)],
            env=environment, stdout=file, stderr=file, check=False,
        )  # fmt: skip
    assert done.returncode == 0, log.read_text()
    return time.perf_counter() - started, int(peak.read_text()) / 1024
