"""Pauses between attempts, and what of an answer decides them."""

from __future__ import annotations

import gzip
import zlib
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from f2llm_core.backends.endpoint.client import _pause, _read, _seconds


def test_pauses_grow_and_are_never_in_step():
    pauses = [[_pause(attempt, None) for _ in range(50)] for attempt in range(8)]
    assert all(0.125 <= pause <= 0.25 for pause in pauses[0])
    assert all(4 <= pause <= 8 for pause in pauses[7])
    assert all(len(set(some)) > 40 for some in pauses)


def test_a_server_that_says_when_is_not_asked_sooner():
    assert all(3 < _pause(0, 3.0) <= 3.25 for _ in range(50))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 40, 1e9),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 -0000", 0),
        *((nonsense, None) for nonsense in ("", "-5", "1.5", "soon", "٣", "Thu, 99 Foo", "1e9")),
    ],
)
def test_what_retry_after_asks_for(said, seconds):
    assert _seconds({"retry-after": said}) == seconds


def test_retry_after_as_a_date():
    until = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert 85 < _seconds({"retry-after": format_datetime(until, usegmt=True)}) <= 90


class Response:
    """What is read of an answer."""

    def __init__(self, body, **headers):
        self.headers = headers
        self.body = body

    async def aiter_raw(self):
        for start in range(0, len(self.body), 7):
            yield self.body[start : start + 7]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
async def test_packed_answers_are_unpacked(encoding, pack):
    body = b"rows " * 100
    assert await _read(Response(pack(body), **{"content-encoding": encoding}), 1000) == body


async def test_an_answer_packed_as_nobody_asked_is_said():
    with pytest.raises(zlib.error, match="it is packed as 'br', though unpacked was asked for"):
        await _read(Response(b"x", **{"content-encoding": "br"}), 1000)


def test_no_retry_after():
    assert _seconds({}) is None
