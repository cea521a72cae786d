"""What ran where: versions and processor, without the name of the machine or its paths."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "f2llm-core",
    "torch",
    "sentence-transformers",
    "transformers",
    "langchain-huggingface",
    "llama-index-embeddings-huggingface",
)
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")


def describe_machine() -> dict[str, Any]:
    """Return the processor, the versions and the date."""
    info = _cpu_info()
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_features": [f for f in _FLAGS if f in (info.get("flags") or "").split()],
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def load_average() -> float:
    """Return how many processes wanted to run during the last minute, this run included."""
    return round(os.getloadavg()[0], 2)


def command(arguments: Sequence[str]) -> str:
    """Return the command line, of absolute paths only the last part."""
    shown = [
        "=".join(f"…/{Path(part).name}" if Path(part).is_absolute() else part for part in parts)
        for parts in (argument.split("=") for argument in arguments)
    ]
    return " ".join(["python -m benchmarks.run", *shown])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_info() -> dict[str, str]:
    """Return the first processor's fields on Linux; elsewhere nothing."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text("utf-8").split("\n\n", maxsplit=1)[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
