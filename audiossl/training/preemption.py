"""A signal becomes a flag that the loop reads once a step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Preempted(Exception):
    """The run was asked to stop; what is done is kept, and the same command goes on."""


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Turn SIGTERM, SIGUSR1 and Ctrl-C into a flag for the duration of a run.

    A second Ctrl-C interrupts at once.
    """
    flag = StopFlag()

    def raise_flag(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if flag and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.raised = True

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, raise_flag) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
