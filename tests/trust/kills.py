"""Stages that are killed or stopped at any moment, started again, and compared with others."""

import functools
import hashlib
import json
import random
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.trust.forks import Done, forked, last_line
from tests.trust.world import COMMANDS, SECONDS

SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
UNDER_WAY = ("started", "finished", "seconds", "command", "versions", "hardware", "world_size")
"""Fields of records that tell about a run rather than about its result."""
PASSED_OVER = ("log.txt", ".lock", "config.yaml")


@dataclass(frozen=True)
class Trial:
    """A stage that was disturbed once."""

    stage: str
    signal: str
    ranks: int
    moment: float
    """Seconds after which the signal was sent."""
    first: Done
    again: Done
    differences: tuple[str, ...]
    """Files that are not as those of an undisturbed run."""

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if self.first.timed_out or self.again.timed_out:
            return "hangs"
        # Where one rank was stopped before it could wait for the others, those are killed.
        ended = {-self._number, -signal.SIGKILL} if self.ranks > 1 else {-self._number}
        if not self.first.is_clean and self.first.code not in ended:
            return f"exit code {self.first.code} when stopped: {last_line(self.first.err)}"
        if self.again.code != 0:
            return f"exit code {self.again.code} when started again: {last_line(self.again.err)}"
        return f"differs in {', '.join(self.differences)}" if self.differences else ""

    @property
    def _number(self) -> int:
        return int(SIGNALS[self.signal])


def trials(
    stage: str, here: Path, scratch: Path, count: int, *, ranks: int = 1, seed: int = 0
) -> Iterator[Trial]:
    """Disturb a stage at random moments, with each signal in turn.

    Args:
        stage: One of `COMMANDS`.
        here: The world.
        scratch: A folder for outputs.
        count: Moments for each signal.
        ranks: Processes that work together.
        seed: Of the moments.
    """
    command = COMMANDS[stage]
    expected, seconds = undisturbed(stage, here, scratch, ranks)
    generator = random.Random(f"{stage}-{ranks}-{seed}")
    for index in range(count * len(SIGNALS)):
        name = list(SIGNALS)[index % len(SIGNALS)]
        moment = generator.uniform(0.0, seconds)
        output = _output(stage, scratch, ranks)
        run = command.call(here, output)
        first = forked(run, timeout=300, ranks=ranks, kill=(SIGNALS[name], moment))
        again = forked(run, timeout=300, ranks=ranks)
        found = content(output) if output.exists() else {}
        apart = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
        yield Trial(stage, name, ranks, moment, first, again, tuple(apart))
        shutil.rmtree(output, ignore_errors=True)


@functools.cache
def undisturbed(stage: str, here: Path, scratch: Path, ranks: int) -> tuple[dict[str, str], float]:
    """Content of a stage that ran in peace, and how long it took; one rank has made the world."""
    if ranks == 1:
        return content(here / stage), json.loads((here / SECONDS).read_text())[stage]
    output = _output(stage, scratch, ranks)
    done = forked(COMMANDS[stage].call(here, output), timeout=300, ranks=ranks)
    if done.code:
        raise RuntimeError(f"{stage} on {ranks} ranks: {done.err[-4000:]}")
    found = content(output)
    shutil.rmtree(output)
    return found, done.seconds


def _output(stage: str, scratch: Path, ranks: int) -> Path:
    """Make room for a run, of the name it has in the world: what is derived from it is the same."""
    output = scratch / f"{ranks}" / stage
    shutil.rmtree(output, ignore_errors=True)
    return output


def second_run_is_refused(stage: str, here: Path, scratch: Path) -> bool:
    """Start a stage in a folder in which another one is at work."""
    import fcntl

    output = scratch / f"{stage}-two"
    output.mkdir(parents=True)
    with (output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = forked(COMMANDS[stage].call(here, output), timeout=60)
    refused = done.code == 2 and "another run is at work" in done.err
    return refused and not (output / "stage.json").exists()


def content(folder: Path) -> dict[str, str]:
    """Digest every file of an output, without what tells about the run rather than the result.

    A stop writes a checkpoint of its own, which takes the place of an older one: the newest counts.
    """
    found = {}
    runs = folder.rglob("checkpoints")
    older = [path for run in runs for path in sorted(run.glob("step-*"))[:-1]]
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in PASSED_OVER or path.parent.name == "tensorboard":
            continue
        if path in older:
            continue
        found[name] = hashlib.sha256(_told(path, folder)).hexdigest()
    return found


def _told(path: Path, folder: Path) -> bytes:
    if path.name == "stage.json" or path.parent.name == "receipts":
        record = json.loads(path.read_text())
        return json.dumps({k: v for k, v in record.items() if k not in UNDER_WAY}).encode()
    if path.suffix == ".npz":  # entries of a zip carry the time
        with np.load(path) as arrays:
            return b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))
    if path.suffix == ".pt":  # pickles of equal values differ by which of them are one object
        return b"".join(_values(torch.load(path, weights_only=True)))
    if path.suffix in (".html", ".md", ".json"):
        text = path.read_text().replace(str(folder), "OUTPUT")
        return re.sub(re.escape(folder.name), "OUTPUT", text).encode()
    return path.read_bytes()


def _values(nest: Any) -> Iterator[bytes]:
    """List what is in a nest of dicts, lists, numbers and tensors."""
    if isinstance(nest, dict):
        for name, item in nest.items():
            yield f"{name!r}:".encode()
            yield from _values(item)
    elif isinstance(nest, (list, tuple)):
        for item in nest:
            yield from _values(item)
    elif isinstance(nest, torch.Tensor):
        yield f"{nest.dtype}{tuple(nest.shape)}".encode() + nest.numpy().tobytes()
    else:
        yield repr(nest).encode()
