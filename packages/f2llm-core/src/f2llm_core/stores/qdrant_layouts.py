"""Where LangChain and LlamaIndex keep document and metadata in a point's payload."""

from __future__ import annotations

import json
from typing import Any, Protocol

from f2llm_core.stores.base import Metadata

_NODE = "_node_content"  # where LlamaIndex keeps a node

Payload = dict[str, Any]


class Layout(Protocol):
    """Between a point's payload and a row."""

    def path(self, key: str) -> str:
        """Return the payload path of a metadata key."""

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
        return f"{self._metadata}.{key}"

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
        return key

    def pack(self, document: str, metadata: Metadata) -> Payload:
        """Return the payload of a row."""
        payload = dict(metadata)
        if _NODE in payload:
            node = json.loads(payload[_NODE]) | {"text": document}
            return payload | {_NODE: json.dumps(node)}
        return payload | {self._document: document}

    def unpack(self, payload: Payload) -> tuple[str | None, Payload]:
        """Return document and metadata of a payload."""
        if self._document in payload:
            metadata = {k: v for k, v in payload.items() if k != self._document}
            return payload[self._document], metadata
        node = json.loads(payload.get(_NODE) or "{}")
        return node.get("text"), payload
