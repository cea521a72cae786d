"""F2LLM-v2 in Chroma: its own embedding function, and LangChain's `Chroma` opened safely.

Importing this module registers the embedding function, so that Chroma can rebuild it from what a
collection stores.

    import chromadb
    from f2llm_core.chroma import F2LLMEmbeddingFunction

    function = F2LLMEmbeddingFunction("80M", dimensions=256)
    papers = chromadb.PersistentClient("index").create_collection(
        "papers", embedding_function=function
    )
    papers.add(ids=["1"], documents=["우주 망원경은 먼 은하를 관측한다."])
    papers.query(query_texts=["Which instrument looks at galaxies?"])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import (
    ConfigurationError,
    FingerprintError,
    FingerprintWarning,
    MissingExtraError,
    warn,
)
from f2llm_core.fingerprint import Fingerprint, compare
from f2llm_core.inputs import check_texts
from f2llm_core.matryoshka import Vectors
from f2llm_core.models import DEFAULT_MODEL
from f2llm_core.stores.base import store_errors
from f2llm_core.stores.guarding import encoder_of, guard

try:
    import chromadb
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.config import Settings
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise MissingExtraError(__name__, "chroma") from error

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_chroma import Chroma

_COSINE: Any = {"hnsw": {"space": "cosine"}}

# Options that decide a vector, and the server that makes it; those of this machine (device, cache,
# token …) are not stored.
_STORED = (
    "model",
    "revision",
    "dimensions",
    "task",
    "instruction",
    "document_instruction",
    "max_length",
    "on_truncate",
    "backend",
    "base_url",
    "server_model",
    "dtype",
)


@register_embedding_function
class F2LLMEmbeddingFunction(EmbeddingFunction[Documents]):
    """F2LLM-v2 as Chroma's own: queries with their instruction, documents unaltered, cosine.

    A collection stores its configuration and its fingerprint. Opened again, it gets the function
    from there, and the function refuses to embed if the model is another by then.
    """

    def __init__(self, model: str | Path | F2LLM = DEFAULT_MODEL, **options: Any) -> None:  # noqa: ANN401
        """Name a model; nothing is loaded yet.

        Args:
            model: What `F2LLM` takes, or an encoder, whose weights are then shared.
            **options: The other arguments of `F2LLM`.

        Raises:
            ConfigurationError: An option with a wrong value.
            ModelNotFoundError: `model` names nothing that could be a model.
        """
        self.encoder = (
            model.with_options(**options) if isinstance(model, F2LLM) else F2LLM(model, **options)
        )
        self._expected: Mapping[str, Any] | None = None

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002  (Chroma's name)
        """Embed documents.

        Returns:
            A float32 vector each, unit length.

        Raises:
            FingerprintError: The collection was made with another model.
            InputError: A text that cannot be embedded.
        """
        return _listed(self._checked().encode_document(check_texts(input)))

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002
        """Embed queries; result and errors as of documents."""
        return _listed(self._checked().encode_query(check_texts(input)))

    @staticmethod
    def name() -> str:
        """Return what Chroma knows the function by."""
        return "f2llm"

    def default_space(self) -> Space:
        """Return how a collection measures if nothing else is asked for."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return all: the vectors have unit length."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return what makes this function again, and the fingerprint; never the token."""
        config = self.encoder.config
        stored = {name: config[name] for name in _STORED} | {"model": self.encoder.model}
        stored["revision"] = self.encoder.revision
        return stored | {"fingerprint": self.encoder.fingerprint.to_dict()}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> F2LLMEmbeddingFunction:
        """Make the function that a collection was made with.

        Raises:
            ConfigurationError: The configuration is none of this function's.
            ModelNotFoundError: Its model is not on this machine.
        """
        F2LLMEmbeddingFunction.validate_config(config)
        options = json.dumps({name: config[name] for name in _STORED if name in config})
        function = F2LLMEmbeddingFunction(_encoder(options))
        function._expected = config["fingerprint"] or {}  # None would mean: nothing to compare
        return function

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Refuse what is no configuration of this function.

        Raises:
            ConfigurationError: It lacks a key.
        """
        missing = [name for name in ("model", "fingerprint") if name not in config]
        if missing:
            msg = f"This is no configuration of {__name__}: it lacks {', '.join(missing)}."
            raise ConfigurationError(msg)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Refuse to change a collection's function to one whose vectors do not fit.

        Raises:
            FingerprintError: They do not fit.
        """
        mine, theirs = (
            Fingerprint.from_dict(config.get("fingerprint")) for config in (new_config, old_config)
        )
        _enforce(mine, theirs)

    def _checked(self) -> F2LLM:
        """Return the encoder, once it is known to be the collection's."""
        if self._expected is not None:
            _enforce(self.encoder.fingerprint, Fingerprint.from_dict(self._expected))
            self._expected = None
        return self.encoder


def open_chroma(
    embeddings: Any,  # noqa: ANN401  (LangChain's type, which need not be installed)
    collection: str,
    *,
    path: str | Path | None = None,
    client: ClientAPI | None = None,
) -> Chroma:
    """Create or open a collection in LangChain's `Chroma`, and make sure that it is this model's.

    A new collection measures cosine and is stamped with the model's fingerprint. In an existing one
    the stamp is compared before anything is embedded.

    Args:
        embeddings: `langchain_f2llm.F2LLMEmbeddings`.
        collection: Its name.
        path: Folder of the database; opened with telemetry off.
        client: A client to use instead of `path`, for example one that this process has already:
            Chroma refuses a second one of a folder with other settings.

    Returns:
        The store, with which everything else is LangChain's.

    Raises:
        FingerprintError: The collection holds vectors of another model, or nobody knows whose.
        StoreError: Chroma cannot open the folder, or refuses the name.
        ConfigurationError: Neither or both of `path` and `client`, `embeddings` are not ours, or
            `langchain-chroma` is not installed.

    Warns:
        FingerprintWarning: Precision, backend or `max_length` differ, or the space is not cosine.
    """
    try:
        from langchain_chroma import Chroma
    except ImportError as error:
        msg = "open_chroma opens LangChain's Chroma: pip install langchain-chroma"
        raise ConfigurationError(msg) from error
    encoder_of(embeddings)
    if not hasattr(embeddings, "embed_documents"):  # which LangChain's store calls
        msg = (
            f"embeddings={embeddings!r} is none of LangChain's: pass langchain_f2llm's "
            "F2LLMEmbeddings(…), or F2LLMEmbeddings.from_encoder(encoder)."
        )
        raise ConfigurationError(msg)
    if (path is None) == (client is None):
        msg = "Pass either path, the folder of a Chroma database, or client."
        raise ConfigurationError(msg)
    place = f" in {path}" if client is None else ""
    with store_errors(f"Chroma collection {collection!r}{place}", "be opened"):
        if path is not None:
            folder = str(Path(path).expanduser().absolute())  # it opens files again later
            client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
        store = Chroma(
            collection,
            client=client,
            embedding_function=embeddings,
            collection_configuration=_COSINE,  # of a new one; an existing one keeps its own
        )
    opened = guard(store, embeddings)
    if (space := getattr(opened, "space", "cosine")) != "cosine":
        warn(
            f"{opened.name} measures {space!r} distances: the order of results is the same as by "
            "cosine, but LangChain's relevance scores are not. A new collection gets cosine.",
            FingerprintWarning,
        )
    return store


@lru_cache(maxsize=2)
def _encoder(options: str) -> F2LLM:
    """Return the same encoder again: Chroma rebuilds a collection's function for every call."""
    return F2LLM(**json.loads(options))


def _enforce(mine: Fingerprint, theirs: Fingerprint) -> None:
    found = compare(mine, theirs, "The Chroma collection")
    if found.level == "refused":
        raise FingerprintError(found.message)
    if found.level == "warning":
        warn(found.message, FingerprintWarning)


def _listed(rows: Vectors) -> Embeddings:
    return list(rows)
