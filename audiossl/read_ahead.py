"""An iterator that works in a thread of its own, one item ahead of who uses it.

Decoding releases the interpreter lock, and so do the kernels of a network: files are read while the
clips before them are encoded.
"""

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

_T = TypeVar("_T")
_PATIENCE = 0.1
"""Seconds after which a thread that waits looks whether the other one has ended."""


def read_ahead(items: Iterable[_T], depth: int = 1) -> Iterator[_T]:
    """Yield the items in their order, while up to `depth` more are made in a thread.

    What the items raise is raised here, after the items before it. When the consumer stops early,
    the thread ends at the item at which it is.

    Example:
        >>> list(read_ahead(range(3)))
        [0, 1, 2]
    """
    made: Queue[tuple[_T | None, BaseException | None, bool]] = Queue(depth)
    unwanted = threading.Event()

    def put(item: _T | None, error: BaseException | None = None, last: bool = False) -> None:
        while not unwanted.is_set():
            try:
                return made.put((item, error, last), timeout=_PATIENCE)
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if unwanted.is_set():
                    return
            put(None, last=True)
        except BaseException as error:  # a stop of the process, too, belongs to the consumer
            put(None, error)

    thread = threading.Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            # A wait without limit could not be interrupted on every platform.
            try:
                item, error, last = made.get(timeout=_PATIENCE)
            except Empty:
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        unwanted.set()
        thread.join()
