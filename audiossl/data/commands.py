"""Shell commands that write audio, as Kaldi's wav.scp and lhotse's manifests may contain them.

They run only where the user said so (`--allow-commands`), and only from these two: whatever else
is named is a path, however it is spelled. A command has no standard input, and limits.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiossl.errors import Skip, UserError
from audiossl.preemption import safe_point

SECONDS = 600.0
"""How long a command may take."""
_LOOK_UP = 0.5
"""Seconds after which a run that was asked to stop stops waiting."""
_KIB = 8 << 20
"""How much it may write: 8 GiB."""
_SHELL = f"ulimit -f {_KIB}; "


@contextmanager
def command_output(command: str, name: str) -> Iterator[Path]:
    """Run a command and yield a file of what it wrote.

    Args:
        command: For bash.
        name: Of the item it is for, for messages.

    Raises:
        Skip: It failed, or took too long.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as file, tempfile.TemporaryFile() as errors:
        # In a session of its own, so that what it has started itself ends with it.
        process = subprocess.Popen(
            ["bash", "-c", f"{_SHELL}{command}"], stdin=subprocess.DEVNULL, stdout=file,
            stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            code = _code(process)
        finally:
            _end(process)
        if code is None:
            raise Skip(
                f"{name}: command still running after {SECONDS:g} s ({command}): write its output "
                "to a file first"
            )
        if code != 0:
            errors.seek(0)
            lines = errors.read(1 << 16).decode(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "without a message"
            raise Skip(f"{name}: command failed with exit code {code} ({command}): {last}")
        yield Path(file.name)


def not_allowed(where: str, command: str) -> UserError:
    """Describe a command that may not run."""
    return UserError(
        f"{where}: a shell command ({command}): look at all of them, then allow them with "
        "--allow-commands"
    )


def _code(process: "subprocess.Popen[bytes]") -> int | None:
    """Wait for the exit code, and look up now and then whether the run is to stop."""
    end = time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(min(left, _LOOK_UP))
        except subprocess.TimeoutExpired:
            safe_point()
    return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
