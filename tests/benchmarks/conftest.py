"""`make bench`: what comparisons record becomes docs/benchmarks.md."""

import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests.benchmarks.rounds import CLOCK, ROUNDS, ROWS

PAGE = """# Benchmarks

Written by `make bench`: {date}, commit {commit}, {processor}, {cores} cores, torch {torch},
Python {python}; load of the machine {load} (on a busy machine quartiles are wide, and medians
repeat within about 20 %).

Each case runs ours and a peer in one process, on the same inputs, with the same threads. That both
give the same is asserted first (of random masks their coverage, of COLA's network its parameters),
then they take turns. The ratio is the peer's time over ours, the
median over rounds of neighbors, with its quartiles; above 1 is a win. Milliseconds are {clock} of
this machine, and say little of another.

| case | ratio | quartiles | ours, ms | rounds | goal |
|---|--:|--:|--:|--:|--:|
{rows}
{floors}
## Ours at more work against ours at less

What many of a kind cost beside one, and an item of many files beside one of fewer: no peers.

| case | ratio | quartiles | ours, ms | rounds | goal |
|---|--:|--:|--:|--:|--:|
{own_rows}
{own_floors}
## Accelerators

`recipes/benchmark/gpu.sh` prints a table of training steps, encoding, embedding and probes on one
accelerator in at most 8 minutes, and writes it as JSON. The kernels and bytes of a step are counted
on the meta device by `tests/models/zipformer/test_launches.py`.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", type=Path, help="write the table of ratios there")
    parser.addoption("--quick", action="store_true", help="three rounds a case")
    parser.addoption(
        "--process-time", action="store_true",
        help="count what the process works, on a machine whose neighbors are busy",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        os.environ[ROUNDS] = "3"
    if config.getoption("--process-time"):
        os.environ[CLOCK] = "process_time"
    if config.getoption("--page"):
        handle, os.environ[ROWS] = tempfile.mkstemp(suffix=".jsonl")
        os.close(handle)


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("--page")
    if not page:
        return
    recorded = Path(os.environ.pop(ROWS))
    rows = [json.loads(line) for line in recorded.read_text().splitlines()]
    recorded.unlink()
    if rows:
        page.write_text(_page(rows))


@pytest.fixture(autouse=True)
def _one_thread(_threads_as_before: None) -> None:
    torch.set_num_threads(1)  # what is shared with others would be measured too


def _page(rows: list[dict]) -> str:
    own, peers = ([row for row in rows if row["itself"] == kind] for kind in (True, False))
    return PAGE.format(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        commit=_output("git", "rev-parse", "--short", "HEAD"),
        processor=_processor(),
        cores=os.cpu_count(),
        clock="processor time" if CLOCK in os.environ else "those",
        torch=torch.__version__,
        python=platform.python_version(),
        load=f"{os.getloadavg()[1]:.1f}",
        rows="\n".join(map(_row, peers)),
        floors=_floors(peers),
        own_rows="\n".join(map(_row, own)),
        own_floors=_floors(own),
    )


def _row(row: dict) -> str:
    low, high = row["quartiles"]
    return (
        f"| {row['case']} | {row['ratio']:.2f} | {low:.2f} to {high:.2f} | "
        f"{row['milliseconds']:.2f} | {row['rounds']} | {row['goal']:g} |"
    )


def _floors(rows: list[dict]) -> str:
    """Say once of all rows that one thing bounds what it is."""
    missed: dict[str, list[str]] = {}
    for row in rows:
        if row["ratio"] < row["goal"]:
            missed.setdefault(row["floor"] or "not explained yet", []).append(row["case"])
    if not missed:
        return ""
    lines = [f"* {'; '.join(cases)}: {floor}." for floor, cases in missed.items()]
    return "\n".join(["", "What bounds the rows below their goal:", "", *lines, ""])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
