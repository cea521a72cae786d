"""Start processes that embed, from a process that has a model, and print what became of them.

Run as `python -m faults.starting FOLDER METHOD WHEN COUNT SECONDS CHILD`.
"""

from __future__ import annotations

import multiprocessing
import sys
import time

from f2llm_core import F2LLM

TEXT = "Which instrument shows galaxies?"
AT_ONCE = 2


def embed(encoder, connection):
    """What a process does: embed with the encoder it was given."""
    connection.send_bytes(encoder.encode_query(TEXT).tobytes())


def hang(encoder, connection):
    """A child broken on purpose: it waits for a lock that nobody holds any more."""
    time.sleep(3_600)


def die(encoder, connection):
    """A child broken on purpose: it ends without an answer."""
    connection.close()
    sys.exit(1)


def embed_another(encoder, connection):
    """A child broken on purpose: it answers with the wrong vector."""
    connection.send_bytes(encoder.encode_document(TEXT).tobytes())


CHILDREN = {child.__name__: child for child in (embed, hang, die, embed_another)}


def start(context, child, encoder):
    """Start one process; return it and the end of the pipe that it answers on."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(encoder, theirs))
    process.start()
    theirs.close()
    return process, ours


def finish(process, connection, deadline):
    """Return `hangs`, `died`, or the vector in hexadecimal digits; the process is gone then."""
    try:
        if connection.poll(max(0.0, deadline - time.monotonic())):
            answer = connection.recv_bytes().hex()
            process.join(max(0.1, deadline - time.monotonic()))
        else:
            answer = "hangs"
    except EOFError:
        answer = "died"
        process.join(max(0.1, deadline - time.monotonic()))
    if process.is_alive():
        answer = "hangs"
        process.kill()
    process.join()
    return answer


def main(folder, method, when, count, seconds, child):
    """Print one line for each of `count` processes, and one for the parent at the end.

    Args:
        folder: The model.
        method: `fork`, `spawn` or `forkserver`.
        when: `before` if the model is loaded before the processes start, else `after`.
        count: How many processes.
        seconds: How long each may take.
        child: What each does, from `CHILDREN`.
    """
    # To import torch takes seconds and is not what is tried: once, for all who can inherit it.
    from f2llm_core.engine import qwen3

    context = multiprocessing.get_context(method)
    context.set_forkserver_preload([qwen3.__name__, __spec__.name])
    encoder = F2LLM(folder, dtype="float32")
    if when == "before":
        encoder.encode_document(["a text " * 50] * 8)  # with every thread that computing starts
    for first in range(0, count, AT_ONCE):
        deadline = time.monotonic() + seconds
        many = min(AT_ONCE, count - first)
        for started in [start(context, CHILDREN[child], encoder) for _ in range(many)]:
            print(finish(*started, deadline), flush=True)
    print(encoder.encode_query(TEXT).tobytes().hex())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
