"""Graphs that hold for any batch and length: whether one is being recorded.

Some code branches on values, or on which of two lengths is the longer, for speed. A recorded graph
has one branch, and it must be right for all. `torch.compiler.is_exporting` cannot tell: it is also
true while torch.compile makes a graph for the lengths at hand.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_recording = False


def for_any_length() -> bool:
    """Whether what runs is being recorded, to be run with other lengths.

    Example:
        >>> with recorded_for_any_length():
        ...     for_any_length()
        True
        >>> for_any_length()
        False
    """
    return _recording


@contextmanager
def recorded_for_any_length() -> Iterator[None]:
    """Run what is recorded; not from several threads at once."""
    global _recording
    _recording = True
    try:
        yield
    finally:
        _recording = False
