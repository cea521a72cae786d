"""What an encoder made here would run on, and which models are here; loads nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from f2llm_core.engine.hub import fetch, identify
from f2llm_core.errors import ModelError
from f2llm_core.models import MODELS, ModelSpec

if TYPE_CHECKING:
    import torch

_PACKAGES = (
    "f2llm-core",
    "langchain-f2llm",
    "llama-index-embeddings-f2llm",
    "torch",
    "tokenizers",
    "safetensors",
    "huggingface-hub",
    "numpy",
    "sentence-transformers",
)
_KINDS = {
    "OneDNNLinear": "oneDNN, weights packed",
    "PlainLinear": "plain",
    "WidenedLinear": "in float32: weights widened for each product",
    "Int8Linear": "8-bit weights, widened for each product",
    "RunAttention": "torch scaled_dot_product_attention, equal lengths together",
    "BlockedAttention": "matrix products in float32, in blocks of tokens",
    "VarlenAttention": "flash attention over packed sequences",
}


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A released size, and whether it is here.

    Attributes:
        spec: What is known of it without opening it.
        cached: True if its pinned revision is complete in the hub cache.
    """

    spec: ModelSpec
    cached: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """What an encoder made here would run on.

    Attributes:
        versions: Installed version by package name; packages that are not installed are absent.
        python: Version and implementation.
        platform: Operating system and processor architecture.
        cpu: Vector instructions that torch uses on the CPU.
        device: The device that `device=None` takes, or the one that was asked for.
        device_name: What it calls itself.
        auto_dtype: What `dtype="auto"` means on it.
        auto_reason: Why.
        linear: Kind of matrix product by dtype.
        attention: Kind of attention by dtype.
        threads: CPU threads of one matrix product.
        models: The released sizes, smallest first.
    """

    versions: Mapping[str, str]
    python: str
    platform: str
    cpu: str
    device: str
    device_name: str
    auto_dtype: str
    auto_reason: str
    linear: Mapping[str, str]
    attention: Mapping[str, str]
    threads: int
    models: tuple[KnownModel, ...]


def describe_machine(device: str | None = None) -> Machine:
    """Describe this machine as an encoder would find it; loads no model, uses no network.

    Args:
        device: As in `F2LLM`.

    Raises:
        ConfigurationError: No such device on this machine.
    """
    import torch

    from f2llm_core.engine.device import choose_attention, choose_device, choose_dtype
    from f2llm_core.engine.linear import choose_linear

    chosen = choose_device(device)
    dtypes = (torch.float32, torch.bfloat16)
    return Machine(
        versions=dict(_versions()),
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=torch.backends.cpu.get_cpu_capability(),
        device=str(chosen),
        device_name=_device_name(chosen),
        auto_dtype=_name(choose_dtype("auto", chosen)),
        auto_reason=_why(chosen),
        linear={_name(t): kind_name(choose_linear(chosen, t)) for t in dtypes},
        attention={_name(t): kind_name(choose_attention(chosen, t)) for t in dtypes},
        threads=torch.get_num_threads(),
        models=tuple(KnownModel(spec, is_cached(name)) for name, spec in MODELS.items()),
    )


def is_cached(model: str, revision: str | None = None) -> bool:
    """Tell whether a model's files are on this machine, without network; a folder's always are."""
    try:
        fetch(identify(model, revision), local_files_only=True, token=None)
    except ModelError:
        return False
    return True


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def kind_name(kind: type) -> str:
    """Return in words which kind of matrix product or attention an engine chose."""
    return _KINDS.get(kind.__name__, kind.__name__)


def _device_name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return f"{capabilities.get('cpu_name') or platform.processor()}, {os.cpu_count()} CPUs"
    return platform.processor()


def _why(device: torch.device) -> str:
    import torch

    from f2llm_core.engine.device import CPU_BFLOAT16_UNITS, cpu_bfloat16_units

    if device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        return f"compute capability {capability}; 8.0 or later multiplies bfloat16 natively"
    if device.type == "cpu":
        if found := cpu_bfloat16_units():
            return f"the CPU has {', '.join(found)}"
        return f"the CPU has none of {', '.join(CPU_BFLOAT16_UNITS)}, or torch cannot tell"
    return f"{device.type} multiplies bfloat16 natively"
