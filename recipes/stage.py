"""What every stage does: parse, identify, run once, resume, record.

A stage is a module with a `Config` and one function of it; it owns one output directory:

    stage.json   what was asked for, of which inputs, and, at the end, what came out
    config.yaml  the resolved settings
    log.txt      what it said (the first rank)
    skipped.jsonl  items that were left out, and why

Finished with the same settings, it is up to date. Unfinished, it goes on. With other settings it is
refused, naming what changed: nothing is overwritten by a flag.
"""

import fcntl
import json
import logging
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch

from audiossl import distributed
from audiossl.atomic_files import remove_leftovers, write_json, write_text
from audiossl.configs import Whole, plain
from audiossl.data.receipts import RECEIPTS, checked_files
from audiossl.doors import exit_code
from audiossl.errors import UserError
from audiossl.memory import keep_freed_memory
from audiossl.preemption import stop_flag
from recipes.record import begin_record, now
from recipes.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a stage works with: none of it changes the result."""

    device: str = "auto"
    """Device: auto (an accelerator if there is one), cpu, cuda, cuda:1, ..."""
    workers: Whole = 0
    """Number of processes that work beside this one, or of actors on a cluster; 0 does all the work
    here."""
    engine: Literal["local", "ray"] = "local"
    """Launcher of the work of sharded stages: processes here, or a Ray cluster."""
    verify: bool = False
    """Whether to read again all that is finished: inputs that are not as their stage wrote them are
    refused, shards that are not, or whose sources changed, made anew. Otherwise names and sizes are
    compared."""


@dataclass
class Stage:
    """One run of a stage, for the function that does its work."""

    output: Path
    """The directory it owns."""
    device: torch.device
    """Device to compute on."""
    log: logging.Logger
    max_skipped: float
    """Largest share of items that may be left out."""

    def record_skips(self, skips: Iterable[dict[str, str]], num_items: int) -> int:
        """Write the items that were left out, and fail if they are too many.

        Args:
            skips: {"id": ..., "reason": ...} of each.
            num_items: How many items there were, these included.

        Returns:
            How many were left out.
        """
        rows = list(skips)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path = self.output / "skipped.jsonl"
        if distributed.is_first():
            write_text(path, lines)
        if len(rows) > self.max_skipped * num_items:
            raise UserError(
                f"{len(rows)} of {num_items} items cannot be used, more than the "
                f"{self.max_skipped:.0%} that may be left out; the first: {rows[0]['reason']}; "
                f"see {path}, mend them, or allow more with --max-skipped"
            )
        if rows:
            self.log.warning(
                "left out %d of %d items, listed in %s; the first: %s",
                len(rows), num_items, path, rows[0]["reason"],
            )  # fmt: skip
        return len(rows)


def main(config_class: type, work: Callable[[Any, Stage], dict[str, Any]], module: str) -> None:
    """Run a stage from the command line and leave with its exit code."""
    logging.basicConfig(
        format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO, force=True
    )
    # A log on a full disk would print a traceback for each of its lines.
    logging.raiseExceptions = False

    def perform() -> int:
        run(read_settings(config_class, f"python -m {module}"), work, module)
        return 0

    keep_freed_memory()
    with stop_flag():
        code = exit_code(module, perform, resumable=True)
        # Leaving already; asked a second time, interpreters would end in a traceback.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        sys.exit(code)


def run(config: Any, work: Callable[[Any, Stage], dict[str, Any]], module: str) -> dict[str, Any]:
    """Do the work of a stage unless it is done, and record it.

    Args:
        config: A dataclass with an `output` directory. Its other fields of type Path (or tuples of
            them) are inputs; `resources` is not part of its identity; `max_skipped` bounds skips.
        work: Does the work and returns figures for the record.
        module: Name of the stage.

    Returns:
        The finished record.

    Raises:
        UserError: An input is missing or unfinished, the directory holds another run, ...
    """
    device = getattr(getattr(config, "resources", None), "device", "cpu")
    with distributed.processes(device) as chosen, ExitStack() as held:
        output: Path = config.output
        record, previous = _open(config, module, held)
        verify = _verifies(config) and (output / RECEIPTS).is_dir()
        if previous and previous["finished"] and not verify:
            logging.info("%s: up to date (%s)", module, output)
            return dict(previous)
        if verify and distributed.is_first():
            # Until all of it is verified it is not taken for whole.
            write_json(output / "stage.json", record)
        log = _logger(output, record)
        max_skipped = getattr(config, "max_skipped", 0.01)
        stage = Stage(output, chosen, log, max_skipped)
        started = time.monotonic()
        results = work(config, stage)
        distributed.barrier()
        seconds = round(time.monotonic() - started, 2)
        record.update(finished=now(), seconds=seconds, results=plain(results))
        if distributed.is_first():
            write_json(output / "stage.json", record)
        log.info("done in %.1f s: %s", seconds, output)
        return record


def _open(
    config: Any, module: str, held: ExitStack
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Lock the output directory, compare what is asked for with what lies in it, begin the record.

    The lock is given back when `held` is closed.
    """
    record: dict[str, Any] = {}
    previous, problem = None, None
    if distributed.is_first():
        try:
            held.enter_context(_lock(config.output))
            remove_leftovers(config.output)
            record, previous = begin_record(config, module)
            if _verifies(config):
                _verify(Path(entry["path"]) for entry in record["inputs"].values())
        except UserError as error:
            problem = str(error)
    # Every rank must learn of a refusal, or the others would wait for the first forever.
    record, previous, problem = distributed.agree((record, previous, problem))
    if problem:
        raise UserError(problem)
    return record, previous


def _verifies(config: Any) -> bool:
    return bool(getattr(getattr(config, "resources", None), "verify", False))


def _verify(inputs: Iterable[Path]) -> None:
    """Read again what earlier stages wrote, and refuse what is not as their receipts say."""
    for folder in inputs:
        if (folder / RECEIPTS).is_dir():
            for path, fault in checked_files(folder):
                if fault:
                    raise UserError(
                        f"input {path}: {fault}: run the stage that made it again with --verify "
                        f"(audiossl doctor {folder} names all that is damaged)"
                    )


def _lock(output: Path) -> IO[str]:
    """Keep two runs out of one directory."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / ".lock").open("w")
    except OSError as error:
        raise UserError(f"output {output} cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UserError(f"another run is at work in {output}: wait for it or stop it") from error
    return lock


def _logger(output: Path, record: dict[str, Any]) -> logging.Logger:
    log = logging.getLogger(record["stage"])
    for old in list(log.handlers):
        log.removeHandler(old)
        old.close()
    if distributed.is_first():
        file = logging.FileHandler(output / "log.txt")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(file)
    else:
        log.addFilter(lambda line: line.levelno >= logging.WARNING)
    log.info("%s: %s", record["stage"], record["command"])
    versions = " ".join(f"{name}={value}" for name, value in record["versions"].items())
    log.info("host=%s world_size=%d %s", platform.node(), distributed.world_size(), versions)
    return log
