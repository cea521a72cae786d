"""Embed a stream of short texts in a process of its own, and print its memory block by block.

Run as `python -m faults.stream FOLDER TEXTS LEAK`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from f2llm_core import F2LLM

BLOCK = 1_000


def memory_mb(field: str) -> float:
    """Return `VmRSS`, what this process holds in memory now, or `VmHWM`, the most it held.

    Not the system's account of its resources, which begins with those of the parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 2**10


def main(folder: str, count: int, leak: int) -> None:
    """Print the memory at the start and after every block, and at the peak.

    Args:
        folder: The model.
        count: How many texts.
        leak: Bytes to keep of every text, as a broken stream would.
    """
    encoder = F2LLM(folder, dtype="float32", dimensions=8)
    encoder.encode_document("a")  # whatever is loaded once does not belong to the stream
    kept = []
    print(memory_mb("VmRSS"))
    texts = (f"Text number {i} of many." for i in range(count))
    for block in encoder.iter_documents(texts, block_size=BLOCK):
        kept.append(bytearray(leak * len(block)))
        print(memory_mb("VmRSS"))
    print(memory_mb("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
