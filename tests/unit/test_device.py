import pytest
import torch

from f2llm_core import ConfigurationError
from f2llm_core.engine.device import choose_device, choose_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_is_bfloat16_only_where_a_cpu_multiplies_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_dtype("auto", CPU) is expected


def test_a_torch_that_cannot_tell_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_dtype("auto", CPU) is torch.float32


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_a_gpu_needs_sm_80(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", torch.device("cuda")) is getattr(torch, expected)


def test_apples_gpus_multiply_bfloat16():
    assert choose_dtype("auto", torch.device("mps")) is torch.bfloat16


def test_an_explicit_precision_is_taken_as_it_is():
    assert choose_dtype("float32", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16


@pytest.mark.parametrize("name", [None, "auto", "cpu"])
def test_without_a_gpu_it_is_the_cpu(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device(name) == CPU


@pytest.mark.parametrize("name", [None, "auto"])
@pytest.mark.parametrize("mps", [True, False])
def test_a_gpu_is_preferred(monkeypatch, name, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: mps)
    assert choose_device(name) == torch.device("cuda")


@pytest.mark.parametrize(
    ("macos", "expected"), [((13, 3), "cpu"), ((14, 0), "mps"), ((15, 1), "mps")]
)
def test_an_old_macos_takes_the_cpu(monkeypatch, macos, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *asked: macos >= asked)
    assert choose_device(None) == torch.device(expected)


@pytest.mark.parametrize("name", ["meta", "privateuseone", "hpu", "warp", "", "cuda:99"])
def test_a_device_that_cannot_compute_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"device='{name}' is not available here"):
        choose_device(name)
