"""Shortens the import of torch, so that a service starts sooner."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE

# Taken by who comes first, and never released.
_mapping, _importing = threading.Lock(), threading.Lock()


def map_torch() -> None:
    """Begin to map torch's largest library, in a thread; once, and on Linux only.

    A fifth of `import torch` is spent there, behind the interpreter's lock. Parsing a tokenizer
    takes twice as long and keeps that lock, too; one after the other they would wait for each
    other. Called through ctypes, the loader leaves the lock alone. Where anything is not as
    expected nothing happens: `import torch` maps what it needs, and says what is wrong.
    """
    if sys.platform != "linux" or "torch" in sys.modules or not _mapping.acquire(blocking=False):
        return
    with suppress(AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError):
        spec = find_spec("torch")
        if spec is None or spec.origin is None:
            return
        library = os.fsencode(Path(spec.origin).with_name("lib") / "libtorch_cpu.so")
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        # A library's first use of variables of this thread takes the lock that `dlopen` holds.
        Tokenizer(BPE())
        begun = threading.Event()

        def map_it() -> None:
            begun.set()
            dlopen(library, os.RTLD_NOW)

        # No daemon: a process that ends waits until it is done, and so does one that forks.
        thread = threading.Thread(target=map_it, name="f2llm-map-torch")
        os.register_at_fork(before=lambda: thread.join() if thread.is_alive() else None)
        thread.start()
        begun.wait()  # whoever parses next would not let go of the interpreter again


def import_torch() -> None:
    """Import torch, faster than `import torch` does, unless it is imported already.

    In a thread of its own, because the import leaves frames behind, in cycles of references. They
    would keep alive what is in the frames of their callers, the weights of a model for instance,
    until the next full collection, which in a quiet service may never come.
    """
    if "torch" in sys.modules or not _importing.acquire(blocking=False):
        return  # who comes second waits for the first with an ordinary import
    thread = _Importing(name="f2llm-import-torch")
    try:
        thread.start()
    except RuntimeError:  # no thread can be started any more
        return
    thread.join()
    if thread.error is not None:  # said now: a second try would find another
        raise thread.error


def imports_torch() -> bool:
    """Tell whether this thread is the one in which `import_torch` imports."""
    return isinstance(threading.current_thread(), _Importing)


class _Importing(threading.Thread):
    """Imports torch; `error` is what came of it, if anything did."""

    error: BaseException | None = None

    def run(self) -> None:
        try:
            with _collecting_nothing():
                import_module("torch")
        except BaseException as error:  # whatever it is, it belongs to who waits
            self.error = error


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Collect no garbage meanwhile, unless somebody had stopped that anyway.

    What the import makes stays, and a collector that goes through it again and again takes up to
    an eighth of the time. All of it counts as old afterwards: the next collection passes it over.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        if collecting and not gc.get_freeze_count():  # what somebody froze stays frozen
            gc.freeze()
            gc.unfreeze()
    finally:
        if collecting:
            gc.enable()
