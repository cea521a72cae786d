"""HTTP with one server: what is asked again, what is refused, and what is never said."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Collection, Generator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from f2llm_core.errors import (
    EndpointError,
    EndpointRefusedError,
    EndpointResponseError,
    EndpointUnavailableError,
    MissingExtraError,
)
from f2llm_core.secret import Hidden

try:
    import httpx
except ImportError as error:
    _feature = "A server (base_url)"
    raise MissingExtraError(_feature, "endpoint") from error

#: Requests at once, of all callers: enough for servers to fill their batches.
CONNECTIONS = 16

_CONNECT = 5.0  # seconds for a connection, which is then tried again
_UNPACKED = frozenset({"identity", "gzip", "x-gzip", "deflate"})
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds
_SAID_BYTES = 4096  # of what a server says about an error
_SAID = 300  # characters of it that are shown


class Reply(NamedTuple):
    """An answer; the key is not in it, even if the server sent it back."""

    status: int
    body: bytes


class _Trouble(NamedTuple):
    """Why there is no answer.

    Attributes:
        kind: Error to raise.
        said: What happened, as the predicate of a sentence about the server.
        status: What the server answered, if it did.
        passing: Whether to ask again may help.
        wait: Seconds that the server asks for, or None.
    """

    kind: type[EndpointError]
    said: str
    status: int | None = None
    passing: bool = False
    wait: float | None = None


class _Bearer(httpx.Auth):
    """Puts the key into a request at the last moment, so that no variable holds it."""

    def __init__(self, key: Hidden) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


class Client:
    """Asks one server, and goes on asking as long as that may help; belongs to one event loop.

    Attributes:
        where: The server's address.
        trouble: What happened when it was asked last; empty if it answered.
    """

    def __init__(
        self, base_url: str, api_key: Hidden | None, *, timeout: float, max_retries: int
    ) -> None:
        """Make a pool of connections; opens none.

        Args:
            base_url: Without `/v1`.
            api_key: Sent with every request, and nowhere else.
            timeout: Seconds beyond which no pause is worth it. To end a request that takes longer
                is the caller's part.
            max_retries: How often a request is repeated.
        """
        self.where = base_url
        self.trouble = ""
        self._key = api_key
        self._timeout = timeout
        self._max_retries = max_retries
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._http = httpx.AsyncClient(
            auth=None if api_key is None else _Bearer(api_key),
            # Numbers hardly shrink, and what is not packed cannot unpack to gigabytes.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            follow_redirects=False,  # the key is for this server
            timeout=httpx.Timeout(None, connect=_CONNECT),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        most: int,
        accepted: Collection[int] = (),
    ) -> Reply:
        """Send a request, again if that may help, and return the answer.

        Args:
            method: Of HTTP.
            path: After the server's address.
            content: A JSON document to send.
            most: Bytes of the longest answer that can be right.
            accepted: What to return besides a success: other statuses.

        Raises:
            EndpointError: There is no such answer.
        """
        attempt = 0
        while True:
            async with self._turns:
                outcome = await self._attempt(method, path, content, most, accepted)
            if isinstance(outcome, Reply):
                self.trouble = ""
                return outcome
            self.trouble = outcome.said
            pause = _pause(attempt, outcome.wait)
            if not outcome.passing or attempt == self._max_retries or pause > self._timeout:
                msg = f"{self.where} {outcome.said}{_times(attempt, pause, self._timeout, outcome)}"
                raise outcome.kind(msg, status=outcome.status)
            await asyncio.sleep(pause)
            attempt += 1

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _attempt(
        self,
        method: str,
        path: str,
        content: bytes | None,
        most: int,
        accepted: Collection[int],
    ) -> Reply | _Trouble:
        # Nothing is raised from in here: the library's frames, and so a traceback with variables,
        # hold the request with the key.
        kind = {} if content is None else {"Content-Type": "application/json"}
        try:
            async with self._http.stream(
                method, self.where + path, content=content, headers=kind
            ) as response:
                success = response.status_code == httpx.codes.OK
                limit = most if success else _SAID_BYTES
                body = self._without_key(await _read(response, limit))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, zlib.error) as error:
            said = self._one_line(str(error).rstrip(".") or type(error).__name__)
            return _Trouble(EndpointUnavailableError, f"gave no answer ({said})", passing=True)
        if success and len(body) > most:
            said = f"answered more than {most:,} bytes, which cannot be right"
            return _Trouble(EndpointResponseError, said, response.status_code)
        if success or response.status_code in accepted:
            return Reply(response.status_code, body)
        return self._judge(response, f"{method} {path}", body)

    def _judge(self, response: httpx.Response, request: str, body: bytes) -> _Trouble:
        """Tell what an answer that is none means."""
        status, headers = response.status_code, response.headers
        if status in {401, 403}:
            # What it says is not shown: some servers repeat a part of the key.
            held = "refused the key" if self._key else "wants a key"
            said = f"{held} ({status}): pass api_key, or set F2LLM_API_KEY"
            return _Trouble(EndpointRefusedError, said, status)
        if 300 <= status < 400:
            target = self._one_line(_host(response, headers.get("location", "")))
            said = f"redirects to {target} ({status}), which is not followed: see to base_url"
            return _Trouble(EndpointRefusedError, said, status)
        words = self._one_line(body.decode("utf-8", "replace"))
        said = f"answered {status} to {request}" + (f": {words}" if words else "")
        if status in _RETRIED:
            wait = _seconds(headers)
            return _Trouble(EndpointUnavailableError, said, status, passing=True, wait=wait)
        return _Trouble(EndpointRefusedError, said, status)

    def _without_key(self, text: bytes) -> bytes:
        if self._key is None:
            return text
        return text.replace(self._key.get_secret_value().encode(), b"***")

    def _one_line(self, text: str) -> str:
        line = " ".join(self._without_key(text.encode("utf-8", "replace")).decode().split())
        shown = "".join(c for c in line if c.isprintable())
        return shown if len(shown) <= _SAID else f"{shown[:_SAID]} …"


async def _read(response: httpx.Response, most: int) -> bytes:
    """Return a body as it was before compression; more than `most` bytes only if it is longer.

    Raises:
        zlib.error: It is packed otherwise, or damaged.
    """
    packed = response.headers.get("content-encoding", "identity").lower()
    if packed not in _UNPACKED:
        msg = f"it is packed as {packed!r}, though unpacked was asked for"
        raise zlib.error(msg)
    unpack = None if packed == "identity" else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    body = bytearray()
    async for raw in response.aiter_raw():
        body += raw if unpack is None else unpack.decompress(raw, most + 1 - len(body))
        if len(body) > most:
            break
    return bytes(body[: most + 1])


def _pause(attempt: int, wait: float | None) -> float:
    """Return the seconds until a request is repeated; each time longer, and never in step."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt)
    jitter = random.uniform(longest / 2, longest)  # noqa: S311  (no secret)
    return jitter if wait is None else wait + jitter


def _times(attempt: int, pause: float, timeout: float, outcome: _Trouble) -> str:
    """Return what to add to a message about how often was asked."""
    if not outcome.passing:
        return "."
    times = f" (asked {attempt + 1} times)" if attempt else ""
    if outcome.wait is None or pause <= timeout:
        return f"{times}."
    return f"{times}; it asks to wait {outcome.wait:.0f} s, and timeout is {timeout:g} s."


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for, in seconds or as a date; None for nonsense."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), 1e9)
    try:
        until = parsedate_to_datetime(value)
        if until.tzinfo is None:
            until = until.replace(tzinfo=timezone.utc)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _host(response: httpx.Response, location: str) -> str:
    """Return where a redirect leads, without path and query, in which anything could stand."""
    try:
        target = response.url.join(location)
    except (httpx.InvalidURL, ValueError):
        return "somewhere unreadable"
    return f"{target.scheme}://{target.host}" + (f":{target.port}" if target.port else "")
