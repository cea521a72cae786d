import platform
import subprocess
import sys

import pytest

_SCRIPT = """
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_what_is_freed_is_kept_and_nothing_is_taken_for_it():
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    grown, faults = map(int, result.stdout.split())
    assert grown < 2**20
    assert faults < 1000  # a round has 8192 pages
