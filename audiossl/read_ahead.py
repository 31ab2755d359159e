"""An iterator that works in a thread of its own, one item ahead of who uses it.

Decoding releases the interpreter lock, and so do the kernels of a network: files are read while the
clips before them are encoded.
"""

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

_T = TypeVar("_T")
_PATIENCE = 0.1
"""Seconds after which a thread that waits looks whether the other one has ended. A wait without
limit could not be interrupted on every platform."""


def read_ahead(items: Iterable[_T], depth: int = 1) -> Iterator[_T]:
    """Yield the items in their order, while up to `depth` more are made in a thread.

    What the items raise is raised here, after the items before it. When the consumer stops early,
    the thread ends at the item at which it is.

    Example:
        >>> list(read_ahead(range(3)))
        [0, 1, 2]
    """
    reader = _Reader(items, depth)
    reader.start()
    try:
        yield from reader.made()
    finally:
        reader.unwanted.set()
        reader.join()
    if reader.error is not None:
        raise reader.error


class _Reader(threading.Thread, Generic[_T]):
    """The thread that makes items."""

    def __init__(self, items: Iterable[_T], depth: int) -> None:
        super().__init__(name="read ahead", daemon=True)
        self.items, self.waiting = items, Queue[_T](depth)
        self.unwanted = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for item in self.items:
                while not self.unwanted.is_set() and not self._put(item):
                    pass
                if self.unwanted.is_set():
                    return
        except BaseException as error:  # a stop of the process, too, belongs to the consumer
            self.error = error

    def made(self) -> Iterator[_T]:
        """Yield items until the thread has ended and nothing is left."""
        while True:
            ended = not self.is_alive()  # looked at first: what it made before is in the queue
            try:
                yield self.waiting.get(timeout=0 if ended else _PATIENCE)
            except Empty:
                if ended:
                    return

    def _put(self, item: _T) -> bool:
        try:
            self.waiting.put(item, timeout=_PATIENCE)
        except Full:
            return False
        return True
