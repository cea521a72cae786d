"""Ways to ask a server that are broken on purpose, each in one way that a check must find."""

from __future__ import annotations

import logging

import httpx
import numpy as np

from f2llm_core import F2LLM
from f2llm_core.backends.endpoint import answer, client
from f2llm_core.secret import Secret


def believe_the_order(monkeypatch):
    """Takes embeddings in the order in which they come."""
    monkeypatch.setattr(answer, "_places", lambda data: list(range(len(data))))


def believe_the_numbers(monkeypatch):
    """Takes NaN and zeros for vectors."""
    monkeypatch.setattr(answer, "_sound", lambda vector: vector)


def follow_redirects(monkeypatch):
    """Goes wherever the server sends it."""
    whole = httpx.AsyncClient

    def following(**options):
        return whole(**options | {"follow_redirects": True})

    monkeypatch.setattr(client.httpx, "AsyncClient", following)


def show_what_is_said(monkeypatch):
    """Puts an answer into a message as it is."""
    monkeypatch.setattr(client.Client, "_without_key", lambda self, text: text)


def retry_everything(monkeypatch):
    """Repeats what is hopeless."""
    monkeypatch.setattr(client, "_RETRIED", frozenset(range(400, 600)))


def raise_on_the_way(monkeypatch):
    """Raises where a variable holds the key."""
    attempt = client.Client._attempt

    async def raising(self, *request):
        headers = {"Authorization": self._key.get_secret_value()}
        outcome = await attempt(self, *request)
        if not isinstance(outcome, client.Reply):
            raise outcome.kind(f"no answer, with {len(headers)} headers")
        return outcome

    monkeypatch.setattr(client.Client, "_attempt", raising)


def hand_out_nan(monkeypatch):
    """Gives NaN for what was answered rightly."""
    encode = F2LLM.encode_document

    def encode_nan(self, texts):
        return encode(self, texts) * np.nan

    monkeypatch.setattr(F2LLM, "encode_document", encode_nan)


def unpack_without_limit(monkeypatch):
    """Unpacks all that is sent before it looks how much that is."""

    async def read(response, most):
        return (await response.aread())[: most + 1]

    monkeypatch.setattr(client, "_read", read)


def log_the_key(monkeypatch):
    """Writes the headers of every request to its log."""
    auth_flow = client._Bearer.auth_flow

    def logging_flow(self, request):
        for sent in auth_flow(self, request):
            logging.getLogger("f2llm_core").debug("%r", sent.headers["Authorization"])
            yield sent

    monkeypatch.setattr(client._Bearer, "auth_flow", logging_flow)


def show_secrets(monkeypatch):
    """Shows what is hidden, as a plain dataclass does."""
    monkeypatch.setattr(Secret, "__repr__", lambda self: f"Secret({self._value!r})")
