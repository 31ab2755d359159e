"""A signal that asks a run to stop becomes a flag, which is read where nothing is half done.

An exception out of the signal's handler would come up anywhere: readers that try one decoder after
another take it for a bad file and go on with the next decoder, whose samples differ in the last
bit, and callbacks of C libraries swallow it. So the handler raises nothing, and the flag stays up.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Preempted(BaseException):
    """The run was asked to stop; what is done is kept, and the same command goes on.

    Not an `Exception`, so that nobody who leaves out bad items takes it for one.
    """


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


_flags: list[StopFlag] = []


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Turn SIGTERM, SIGUSR1 and Ctrl-C into a flag for the duration of a run.

    A run within a run shares its flag. A second Ctrl-C interrupts at once. Signals are those of
    the main thread: in another one the flag is never raised.
    """
    if _flags or threading.current_thread() is not threading.main_thread():
        yield _flags[-1] if _flags else StopFlag()
        return
    flag = StopFlag()

    def raise_flag(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if flag and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.raised = True

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, raise_flag) for number in numbers}
    _flags.append(flag)
    try:
        yield flag
    finally:
        _flags.remove(flag)
        for number, handler in before.items():
            signal.signal(number, handler)


def safe_point() -> None:
    """Stop here if the run was asked to: between items, where what is done can be kept.

    Raises:
        Preempted: It was.
    """
    if stop_requested():
        raise Preempted


def stop_requested() -> bool:
    """Whether this process was asked to stop."""
    return bool(_flags and _flags[-1])
