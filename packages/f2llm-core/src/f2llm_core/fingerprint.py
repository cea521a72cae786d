"""What tells the vectors of one model from those of another, wherever they are kept.

`ModelIdentity` is for a cache of full-width rows on one machine, which must be the same to the bit.
`Fingerprint` is for an index, which machines of several kinds write and read: rounding is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from f2llm_core.engine.contents import content_of
from f2llm_core.engine.hub import ModelSource
from f2llm_core.errors import FingerprintError
from f2llm_core.options import DTypeName, LoadOptions

if TYPE_CHECKING:
    import torch

    from f2llm_core.configured import ConfiguredModel

#: Raised when the same options begin to mean other vectors.
SCHEMA = 1
POOLING = "last token"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Rows may be mixed only where all of this is equal.

    Attributes:
        model: `"owner/name@commit"` of the hub, or `"sha256:…"` of a folder's contents.
        backend: The backend's name.
        dtype: Precision in use, from `precision`; `"unknown"` of a server.
        device: Type of the device, on another of which the same precision rounds differently; of a
            server, which can be anything, its address and its name for the model.
    """

    model: str
    backend: str
    dtype: str
    device: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Where an index's vectors come from. Those of two that `compare` refuses must not be mixed.

    Attributes:
        name: Of the model, for people: hub id, or the folder's own name.
        model: `"owner/name@commit"` of the hub, or `"sha256:…"` of a folder's contents.
        dimensions: Width of the vectors.
        pooling: What of a text's tokens becomes its vector.
        eos: Token that ends every text.
        document_prompt: What is put before documents.
        schema: Version of everything else that decides a vector.
        query_prompt: What is put before queries, which no document depends on.
        dtype: Precision; vectors of another one are rounded otherwise.
        backend: The backend's name.
        max_length: Tokens kept of each text.
    """

    name: str
    model: str
    dimensions: int
    pooling: str
    eos: int
    document_prompt: str
    schema: int
    query_prompt: str
    dtype: str
    backend: str
    max_length: int

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: object) -> Fingerprint:
        """Return what `to_dict` has written; keys of later versions are passed over.

        Raises:
            FingerprintError: It is no mapping, lacks a field, or holds something else there.
        """
        found = stored if isinstance(stored, Mapping) else {}
        given: dict[str, Any] = {field.name: found.get(field.name) for field in fields(cls)}
        kinds = {field.name: {"int": int, "str": str}[str(field.type)] for field in fields(cls)}
        wrong = [name for name, value in given.items() if type(value) is not kinds[name]]
        if wrong:
            msg = (
                f"This fingerprint is not readable: {', '.join(wrong)} missing or of a wrong type. "
                "It is damaged, or written by another version of f2llm-core. Index the documents "
                "again into a new collection, or audit this one."
            )
            raise FingerprintError(msg)
        return cls(**given)


Level = Literal["same", "informational", "warning", "refused"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two fingerprints agree.

    Attributes:
        level: `"same"`; `"informational"`, where only queries are treated otherwise; `"warning"`,
            where vectors fit together but for rounding and very long texts; or `"refused"`.
        fields: Those that differ.
        message: Both sides of each, and the way out; empty if nothing differs.
    """

    level: Level
    fields: tuple[str, ...]
    message: str


# Field by field: how bad a difference is, and the way out.
_CONSEQUENCES: dict[str, tuple[Level, str]] = {
    "schema": ("refused", "use the version of f2llm-core that the index was made with"),
    "model": (
        "refused",
        "use that one, or guard(…, adopt=True), which audits whether both are the same",
    ),
    "dimensions": ("refused", "pass dimensions={theirs}"),
    "pooling": ("refused", "use what the index was made with"),
    "eos": ("refused", "use the checkpoint whose tokenizer the index was made with"),
    "document_prompt": ("refused", "pass document_instruction={theirs!r}"),
    "max_length": ("warning", "longer texts are cut elsewhere; pass max_length={theirs}"),
    "dtype": ("warning", "vectors are rounded otherwise, which rarely changes a ranking"),
    "backend": ("warning", "vectors are rounded otherwise, which rarely changes a ranking"),
    "query_prompt": ("informational", "pass instruction={theirs!r} to ask as it was meant"),
}
_LEVELS: tuple[Level, ...] = ("same", "informational", "warning", "refused")


def compare(mine: Fingerprint, theirs: Fingerprint, where: str = "The index") -> Comparison:
    """Tell whether vectors of two fingerprints belong together.

    Args:
        mine: Of the model at hand.
        theirs: Of what is there already.
        where: What that is, to begin the message with.
    """
    level: Level = "same"
    found, said = [], []
    for name, (consequence, way_out) in _CONSEQUENCES.items():
        here, there = getattr(mine, name), getattr(theirs, name)
        if here == there:
            continue
        found.append(name)
        level = max(level, consequence, key=_LEVELS.index)
        if name == "model":
            here, there = f"{mine.name} ({here})", f"{theirs.name} ({there})"
        said.append(f"{name} {there!r}, this model has {here!r} ({way_out.format(theirs=there)})")
    if not found:
        return Comparison(level, (), "")
    end = ". Or index the documents again into a new collection." if level == "refused" else "."
    return Comparison(level, tuple(found), f"{where} was made with {'; '.join(said)}{end}")


def fingerprint(model: ConfiguredModel) -> Fingerprint:
    """Return the fingerprint of a model as it is used; reads its files, but loads no weights.

    Raises:
        ConfigurationError: The device does not exist here.
        ModelError: The model cannot be found, or its files are damaged.
        FingerprintError: A server runs it, and it is not known which revision of it that is.
        OSError: A file cannot be read.
    """
    backend = model._backend
    identity = backend.identity()
    prompts = model.prompts
    folder = backend.source.folder
    return Fingerprint(
        name=model.model if folder is None else folder.name,
        model=identity.model,
        dimensions=model.dimensions,
        pooling=POOLING,
        eos=backend.eos_id,
        document_prompt=prompts.document,
        schema=SCHEMA,
        query_prompt=prompts.query,
        dtype=identity.dtype,
        backend=identity.backend,
        max_length=model.max_length,
    )


def model_identity(source: ModelSource, folder: Path, options: LoadOptions) -> ModelIdentity:
    """Return the identity of a model as it would be loaded, without loading it.

    Args:
        source: Which model.
        folder: Where its files are; for a hub repository the snapshot.
        options: How it is loaded.

    Raises:
        ConfigurationError: The device does not exist here.
        ModelLoadError: The folder's index of weights is damaged.
        OSError: A file cannot be read.
    """
    from f2llm_core.engine.preload import import_torch

    import_torch()
    from f2llm_core.engine.device import choose_device

    device = choose_device(options.device)
    dtype = precision(options.dtype, device)
    return ModelIdentity(content_of(source, folder), str(options.backend), dtype, device.type)


def precision(dtype: DTypeName, device: torch.device) -> str:
    """Return what a `dtype` means on a device.

    Returns:
        That of the matrix products, never `"auto"`; for weights kept in another one both, for
        example `"int8/bfloat16"`.
    """
    from f2llm_core.engine.device import choose_dtype

    used = str(choose_dtype(dtype, device)).removeprefix("torch.")
    return used if dtype in {"auto", used} else f"{dtype}/{used}"
