"""The model on a server: what it is called there, and rows that are certainly its."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from f2llm_core.backends.endpoint.answer import parse, read_answer
from f2llm_core.backends.endpoint.client import Client
from f2llm_core.engine.hub import ModelSource
from f2llm_core.errors import EndpointModelError, EndpointRefusedError
from f2llm_core.matryoshka import Vectors

#: Said of a request that is too large, by one server or another; also of a single bad text.
TOO_LARGE = frozenset({413, 422})

# What a server says that has no list of models; only the key's refusal is one.
_FAILED = 500
_NO_LIST = frozenset({400, 404, 405, 415, 422, _FAILED, 501})
_LIST_BYTES = 1 << 20
_NUMBER_BYTES = 64  # of one in JSON, at most, with any white space around it
_WIDEST = 8192  # columns, where the width is not known yet


class ServedModel:
    """One model of a server; belongs to one event loop.

    Attributes:
        client: Of the server.
        width: Of the model; None until it is known.
    """

    def __init__(
        self, client: Client, source: ModelSource, server_model: str | None, width: int | None
    ) -> None:
        """Prepare; asks nothing.

        Args:
            client: Of the server.
            source: Which model it is to be.
            server_model: What the server calls it; None if that is to be found out.
            width: Of the model; None if the first answer shall tell.
        """
        self.client = client
        self.width = width
        self._source = source
        self._name = server_model
        self._asking = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> Vectors | None:
        """Return the rows of texts, `(n, width)` float32; None if they are too much at once.

        Args:
            texts: To send in one request.

        Raises:
            EndpointError: There are none that could be believed.
        """
        name = await self._find_name()
        # Texts, not ids: OpenAI's interface takes ids, too, but half of the servers do not.
        question = {"model": name, "input": list(texts), "encoding_format": "float"}
        content = json.dumps(question, ensure_ascii=False).encode()
        reply = await self.client.ask(
            "POST",
            "/v1/embeddings",
            content,
            most=_LIST_BYTES + len(texts) * (self.width or _WIDEST) * _NUMBER_BYTES,
            accepted=TOO_LARGE if len(texts) > 1 else (),
        )
        if reply.status in TOO_LARGE:
            return None
        answer = read_answer(reply.body, len(texts), self.client.where)
        if answer.model and not self._is_ours(answer.model, name):
            raise self._other([answer.model])
        found = answer.rows.shape[1]
        if self.width not in {None, found}:
            msg = (
                f"{self.client.where} answered vectors of {found} dimensions; "
                f"{self._source.name} has {self.width}. It runs another model, or cuts the vectors."
            )
            raise EndpointModelError(msg, status=200)
        self.width = found
        return answer.rows

    async def aclose(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    async def _find_name(self) -> str:
        async with self._asking:  # callers that come together ask once
            if self._name is not None:
                return self._name
            listed, certain = await self._listed()
            name = self._choose(listed)
            self._name = name if certain else None
            return name

    async def _listed(self) -> tuple[list[str], bool]:
        """Return the models that the server says it has, none if it does not say, for certain.

        A server that fails may have no list, or be about to have one.
        """
        reply = await self.client.ask("GET", "/v1/models", most=_LIST_BYTES, accepted=_NO_LIST)
        document = parse(reply.body)
        data = document.get("data") if isinstance(document, dict) else None
        items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        names = [item["id"] for item in items if isinstance(item.get("id"), str)]
        return names, reply.status != _FAILED

    def _choose(self, listed: list[str]) -> str:
        if self._source.name in listed or not listed:
            return self._source.name
        ours = [name for name in listed if self._is_ours(name, self._source.name)]
        if not ours:
            raise self._other(listed)
        if len(ours) > 1:
            shown = ", ".join(map(repr, ours[:8]))
            msg = (
                f"{self.client.where} has more than one {self._source.name} ({shown}): choose one "
                "with server_model."
            )
            raise EndpointRefusedError(msg)
        return ours[0]

    def _is_ours(self, said: str, asked: str) -> bool:
        """Tell whether a server's name can be that of this model, by the part that matters."""
        folder = self._source.folder
        short = self._source.name.rpartition("/")[2] if folder is None else folder.name
        return any(_plain(name) in _plain(said) for name in (asked, short))

    def _other(self, names: list[str]) -> EndpointModelError:
        shown = ", ".join(f"{name!r:.100}" for name in names[:8])
        return EndpointModelError(
            f"{self.client.where} runs {shown}, which does not look like {self._source.name}. If "
            f"it is that model under another name, pass server_model={names[0]!r:.100}.",
            status=200,
        )


def _plain(name: str) -> str:
    """Return a name without what file names, tags and hubs change about it."""
    return "".join(c for c in name.casefold() if c.isalnum())
