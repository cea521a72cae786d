"""Giving memory back that the allocator would keep."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def trim() -> None:
    """Return free memory to the system, where the C library is glibc; elsewhere do nothing.

    Parsing a tokenizer and arranging weights leaves about 120 MB of holes that glibc would keep for
    the life of the process.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)
