"""Memory that a process keeps: of tensors that are freed and asked for again at each step.

glibc gives large blocks back to the system when they are freed, and the system zeroes them, page by
page, when they are asked for anew. On a CPU that takes a fifth of the time of a training and two
fifths of that of a separation. Commands keep their memory; a program that imports this package is
left as it is.
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt (malloc.h)."""
NEVER = -1
STEP = 256 << 20
"""Bytes that the heap grows by; pages that nobody writes to are not there."""
VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
"""Environment variables by which users set the same."""


def keep_freed_memory() -> bool:
    """Let glibc keep what this process frees, unless the environment says what it is to do.

    Returns:
        Whether it will: not with another C library.
    """
    if sys.platform != "linux" or any(name in os.environ for name in VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, STEP))
    return mallopt is not None and all(mallopt(name, value) for name, value in settings)
