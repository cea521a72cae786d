"""Reading safetensors strictly: every tensor expected, none other, each in its shape."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from f2llm_core.engine.checksum import verify
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.engine.hub import check_files, weight_files
from f2llm_core.engine.qwen3 import expected_tensors
from f2llm_core.errors import ModelLoadError

_UNUSED = {"lm_head.weight"}  # present where a folder was saved from the causal language model
_DTYPES = {torch.float32, torch.bfloat16, torch.float16}
_NAMED = 5


def read_weights(folder: Path, config: Qwen3Config) -> dict[str, Tensor]:
    """Read the weights of a checkpoint.

    Args:
        folder: Holds `model.safetensors`, or shards and `model.safetensors.index.json`.
        config: What to expect.

    Returns:
        Tensors on the CPU in their stored dtype, by name without the `model.` prefix that
        checkpoints saved from a causal language model carry.

    Raises:
        ModelLoadError: A damaged file, or missing, extra or misshapen tensors; all are named.
    """
    check_files(folder)
    paths = [folder / name for name in weight_files(folder)]
    with ThreadPoolExecutor() as pool:  # the checksums beside the reading: both want the same pages
        checks = [pool.submit(verify, path) for path in paths]
        found, twice = _read_files(paths)
    for check in checks:
        check.result()
    if config.layers > len(found):  # before their names are listed: there may be 2**40
        msg = f"{folder} has {len(found)} tensors, its config.json says {config.layers} layers."
        raise ModelLoadError(msg)
    expected = dict(expected_tensors(config))
    problems = [
        *_summary("there twice", twice),
        *_summary("missing", sorted(expected.keys() - found.keys())),
        *_summary("unexpected", sorted(found.keys() - expected.keys() - _UNUSED)),
        *_summary(
            "of another shape",
            [
                f"{name} {tuple(found[name].shape)}, expected {shape}"
                for name, shape in expected.items()
                if name in found and tuple(found[name].shape) != shape
            ],
        ),
        *_summary(
            "of an unsupported dtype",
            [f"{name} {t.dtype}" for name, t in found.items() if t.dtype not in _DTYPES],
        ),
    ]
    if problems:
        msg = (
            f"The weights in {folder} do not fit its config.json: {'; '.join(problems)}. "
            "The download is incomplete, or the files are of different models."
        )
        raise ModelLoadError(msg)
    return {name: found[name] for name in expected}


def _read_files(paths: list[Path]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of all files, and the names that came more than once."""
    found: dict[str, Tensor] = {}
    twice = []
    for path in paths:
        for stored, tensor in _read_file(path).items():
            name = stored.removeprefix("model.")
            twice += [name] if name in found else []
            found[name] = tensor
    return found, twice


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        msg = f"{path} cannot be read as safetensors ({error}). {_likely_cause(path)}"
        raise ModelLoadError(msg) from error


def _likely_cause(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError:
        return "Check that the file is readable."
    if head.startswith(b"version https://git-lfs"):
        return "It is a Git LFS pointer: run `git lfs pull` or download the file itself."
    if head.lower().startswith((b"<!doctype", b"<html")):
        return "It is an HTML page, such as an error page saved by a download: download it again."
    return f"It holds {path.stat().st_size} bytes and is truncated or damaged: download it again."


def _summary(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{what}: {', '.join(names[:_NAMED])}{more}"]
