"""A `python` for shell scripts: each start is a fork of a process that has imported everything.

An interpreter takes seconds to import what a stage imports, and a recipe starts ten of them. What
is run has the words, folder, environment, streams and exit code of a process of its own, is
stopped by its signals, and is `__main__` there. Tests of the start itself take the real one.
"""

import atexit
import contextlib
import functools
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.trust.forks import preload

ROOT = Path(__file__).parents[1]
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
words = sys.argv[1:]
if not words or words[0] != "-m" and not words[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
message = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
signal.signal(signal.SIGTERM, lambda number, _: server.sendall(bytes([number])))
server.sendall(message)
code = int(server.recv(8) or b"1")
if code < 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def forking_environment() -> dict[str, str]:
    """Make the environment of scripts whose `python` forks; the server ends with this process."""
    folder = Path(tempfile.mkdtemp())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder / 'socket'}")
    listener.listen(64)
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked_python", f"{listener.fileno()}"],
        stdin=subprocess.PIPE, pass_fds=[listener.fileno()], cwd=ROOT, env={**os.environ, **quiet},
    )  # fmt: skip
    assert server.stdin is not None
    # In this order: with its input closed, it ends.
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    listener.close()
    python = folder / "python"
    python.write_text(CLIENT.format(python=sys.executable, address=f"{folder / 'socket'}"))
    python.chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Scripts take the checkout's own interpreter unless an environment is active.
    return {**os.environ, **quiet, "PATH": path, "VIRTUAL_ENV": sys.prefix}


def serve(listener: socket.socket) -> list[str] | None:
    """Fork for each client; returns in a fork the words to run, and here, in the end, nothing."""
    preload()
    children = set()
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        # They are waited for, so that their processor time is counted as that of this process.
        children = {child for child in children if not os.waitpid(child, os.WNOHANG)[0]}
        if sys.stdin in ready:
            return None
        client, _ = listener.accept()
        child = os.fork()
        if child == 0:
            listener.close()
            return _forked(client)
        children.add(child)
        client.close()


def _forked(client: socket.socket) -> list[str]:
    """Fork again, and tell the client how it ended; returns in the new process alone."""
    size, streams, _, _ = socket.recv_fds(client, 8, 3)
    message = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    child = os.fork()
    if child == 0:
        client.close()
        words, folder, environment = json.loads(message)
        _take_over(streams, folder, environment)
        return words
    ended = 0
    while not ended:
        if select.select([client], [], [], 0.005)[0]:
            # The number of a signal that the client was sent; or nothing: it was killed.
            number = client.recv(1)
            os.kill(child, number[0] if number else signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(OSError):
        client.sendall(b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _take_over(streams: list[int], folder: str, environment: dict[str, str]) -> None:
    """Make this process as its client is."""
    import torch

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))


def run(words: list[str]) -> None:
    """Run what an interpreter with these words would."""
    if words[0] == "-m":
        name, sys.argv = words[1], words[1:]
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        if not hasattr(sys.modules.get(name), "__path__"):
            sys.modules.pop(name, None)
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, f"{Path(words[0]).parent}")
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    server = socket.socket(fileno=int(sys.argv[1]))
    folder = Path(server.getsockname()).parent
    words = serve(server)
    if words:
        run(words)
    else:
        shutil.rmtree(folder)
