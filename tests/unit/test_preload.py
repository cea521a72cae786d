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

# The audit hook runs in the midst of the import, in the thread that imports.
_IMPORTING = """
import gc, os, sys
from f2llm_core import F2LLM

seen = {}
def watch(event, arguments):
    if event == "import" and arguments[0] == "torch.nn" and not seen:
        seen["enabled"] = gc.isenabled()
        if hasattr(os, "fork"):
            child = os.fork()
            if not child:
                os._exit(gc.isenabled())
            seen["enabled in a child"] = bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

collect = sys.argv[2] == "collect"
if not collect:
    gc.disable()
sys.addaudithook(watch)
model = F2LLM(sys.argv[1], device="cpu")
model.encode_query("a")
assert "torch" in sys.modules
if hasattr(os, "fork"):
    assert seen.pop("enabled in a child") is collect
print(seen, gc.isenabled(), gc.get_freeze_count())
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


def test_garbage_is_collected_again_after_torch_is_imported_and_in_a_child_that_forks_meanwhile():
    assert _lines(_IMPORTING, "collect") == ["{'enabled': False} True 0"]


def test_a_collector_that_somebody_stopped_is_left_alone():
    assert _lines(_IMPORTING, "stopped") == ["{'enabled': False} False 0"]
