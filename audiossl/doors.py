"""What every command does with what goes wrong behind it: one line, an exit code, no traceback.

0   done
1   a fault of this package: the line names a file with the traceback, for a report
2   a mistake that the caller can mend, or a system that cannot (a full disk, no memory)
75  asked to stop; the same command goes on
130 stopped by Ctrl-C, and nothing was written
"""

import io
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from audiossl.errors import UserError
from audiossl.preemption import Preempted, stop_requested

FAULT, MISTAKE, PREEMPTED, INTERRUPTED = 1, 2, 75, 130
"""Exit codes; 75 is EX_TEMPFAIL, 130 what shells give for Ctrl-C."""


def exit_code(name: str, work: Callable[[], int], *, resumable: bool = False) -> int:
    """Do the work of a command, and say in one line of stderr why it was not done.

    Args:
        name: What the line begins with.
        work: Returns an exit code.
        resumable: Whether the same command goes on where it was interrupted.

    Raises:
        BrokenPipeError: Who reads the output left.
    """
    # File names need not be text: what cannot be encoded is shown escaped.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return work()
    except (Preempted, KeyboardInterrupt):
        return _interrupted(name, resumable)
    except BrokenPipeError:
        raise
    except Exception as error:
        if _stopped_with_others():
            return _interrupted(name, resumable)
        mistake = str(error) if isinstance(error, UserError) else _of_the_system(error)
        if mistake:
            return _said(f"{name}: {mistake}", MISTAKE)
        return _said(f"{name}: {_fault(error)}", FAULT)


def _stopped_with_others() -> bool:
    """Whether the run was asked to stop: other ranks fail in what waits for one that has.

    They may do so before the signal has reached them.
    """
    patience = 40 if os.environ.get("WORLD_SIZE", "1") != "1" else 0
    while not stop_requested() and patience:
        patience -= 1
        time.sleep(0.05)
    return stop_requested()


def _interrupted(name: str, resumable: bool) -> int:
    if not resumable:
        return _said(f"{name}: interrupted", INTERRUPTED)
    return _said(f"{name}: interrupted; the same command goes on from here", PREEMPTED)


def _said(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)  # noqa: T201
    return code


def _of_the_system(error: Exception) -> str:
    """Explain what no check can foresee: files, memory; empty if it is something else."""
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}: free some room or mend the path, and run it again"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        first = (str(error).splitlines() or [""])[0]
        return f"out of memory ({first}): use smaller batches, chunks or fewer workers"
    return ""


def _fault(error: Exception) -> str:
    """Keep the traceback for a report, and say where."""
    from importlib import metadata  # 25 ms, for which help would wait

    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}"[:300] + f" ({Path(last.filename).name}:{last.lineno})"
    text = (
        f"command: {shlex.join(sys.argv)}\npython {platform.python_version()} "
        f"torch {metadata.version('torch')}\n\n{''.join(traceback.format_exception(error))}"
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="audiossl-fault-", suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError:
        return f"this is a fault of audiossl: {what}; please report it with the command"
    return f"this is a fault of audiossl: {what}; please report it with {file.name}"
