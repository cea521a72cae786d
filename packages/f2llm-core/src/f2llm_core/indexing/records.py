"""What can be indexed: records, LangChain's documents, LlamaIndex's nodes; each as a row to be."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from f2llm_core.errors import InputError
from f2llm_core.inputs import check_text
from f2llm_core.stores.base import Metadata

#: Metadata keys that a row is found again by: its source, and a hash of all its metadata.
SOURCE, DIGEST = "f2llm_source", "f2llm_digest"

_NODE = "_node_content"  # where LlamaIndex keeps a node without its text, as JSON


class Placed(NamedTuple):
    """A document with the place it came from, which messages then name.

    Attributes:
        place: For example `"notes.jsonl:17"`.
        document: A record, a LangChain `Document`, a LlamaIndex node; or the `InputError` that says
            why there is none.
    """

    place: str
    document: object


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be stored of a document, but for its vector.

    Attributes:
        id: A UUID made of source and text, the same in every run.
        source: What the text is a part of; its own id if that is not known.
        text: What is embedded.
        document: What is stored as its text; LlamaIndex embeds some of the metadata along.
        metadata: What is stored beside it, `SOURCE` and `DIGEST` included.
        place: Where it came from, for messages.
    """

    id: str
    source: str
    text: str
    document: str
    metadata: Metadata
    place: str


class _Content(NamedTuple):
    source: str | None
    text: str
    document: str
    metadata: Metadata


class RowMaker:
    """Makes rows of documents, in the order of a stream."""

    def __init__(self, source_key: str | None, namespace: str = "") -> None:
        """Begin a stream.

        Args:
            source_key: Metadata key that names the source of a document.
            namespace: `VectorStore.id_namespace`, which ids are made of as well.
        """
        self._source_key = source_key
        self._namespace = namespace
        self._source: str | None = None
        self._texts: Counter[bytes] = Counter()  # of this source, hashed

    def make(self, document: object, place: str) -> Row:
        """Return the row of a document.

        Args:
            document: `(id, text)`, `(id, text, metadata)`, a LangChain `Document`, a LlamaIndex
                node, or an `InputError`, which is raised.
            place: Where it came from.

        Raises:
            InputError: It is nothing of that, or cannot be embedded or stored. Names no place.
        """
        if isinstance(document, InputError):
            raise document
        source, text, stored, metadata = _content(document)
        for one in (text, stored):
            check_text(one)
        if self._source_key is not None:
            source = metadata.get(self._source_key)
            if source is None:
                msg = f"its metadata has no {self._source_key!r}, which was to name its source"
                raise InputError(msg)
        if source is not None and not isinstance(source, str):
            msg = f"its source is {source!r}, not a str"
            raise InputError(msg)
        if source is not None:
            check_text(source)
        metadata = {k: v for k, v in metadata.items() if k not in {SOURCE, DIGEST}}
        # With a source of one's own, the random ids of LlamaIndex's documents change nothing.
        digest = _digest(metadata if self._source_key is None else _without_document(metadata))
        number = self._number(source, text)
        whole = self._namespace + json.dumps([source, number, text])
        id_ = str(UUID(bytes=hashlib.sha256(whole.encode()).digest()[:16]))
        if _NODE in metadata:
            metadata = {**metadata, _NODE: _changed(metadata[_NODE], id_=id_)}
        source = id_ if source is None else source
        return Row(id_, source, text, stored, {**metadata, SOURCE: source, DIGEST: digest}, place)

    def _number(self, source: str | None, text: str) -> int:
        """Return how often this source had this text before.

        Not its position: a paragraph put in at the top must not change the ids below it.
        """
        if source is None or source != self._source:
            self._texts.clear()
            self._source = source
        key = hashlib.sha256(text.encode()).digest()
        self._texts[key] += 1
        return self._texts[key] - 1


def placed(documents: Iterable[object]) -> Iterator[Placed]:
    """Yield documents with their places, which are their positions where nothing else is known.

    Raises:
        InputError: `documents` is a single one, or no iterable at all.
    """
    single = isinstance(documents, (str, bytes, Mapping)) or _kind(documents) is not None
    if single or not isinstance(documents, Iterable):
        msg = f"Pass an iterable of documents, not a {type(documents).__name__}: [document]."
        raise InputError(msg)
    return (
        one if isinstance(one, Placed) else Placed(f"documents[{position}]", one)
        for position, one in enumerate(documents)
    )


def _kind(document: object) -> str | None:
    """Return which of the frameworks' classes a document is of, importing neither."""
    for base in type(document).__mro__:
        name = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if name in {"langchain_core.Document", "llama_index.BaseNode"}:
            return name
    return None


def _content(document: Any) -> _Content:  # noqa: ANN401  (anything may come)
    kind = _kind(document)
    if kind == "langchain_core.Document":
        metadata = document.metadata
        source = metadata.get("source") if document.id is None else document.id
        return _Content(source, document.page_content, document.page_content, metadata)
    if kind == "llama_index.BaseNode":
        return _node(document)
    if isinstance(document, tuple) and len(document) in {2, 3}:
        source, text, *rest = document
        metadata = rest[0] if rest and rest[0] is not None else {}
        if not isinstance(metadata, Mapping):
            msg = f"its metadata is a {type(metadata).__name__}, not a mapping"
            raise InputError(msg)
        return _Content(source, text, text, metadata)
    msg = (
        f"it is a {type(document).__name__}; expected (id, text), (id, text, metadata), a "
        "LangChain Document or a LlamaIndex node"
    )
    raise InputError(msg)


def _node(node: Any) -> _Content:  # noqa: ANN401  (not imported)
    """Return what LlamaIndex's own classes would embed and store of a node."""
    from llama_index.core.schema import MetadataMode, NodeRelationship
    from llama_index.core.vector_stores.utils import node_to_metadata_dict

    # Ids of nodes are random, unless somebody chose them; so are those of their neighbours.
    kept = {k: v for k, v in node.relationships.items() if k == NodeRelationship.SOURCE}
    plain = node.model_copy(update={"id_": "", "relationships": kept})
    try:
        metadata = node_to_metadata_dict(plain, remove_text=True)
    except (TypeError, ValueError) as error:
        msg = f"its metadata cannot be stored as JSON: {error}"
        raise InputError(msg) from error
    return _Content(
        node.ref_doc_id or node.node_id,
        node.get_content(metadata_mode=MetadataMode.EMBED),
        node.get_content(metadata_mode=MetadataMode.NONE),
        metadata,
    )


def _changed(node: Any, **fields: object) -> str:  # noqa: ANN401  (anything may come)
    """Return a node as JSON with other fields, which LlamaIndex takes from there."""
    try:
        return json.dumps(json.loads(node) | fields, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        msg = f"the {_NODE!r} in its metadata is no LlamaIndex node as JSON"
        raise InputError(msg) from error


def _without_document(metadata: Metadata) -> Metadata:
    """Return the metadata of a LlamaIndex node without the id of the document it is of."""
    if _NODE not in metadata:
        return metadata
    kept = {k: v for k, v in metadata.items() if k not in {"document_id", "doc_id", "ref_doc_id"}}
    return {**kept, _NODE: _changed(metadata[_NODE], relationships={})}


def _digest(metadata: Metadata) -> str:
    if not all(isinstance(key, str) for key in metadata):
        msg = "a key of its metadata is not a str"
        raise InputError(msg)
    try:
        # NaN is no JSON: Chroma would drop it without a word, PostgreSQL refuse the whole batch.
        content = json.dumps(
            dict(metadata), sort_keys=True, ensure_ascii=False, allow_nan=False
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"its metadata cannot be stored as JSON: {error}"
        raise InputError(msg) from error
    return hashlib.sha256(content).hexdigest()[:32]
