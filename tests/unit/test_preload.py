import os
import subprocess
import sys

import pytest

from support import tiny_model

_MAPPED = """
import sys, threading
from f2llm_core import F2LLM

model = F2LLM(sys.argv[1], device="cpu")
model.count_tokens("a")
assert "torch" not in sys.modules
for thread in threading.enumerate():
    if thread.name == "f2llm-map-torch":
        thread.join()
print("libtorch_cpu" in open("/proc/self/maps").read())
print(model.encode_query("a").shape)
"""

_NOT_FOUND = """
import sys
import f2llm_core.engine.preload as preload
from f2llm_core import F2LLM

preload.find_spec = lambda name: None
model = F2LLM(sys.argv[1], device="cpu")
model.count_tokens("a")
print("libtorch_cpu" in open("/proc/self/maps").read())
print(model.encode_query("a").shape)
"""

_FORKED = """
import os, sys
from f2llm_core import F2LLM
from f2llm_core.engine.preload import map_torch

model = F2LLM(sys.argv[1], device="cpu")
map_torch()
child = os.fork()
if not child:
    os._exit(model.encode_query("a").shape != (64,))
assert os.waitpid(child, 0)[1] == 0
print(model.encode_query("a").shape)
"""

_IMPORTING = """
import gc, sys
from f2llm_core import F2LLM

during = set()
def watch(event, arguments):
    if event == "import" and arguments[0] == "torch.nn":
        during.add(gc.isenabled())

if sys.argv[2] == "stopped":
    gc.disable()
sys.addaudithook(watch)
young = [0]  # objects that the next collection would go through
enable = gc.enable
def enabling():
    young.append(gc.get_count()[0])
    enable()

gc.enable = enabling
F2LLM(sys.argv[1], device="cpu").encode_query("a")
print(during, gc.isenabled(), gc.get_freeze_count(), max(young) < 10_000)
"""

_FROZEN = """
import gc, sys
from f2llm_core import F2LLM

gc.freeze()
F2LLM(sys.argv[1], device="cpu").encode_query("a")
print(gc.get_freeze_count() > 1000)
"""

_BROKEN = """
import sys
from f2llm_core import F2LLM

class Broken:
    def find_spec(self, name, *_):
        if name == "torch.testing":
            raise OSError("the first error")

sys.meta_path.insert(0, Broken())
try:
    F2LLM(sys.argv[1], device="cpu").encode_query("a")
except Exception as error:
    print(error)
"""

# The audit hook runs in the midst of the import, in the thread that imports.
_FORKING = """
import os, sys
from f2llm_core import F2LLM

forked = []
def fork(event, arguments):
    if event == "import" and arguments[0] == "torch.nn" and not forked:
        forked.append(True)
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

sys.addaudithook(fork)
print(F2LLM(sys.argv[1], device="cpu").encode_query("a").shape, forked)
"""

_FREED = """
import gc, sys, time, weakref
gc.disable()
from f2llm_core import F2LLM

model = F2LLM(sys.argv[1], device="cpu")
if sys.argv[2] == "fingerprint":
    model.fingerprint
model.encode_query("a")
backend = weakref.ref(model._backend)
with open("/proc/self/maps") as maps:
    print(".safetensors" in maps.read())
del model
end = time.monotonic() + 10  # the worker's thread lets go a moment after it has answered
while backend() is not None and time.monotonic() < end:
    time.sleep(0.01)
print(backend())
"""


def _lines(script: str, *arguments: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", script, tiny_model(), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="torch's library is mapped on Linux")
@pytest.mark.parametrize(("script", "mapped"), [(_MAPPED, "True"), (_NOT_FOUND, "False")])
def test_torch_is_mapped_beside_the_tokenizer_and_imported_with_the_first_vector(script, mapped):
    assert _lines(script) == [mapped, "(64,)"]


@pytest.mark.skipif(sys.platform != "linux", reason="torch's library is mapped on Linux")
def test_a_process_that_forks_waits_until_torch_is_mapped():
    assert _lines(_FORKED) == ["(64,)"]


def test_garbage_is_collected_after_torch_is_imported_but_not_looked_for_in_it():
    assert _lines(_IMPORTING, "collecting") == ["{False} True 0 True"]


def test_a_collector_that_somebody_stopped_is_left_alone():
    assert _lines(_IMPORTING, "stopped") == ["{False} False 0 True"]


def test_what_somebody_froze_stays_frozen():
    assert _lines(_FROZEN) == ["True"]


def test_what_is_wrong_with_torch_is_said():
    assert _lines(_BROKEN) == ["the first error"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes fork here")
def test_a_process_forks_in_the_midst_of_the_import():
    assert _lines(_FORKING) == ["(64,) [True]"]


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read from /proc")
@pytest.mark.parametrize("first", ["fingerprint", "query"])
def test_weights_and_model_are_freed_without_a_collection_though_torch_is_imported_for_them(first):
    assert _lines(_FREED, first) == ["False", "None"]
