"""Damaged and hostile model folders, as data: which files differ, and whether it matters."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load, save

from support import tiny_model

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
REPOSITORY, COMMIT = "someone/their-model", "1" * 40

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 160000000\n" % (b"0" * 64)
#: What is found in place of a file, never what it should be.
RUBBISH = (
    b"", b"\0" * 100, b"\xff" * 100, _LFS, b"<!DOCTYPE html><html>404</html>", b"<html>", b"null",
    b"3", b'"text"', b"{", b"[" * 100_000, b'{"a": NaN', b"\x1f\x8b\x08\0", b"Entry not found",
    '{"a": 1}'.encode("utf-16"), b"\x80\x04K\x01.", b"\xef\xbb\xbf{}",
)  # fmt: skip
_SHAPES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "intermediate_size",
)  # fmt: skip
_NUMBERS = (*_SHAPES, "max_position_embeddings", "rms_norm_eps", "rope_theta")
_OTHERS = {
    "model_type": ("qwen2", "llama", "bert", "Qwen3", "", None, 3, [], "qwen3_moe"),
    "hidden_act": ("gelu", "relu", None, 1),
    "attention_bias": (True, "yes", 1),
    "use_sliding_window": (True, 1),
    "layer_types": (["sliding_attention"], ["full_attention", "sliding_attention"]),
    "rope_scaling": ({"rope_type": "yarn", "factor": 4.0}, {"type": "linear", "factor": 2.0}),
    "rope_parameters": ({"rope_type": "llama3", "rope_theta": 1e6},),
    "eos_token_id": (0, 1, [1, 2]),
}


@dataclass(frozen=True)
class Case:
    """One folder.

    Attributes:
        name: What was done to it.
        files: Contents that differ from a whole model; None for a file that is missing.
        harmless: Loading may succeed, with the whole model's vectors.
        cached: Laid out as the hub's cache does, each file named by the checksum it should have.
    """

    name: str
    files: Mapping[str, bytes | None]
    harmless: bool = False
    cached: bool = False


@cache
def whole() -> dict[str, bytes]:
    """Return the files of a whole model."""
    folder = Path(tiny_model())
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def lay_out(case: Case, root: Path) -> Path:
    """Write the folder of a case somewhere below `root`, and return it."""
    content = {**whole(), **case.files}
    folder = root / "hub" / "snapshots" / COMMIT if case.cached else root / "model"
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            continue
        if case.cached:
            blob = root / "hub" / "blobs" / _blob_name(name)
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(data)
            path.symlink_to(Path("../" * (name.count("/") + 2)) / "blobs" / blob.name)
        else:
            path.write_bytes(data)
    return folder


def _blob_name(name: str) -> str:
    right = whole()[name]
    if len(right) > 10_000:  # as the hub does for what it keeps in LFS
        return hashlib.sha256(right).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(right) + right).hexdigest()


def all_cases(outside: Path) -> Iterator[Case]:
    """Return every case, about 1,300.

    Args:
        outside: A folder beside the models that holds a valid shard, `norm.safetensors`.
    """
    yield from truncated()
    yield from flipped_header()
    yield from flipped_in_the_cache()
    yield from replaced()
    yield from wrong_tensors()
    yield from wrong_config()
    yield from foreign_shards(outside)


def truncated(seed: int = 0) -> Iterator[Case]:
    rng = random.Random(seed)
    for name, count in ((WEIGHTS, 300), ("tokenizer.json", 60), ("config.json", 40)):
        data = whole()[name]
        for _ in range(count):
            size = rng.randrange(len(data.rstrip()))
            yield Case(f"{name} cut to {size} bytes", {name: data[:size]})


def flipped_header(seed: int = 1) -> Iterator[Case]:
    rng = random.Random(seed)
    data = whole()[WEIGHTS]
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(300):
        damaged = bytearray(data)
        position = rng.randrange(header)
        damaged[position] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
        content = bytes(damaged)
        # It may hit free space or the metadata; independent of our reader, this is how it reads.
        yield Case(f"header byte {position}", {WEIGHTS: content}, harmless=_same_tensors(content))


def _same_tensors(content: bytes) -> bool:
    right = load(whole()[WEIGHTS])
    try:
        read = load(content)
    except Exception:
        return False
    return read.keys() == right.keys() and all(read[name].equal(right[name]) for name in right)


def flipped_in_the_cache(seed: int = 2) -> Iterator[Case]:
    rng = random.Random(seed)
    for name, data in whole().items():
        for _ in range(200 if name == WEIGHTS else 20):
            damaged = bytearray(data)
            position = rng.randrange(len(data))
            damaged[position] ^= 1 << rng.randrange(8)
            yield Case(f"cached {name}, byte {position}", {name: bytes(damaged)}, cached=True)


def replaced() -> Iterator[Case]:
    for name in ("config.json", "tokenizer.json", WEIGHTS):
        yield Case(f"no {name}", {name: None})
    for name in whole():
        for content in RUBBISH:
            yield Case(f"{name} is {content[:20]!r}", {name: content})


def wrong_tensors() -> Iterator[Case]:
    right = load(whole()[WEIGHTS])

    def case(what: str, tensors: dict[str, torch.Tensor]) -> Case:
        return Case(what, {WEIGHTS: save(tensors)})

    for name, tensor in right.items():
        others = {other: t for other, t in right.items() if other != name}
        yield case(f"{name} missing", others)
        yield case(f"{name} renamed", others | {f"{name}2": tensor})
        yield case(f"{name} twice", right | {f"model.{name}": tensor.clone()})
        yield case(f"{name} short", right | {name: tensor.flatten()[:-1].clone()})
        yield case(f"{name} as integers", right | {name: tensor.to(torch.int8)})
    yield case("one tensor too many", right | {"score.weight": torch.ones(2)})
    yield case("no tensors", {})


def wrong_config() -> Iterator[Case]:
    def case(key: str, value: object) -> Case:
        content = json.loads(whole()["config.json"]) | {key: value}
        return Case(f"{key}={value!r}", {"config.json": json.dumps(content).encode()})

    right = json.loads(whole()["config.json"])
    for key in _NUMBERS:
        for value in (0, -1, "8", None, True, [8], {}, float("inf"), float("nan"), 10**400):
            yield case(key, value)
    for key in _SHAPES:
        yield from (
            case(key, right[key] * 2),
            case(key, right[key] + 1),
            case(key, 2**39),
            case(key, 2**24),
        )
    limit = json.dumps(right | {"max_position_embeddings": 2**24}).encode()
    yield Case("max_position_embeddings=2**24", {"config.json": limit}, harmless=True)
    for key, values in _OTHERS.items():
        yield from (case(key, value) for value in values)
    for mode in ("cls_token", "mean_tokens", "max_tokens", "weightedmean_tokens"):
        pooling = json.dumps({f"pooling_mode_{mode}": True}).encode()
        yield Case(f"pooling {mode}", {"1_Pooling/config.json": pooling})


def foreign_shards(outside: Path) -> Iterator[Case]:
    right = load(whole()[WEIGHTS])
    mine = {name: tensor for name, tensor in right.items() if name != "norm.weight"}
    for shard in foreign_names(outside):
        weight_map = dict.fromkeys(mine, "own.safetensors") | {"norm.weight": shard}
        index = json.dumps({"weight_map": weight_map}).encode()
        yield Case(
            f"shard {shard!a:.60}", {WEIGHTS: None, INDEX: index, "own.safetensors": save(mine)}
        )


def foreign_names(outside: Path) -> list[object]:
    """Return what an index may call a shard that is none of its folder's files."""
    name = "norm.safetensors"
    ways = ("../", ".././", "./../", "x/../../", "..//", "../x/../", "1_Pooling/../../")
    above = [f"{way}outside/{name}" for way in ways]
    absolute = [f"{outside}/{name}", f"/{outside}/{name}", "/etc/passwd", f"{outside}/../{name}"]
    schemes = [f"{scheme}://{outside}/{name}" for scheme in ("file", "https", "hf", "s3")]
    windows = ["..\\outside\\", "C:\\", "C:", "\\\\host\\share\\", "CON.", "NUL.", ".\\", "x:y"]
    encoded = [
        "%2e%2e%2f",
        "..%2foutside%2f",
        "．．／",
        "\u2024\u2024/",
        "~/",
        "$HOME/",
        "-rf ",
        " ",
    ]
    prefixed = [f"{prefix}{name}" for prefix in windows + encoded]
    odd = ["", ".", "..", "/", "...", "*", "?", "|id", "`id`.safetensors", "\n.safetensors", INDEX]
    zero = ["a\0.safetensors", f"{name}\0", "\0", "\ud800.safetensors", "n" * 5_000 + f".{name}"]
    kinds = [f"{name}{end}" for end in ("/", ".bin", ".pkl", "\n", " ")]
    others = ["norm.SAFETENSORS", "norm.bin", "pytorch_model.bin", "config.json", "1_Pooling"]
    not_names = [None, 3, True, [], ["own.safetensors"], {}, 1.5]
    return above + absolute + schemes + prefixed + odd + zero + kinds + others + not_names


def hostile_cases(canary: Path) -> Iterator[Case]:
    """Return folders with pickles and code that leave a file behind when they are run."""
    payload = pickle.dumps(Canary(str(canary)))
    code = f"open({str(canary)!r}, 'w')\nclass Model: pass\n".encode()
    names = ("pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model.ckpt")
    for name in names:
        yield Case(f"{name} alone", {WEIGHTS: None, name: payload})
        yield Case(f"{name} beside", {name: payload}, harmless=True)
        index = json.dumps({"weight_map": {"norm.weight": name}}).encode()
        yield Case(f"{name} in the index", {WEIGHTS: None, INDEX: index, name: payload})
    for name in (*whole(), "training_args.bin", "1_Pooling/pytorch_model.bin"):
        yield Case(f"{name} is a pickle", {name: payload}, harmless=name not in whole())
    auto_map = {f"Auto{kind}": "custom.Model" for kind in ("Model", "Config", "Tokenizer")}
    asks = {"auto_map": auto_map, "trust_remote_code": True, "custom_pipelines": auto_map}
    for name in ("config.json", "tokenizer_config.json", "config_sentence_transformers.json"):
        asked = json.dumps(json.loads(whole()[name]) | asks).encode()
        yield Case(f"{name} asks for code", {name: asked, "custom.py": code}, harmless=True)
    for kind in ("custom.Model", "custom.Transformer2", "os.system", "builtins.exec"):
        modules = json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]).encode()
        yield Case(f"module {kind}", {"modules.json": modules, "custom.py": code})
    for name in ("sitecustomize.py", "__init__.py", "tokenizers.py", "torch.py", "custom.pth"):
        yield Case(f"{name} in the folder", {name: code}, harmless=True)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")
