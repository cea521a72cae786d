"""Embed until interrupted, and say what became of it.

Run as `python -m faults.interrupted FOLDER TIMES HOW`, and send SIGINT after every `ready`.
"""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np

from f2llm_core import F2LLM, ClosedError

TEXT = "Which instrument shows galaxies?"
MANY = [f"{i} and a text that takes a while. " * 20 for i in range(300)]


def embed_until_interrupted(encoder):
    """Embed for ever."""
    print("ready", flush=True)
    while True:
        encoder.encode_document(MANY)
        encoder.encode_query(TEXT)


def main(folder, times, how):
    """Be interrupted several times, each time going on with the same model, then end.

    Args:
        folder: The model.
        times: How many interrupts are caught; one more is not.
        how: `right`, or wrong on purpose: `deaf` to interrupts, `lost` after the first, `silent`
            about the last, or `stuck` after it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN if how == "deaf" else signal.default_int_handler)
    encoder = F2LLM(folder, dtype="float32")
    right = F2LLM(folder, dtype="float32").encode_query(TEXT)
    for _ in range(times):
        try:
            embed_until_interrupted(encoder)
        except KeyboardInterrupt:
            if how == "lost":
                encoder.close()
            print(answer(encoder, right), flush=True)
    others = [encoder.with_options(dimensions=16), F2LLM(folder)]
    for other in others:  # some work that is still going on at the end
        threading.Thread(target=other.encode_document, args=(MANY,), daemon=True).start()
    try:
        embed_until_interrupted(encoder)
    except KeyboardInterrupt:
        if how == "stuck":
            threading.Event().wait()
        if how != "silent":
            raise


def answer(encoder, right):
    """Use the model again."""
    try:
        return "right" if np.array_equal(encoder.encode_query(TEXT), right) else "wrong"
    except ClosedError:
        return "closed"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
