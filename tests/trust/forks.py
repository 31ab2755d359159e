"""Commands in forks of a process that has imported everything: as in a shell, but in no time.

Nothing that starts threads (training, backward passes) may run in the process that forks.
"""

import contextlib
import importlib
import io
import os
import re
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WORK = {
    "recipes.prepare.folder": "prepare",
    "recipes.prepare.kaldi": "prepare",
    "recipes.prepare.lhotse": "prepare",
    "recipes.prepare.hear": "prepare",
    "recipes.prepare.tars": "prepare",
    "recipes.source_association.separate": "separate",
    "recipes.spear.embed_sample": "embed_sample",
    "recipes.spear.train_quantizer": "train",
    "recipes.spear.encode": "encode",
    "recipes.cola.pretrain": "cola",
    "recipes.source_association.pretrain": "associate",
    "recipes.spear.pretrain": "spear",
    "recipes.code_matching.pairs": "make_pairs",
    "recipes.code_matching.pretrain": "code_matching",
    "recipes.code_matching.evaluate": "evaluate",
    "recipes.distillation.targets": "store_targets",
    "recipes.distillation.pretrain": "distill",
    "recipes.waveforms.pretrain": "train_on_waveforms",
    "recipes.privileged.pretrain": "inform",
    "recipes.federated.pretrain": "federate",
    "recipes.finetune": "finetune",
    "recipes.probe.embed": "embed",
    "recipes.probe.fit": "fit",
    "recipes.probe.report": "report",
    "recipes.probe.sequence": "probe_sequences",
    "recipes.probe.verification": "verify_speakers",
    "recipes.probe.query_by_example": "find_queries",
}
"""Stages, and the function of each."""
ALONE = 15.0
"""Seconds after the end of a rank when the others are killed, as torchrun does."""
CRASHED = 99
"""Exit code of a fork whose command let an exception through."""


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    """Exit code; minus the number of the signal that ended it."""
    out: str
    err: str
    seconds: float
    timed_out: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether it ended by itself, without a traceback or a fault of ours."""
        text = self.out + self.err
        return (
            not self.timed_out
            and self.code not in (1, CRASHED)
            and self.code >= 0
            and "Traceback (most recent" not in text
            and "fault of audiossl" not in text
        )


def preload() -> None:
    """Import what commands import, before there are forks."""
    import matplotlib as mpl
    import torch

    mpl.use("Agg")
    torch.set_num_threads(1)
    from audiossl.cli import COMMANDS

    for name in (*WORK, *(module for module, _ in COMMANDS.values())):
        importlib.import_module(name)
    for name in ("torch.utils.tensorboard", "lhotse", "sklearn.manifold", "transformers"):
        importlib.import_module(name)
    # Optimizers import the compiler of torch when the first of them is made.
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])


def call(program: str, words: Sequence[str]) -> Callable[[], int]:
    """Return what runs `audiossl` or a stage with words, as their entry points do."""

    def run() -> int:
        sys.argv = [program, *words]
        if program == "audiossl":
            from audiossl.cli import main

            return main(list(words))
        from recipes.stage import main as stage

        module = importlib.import_module(program)
        stage(module.Config, getattr(module, WORK[program]), program)
        return 0

    return run


def forked(
    work: Callable[[], int],
    *,
    timeout: float,
    ranks: int = 1,
    kill: tuple[int, float] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a function in forks and wait for them.

    Args:
        work: Returns an exit code.
        timeout: Seconds after which it hangs.
        ranks: Processes that are joined as torchrun joins them.
        kill: Number of a signal, and the seconds after which it is sent to all ranks.
        cwd: Where to run.
    """
    with contextlib.ExitStack() as files:
        out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        environment = _ranks(ranks)
        started = time.monotonic()
        children = [_fork(work, out, err, rank, environment, cwd) for rank in range(ranks)]
        codes, timed_out = _wait(children, started, timeout, kill)
        seconds = time.monotonic() - started
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    worst = max(codes, key=lambda code: (code != 0, code == 1, code < 0, code != 75))
    return Done(worst, *texts, seconds, timed_out)


def _ranks(ranks: int) -> dict[str, str]:
    if ranks == 1:
        return {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}


def _fork(work, out, err, rank, environment, cwd) -> int:  # noqa: PLR0917
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        # Here as well as there: a signal may be sent before the child has run at all.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)
        return child
    code = CRASHED
    try:
        os.setpgid(0, 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        # pytest may have replaced them.
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, "wb", closefd=False), line_buffering=True)
            for number in (1, 2)
        )
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        if environment:
            os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
        if cwd is not None:
            os.chdir(cwd)
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(children, started, timeout, kill) -> tuple[list[int], bool]:
    """Wait for all, and kill them when it is time."""
    codes: dict[int, int] = {}
    end, timed_out = timeout, False
    while len(codes) < len(children):
        now = time.monotonic() - started
        if kill is not None and now >= kill[1]:
            _send(children, codes, kill[0])
            kill = None
        if now > end:
            timed_out = end == timeout
            _send(children, codes, signal.SIGKILL)
        if _collect(children, codes):
            end = min(end, now + ALONE)
        time.sleep(0.002)
    return [codes[child] for child in children], timed_out


def _collect(children, codes) -> bool:
    """Note which have ended; whether any has."""
    for child in children:
        if child not in codes:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
    return bool(codes)


def _send(children, codes, number) -> None:
    for child in children:
        if child not in codes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, number)


def last_line(text: str) -> str:
    """Return the last line that says something, without what differs from run to run."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    temporary = re.escape(tempfile.gettempdir())
    return re.sub(rf"{temporary}/[\w./-]*/", "", lines[-1]) if lines else ""
