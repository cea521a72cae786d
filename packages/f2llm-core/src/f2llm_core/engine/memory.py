"""What the C library's allocator gives back and what it keeps; matters where that is glibc."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import numpy as np

_LARGE_BLOCK = 31 * 2**20  # bytes; glibc always gives 32 MB and more back


def trim() -> None:
    """Return free memory to the system, where the C library is glibc; elsewhere do nothing.

    Parsing a tokenizer and arranging weights leaves about 120 MB of holes that glibc would keep for
    the life of the process.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)


class KeptMemory:
    """Has the allocator keep what a forward pass frees for the next one, while this lives.

    glibc gives a thread memory in regions of 64 MB. It unmaps one as soon as nothing in it is in
    use, and cuts off the free end of another beyond twice the largest block freed so far, if that
    was at most 32 MB. By chance of what lies where, some processes would map and fault in anew what
    every pass works on: sixteen callers at once then got a fifth fewer answers. So a few bytes are
    kept in the regions that come next, and a large block is freed. Nothing here is ever written,
    so it takes address space only. To be made by the thread that computes.
    """

    def __init__(self) -> None:
        self._anchors = [np.empty(_LARGE_BLOCK, dtype=np.uint8) for _ in range(2)]
        np.empty(_LARGE_BLOCK, dtype=np.uint8)  # freed at once
        for anchor in self._anchors:
            anchor.resize(64, refcheck=False)  # in its place
