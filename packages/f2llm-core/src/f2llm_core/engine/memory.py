"""What the C library's allocator gives back and what it keeps; matters where that is glibc."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import numpy as np


def trim() -> None:
    """Return free memory to the system, where the C library is glibc; elsewhere do nothing.

    Parsing a tokenizer and arranging weights leaves about 120 MB of holes that glibc would keep for
    the life of the process.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Have the allocator keep what a forward pass frees for the next one.

    glibc gives memory back beyond twice the largest block freed so far, if that was at most 32 MB.
    By chance of what lies where, some processes would otherwise give back and fault in anew what
    every pass works on, for a twentieth of its time. Now 64 MB are kept, a fraction of any model.
    """
    np.empty(31 * 2**20, dtype=np.uint8)  # freed at once; never written, so it takes no memory
