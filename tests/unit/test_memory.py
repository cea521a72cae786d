import platform
import subprocess
import sys

import pytest

_KEEPING = """
import resource, threading
import numpy as np
from f2llm_core.engine.memory import KeptMemory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    blocks = [np.ones(2**20, dtype=np.float64) for _ in range(4)]  # 8 MB each

def run():
    before = resident()
    kept = KeptMemory()
    grown = resident() - before
    for _ in range(3):
        work()
    first = faults()
    for _ in range(10):
        work()
    print(grown, faults() - first)

thread = threading.Thread(target=run)
thread.start()
thread.join()
"""

_TRIMMING = """
import resource
import numpy as np
from f2llm_core.engine.memory import trim

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

blocks = [np.ones(2048, dtype=np.uint8) for _ in range(50_000)]
kept = [*blocks[::100], blocks[-1]]  # nothing but holes between them, and nothing free at the end
del blocks
before = resident()
trim()
print(before - resident())
"""

of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")


def printed_by(script):
    """The integers that a Python of its own prints."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return list(map(int, result.stdout.split()))


@of_glibc
def test_holes_are_given_back():
    [given_back] = printed_by(_TRIMMING)
    assert given_back > 50 * 2**20  # of 100 million bytes


@of_glibc
def test_what_is_freed_is_kept_and_nothing_is_taken_for_it():
    grown, faults = printed_by(_KEEPING)
    assert grown < 2**20
    assert faults < 1000  # a round has 8192 pages
