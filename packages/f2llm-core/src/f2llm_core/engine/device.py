"""Choosing where to compute, how precisely, and by which attention."""

from __future__ import annotations

import torch

from f2llm_core.engine.attention import RunAttention
from f2llm_core.engine.blocked import BlockedAttention
from f2llm_core.engine.varlen import VarlenAttention, varlen_works
from f2llm_core.errors import ConfigurationError
from f2llm_core.options import DTypeName

#: Parts of a CPU that multiply bfloat16, as torch names them.
CPU_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")


def choose_device(name: str | None) -> torch.device:
    """Return the device to compute on.

    Args:
        name: For example `"cpu"`, `"cuda:1"` or `"mps"`; None or `"auto"` takes the first GPU
            there is, else the CPU.

    Raises:
        ConfigurationError: No such device on this machine.
    """
    if name in {None, "auto"}:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if _has_mps() else "cpu")
    try:
        device = torch.device(str(name))
        torch.zeros(1, device=device).item()  # "meta" has tensors, too, but nothing in them
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        msg = f"device={name!r} is not available here ({reason}). Use 'cpu', or None to choose."
        raise ConfigurationError(msg) from error
    return device


def choose_dtype(name: DTypeName, device: torch.device) -> torch.dtype:
    """Return the precision of the matrix products on a device; that of `"int8"` is automatic."""
    if name in {"auto", "int8"}:
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def choose_batch_tokens(device: torch.device) -> int:
    """Return how many tokens to take in one forward pass, where nobody says.

    On a CPU more tokens gain nothing, since layers take them in blocks, and callers who wait should
    not wait longer. GPUs need more to fill them; the figure there is an estimate, and memory that
    runs out halves it.
    """
    return 2048 if device.type == "cpu" else 16384


def choose_attention(
    device: torch.device, dtype: torch.dtype
) -> type[BlockedAttention | RunAttention | VarlenAttention]:
    """Return the fastest kind of attention that is right on a device in a precision."""
    half = dtype in {torch.float16, torch.bfloat16}
    if device.type == "mps":
        return BlockedAttention
    if device.type == "cpu":
        return RunAttention if half and _multiplies_bfloat16(device) else BlockedAttention
    return (
        VarlenAttention
        if device.type == "cuda" and half and varlen_works(device, dtype)
        else RunAttention
    )


def cpu_bfloat16_units() -> list[str]:
    """Return which of `CPU_BFLOAT16_UNITS` are here; none where torch is too old to tell."""
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return [unit for unit in CPU_BFLOAT16_UNITS if has.get(unit)]


def _has_mps() -> bool:
    """Tell of an Apple GPU that has complex numbers and bfloat16, from macOS 14 on."""
    mps = torch.backends.mps
    return mps.is_available() and mps.is_macos_or_newer(14, 0)


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Tell hardware support from emulation, which is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(cpu_bfloat16_units())
    return device.type == "mps"
