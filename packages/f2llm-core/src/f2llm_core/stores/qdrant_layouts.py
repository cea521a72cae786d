"""Where LangChain and LlamaIndex keep document and metadata in a point's payload."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from f2llm_core.errors import ConfigurationError
from f2llm_core.stores.base import Metadata

_NODE = "_node_content"  # where LlamaIndex keeps a node

Payload = dict[str, Any]


class Layout(Protocol):
    """Between a point's payload and a row."""

    def path(self, key: str) -> str:
        """Return the payload path of a metadata key."""

    def refusal(self, metadata: Metadata) -> str | None:
        """Say why metadata does not fit into a payload; None if it does."""

    def pack(self, document: str, metadata: Metadata) -> Payload:
        """Return the payload of a row."""

    def unpack(self, payload: Payload) -> tuple[str | None, Payload]:
        """Return document and metadata of a payload."""


class LangChainLayout:
    """Document and metadata under two keys of their own."""

    def __init__(self, document: str, metadata: str) -> None:
        """Name the two keys."""
        self._document = document
        self._metadata = metadata

    def path(self, key: str) -> str:
        """Return the payload path of a metadata key."""
        return f"{self._metadata}.{_quoted(key)}"

    def refusal(self, metadata: Metadata) -> str | None:
        """None: metadata has a key of its own."""
        return None

    def pack(self, document: str, metadata: Metadata) -> Payload:
        """Return the payload of a row."""
        return {self._document: document, self._metadata: dict(metadata)}

    def unpack(self, payload: Payload) -> tuple[str | None, Payload]:
        """Return document and metadata of a payload."""
        return payload.get(self._document), payload.get(self._metadata) or {}


class LlamaIndexLayout:
    """Metadata is the payload; the text stands inside the node, if there is one."""

    def __init__(self, document: str) -> None:
        """Name the key of a text that has no node."""
        self._document = document

    def path(self, key: str) -> str:
        """Return the payload path of a metadata key."""
        return _quoted(key)

    def refusal(self, metadata: Metadata) -> str | None:
        """Say so of a row without node, whose metadata has the key of its text."""
        if self._document in metadata and not _node(metadata):
            return f"its metadata has the key {self._document!r}, where LlamaIndex keeps the text"
        return None

    def pack(self, document: str, metadata: Metadata) -> Payload:
        """Return the payload of a row."""
        payload = dict(metadata)
        if node := _node(payload):
            return payload | {_NODE: json.dumps(node | {"text": document})}
        return payload | {self._document: document}

    def unpack(self, payload: Payload) -> tuple[str | None, Payload]:
        """Return document and metadata of a payload."""
        if node := _node(payload):  # whose metadata may have any key
            return node.get("text"), payload
        metadata = {k: v for k, v in payload.items() if k != self._document}
        return payload.get(self._document), metadata


def _node(payload: Metadata) -> dict[str, Any]:
    """Return the node in a payload; empty if there is none that can be read."""
    try:
        node = json.loads(payload.get(_NODE) or "{}")
    except (TypeError, ValueError):
        return {}
    return node if isinstance(node, dict) else {}


def _quoted(key: str) -> str:
    """Return a key as a step of a payload path, in which a dot would begin another step.

    Raises:
        ConfigurationError: Qdrant has no path for it.
    """
    if '"' in key:
        msg = f"where: Qdrant cannot filter by {key!r}, for it has a quotation mark in it."
        raise ConfigurationError(msg)
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
