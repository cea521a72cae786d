"""What a server can do wrong, as scripts: each with what must come of it."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache

import numpy as np

from f2llm_core import (
    EndpointModelError,
    EndpointRefusedError,
    EndpointResponseError,
    EndpointTimeoutError,
    EndpointUnavailableError,
)
from faults.channels import SENTINEL
from faults.faulty_server import CLOSE, RESET, Request, answer, items, reply

RETRIES = 3
PASSING = (408, 429, 500, 502, 503, 504)
HOPELESS = (400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 418, 422, 424, 451, 501, 505)
REDIRECTS = (301, 302, 303, 307, 308)

Answer = Callable[[Request, int], Iterable[object]]


@dataclass(frozen=True)
class Fault:
    """One way in which a server answers.

    Attributes:
        name: Of the fault.
        answer: What is sent for a request, and for how many of this call came before it.
        error: What must be raised; None where the right rows must come.
        attempts: How often the server must be asked; None where that is not fixed.
        texts: How many are asked for.
    """

    name: str
    answer: Answer
    error: type[Exception] | None = None
    attempts: int | None = 1
    texts: int = field(default=4)


def body(name: str, change: Callable[[Request], object], error: type[Exception] | None) -> Fault:
    """A whole answer: bytes, or JSON made of the request."""
    return Fault(name, lambda request, _: reply(change(request)), error)


def data(name: str, change: Callable[[list], object], error: type[Exception] | None) -> Fault:
    """A right answer with its list of embeddings changed."""
    return Fault(name, lambda request, _: answer(request, data=change(items(request.texts))), error)


def each(change: Callable[[list[float]], object]) -> Callable[[list], list]:
    """Change the vector of every embedding."""
    return lambda found: [item | {"embedding": change(item["embedding"])} for item in found]


def one(change: Callable[[list[float]], object]) -> Callable[[list], list]:
    """Change the vector of the third embedding."""
    return lambda found: [*found[:2], *each(change)(found[2:3]), *found[3:]]


def indices(*numbers: object) -> Callable[[list], list]:
    """Number the embeddings otherwise; `...` for none."""
    return lambda found: [
        {key: value for key, value in (item | {"index": n}).items() if value is not ...}
        for item, n in zip(found, numbers, strict=True)
    ]


def coded(vector: list[float]) -> str:
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()


def orders(amount: int, rng: random.Random) -> Iterator[Fault]:
    """All orders of four, and some of more."""
    for order in itertools.permutations(range(4)):
        yield data(f"order {order}", lambda found, o=order: [found[i] for i in o], None)
    for number in range(amount):
        count = rng.randint(2, 32)
        order = rng.sample(range(count), count)
        script = data(f"random order {number}", lambda found, o=order: [found[i] for i in o], None)
        yield Fault(script.name, script.answer, None, texts=count)


def disguises() -> Iterator[Fault]:
    """Right answers that look otherwise."""
    yield data("no index", indices(..., ..., ..., ...), None)
    yield data("index null", indices(None, None, None, None), None)
    yield data("base64", each(coded), None)
    yield data("some base64", one(coded), None)
    yield body("pretty", lambda r: json.dumps({"data": items(r.texts)}, indent=4).encode(), None)
    yield body("no model", lambda r: {"data": items(r.texts)}, None)
    yield body("model null", lambda r: {"model": None, "data": items(r.texts)}, None)
    yield body("model with a tag", lambda r: {"model": "Model:F16", "data": items(r.texts)}, None)

    def packed(name: str, pack: Callable[[bytes], bytes]) -> Fault:
        def script(request: Request, _: int) -> list[bytes]:
            whole = json.dumps({"data": items(request.texts)}).encode()
            return reply(pack(whole), Content_Encoding=name)

        return Fault(name, script)

    yield packed("gzip", gzip.compress)
    yield packed("deflate", zlib.compress)
    yield packed("identity", bytes)

    def raw(name: str, head: bytes, cut: Callable[[bytes], list[object]]) -> Fault:
        def script(request: Request, _: int) -> list[object]:
            whole = json.dumps({"data": items(request.texts)}).encode()
            return [head.replace(b"SIZE", str(len(whole)).encode()), *cut(whole)]

        return Fault(name, script)

    ok, sized = b"HTTP/1.1 200 OK\r\n", b"Content-Length: SIZE\r\n\r\n"
    halves = lambda whole: [whole[:999], 0.05, whole[999:]]  # noqa: E731
    yield raw("no content type", ok + sized, lambda whole: [whole])
    yield raw("plain text", ok + b"Content-Type: text/plain\r\n" + sized, lambda whole: [whole])
    yield raw("in two pieces", ok + sized, halves)
    yield raw("until the end", b"HTTP/1.0 200 OK\r\n\r\n", lambda whole: [whole, CLOSE])
    yield raw("closed after", ok + b"Connection: close\r\n" + sized, lambda whole: [whole, CLOSE])
    yield raw("early hints", b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok + sized, lambda w: [w])
    yield raw(
        "chunked",
        ok + b"Transfer-Encoding: chunked\r\n\r\n",
        lambda whole: [b"%x\r\n%b\r\n" % (len(whole), whole), b"0\r\n\r\n"],
    )


def malformed() -> Iterator[Fault]:
    """Answers of which nothing may be believed."""
    bad = EndpointResponseError
    numbers = {
        "missing one": (0, 1, ..., 3),
        "duplicate": (0, 1, 1, 3),
        "out of range": (0, 1, 2, 4),
        "negative": (-1, 0, 1, 2),
        "from one": (1, 2, 3, 4),
        "strings": ("0", "1", "2", "3"),
        "floats": (0.0, 1.0, 2.0, 3.0),
        "bools": (False, True, 2, 3),
        "null one": (0, None, 2, 3),
        "all zero": (0, 0, 0, 0),
    }
    for name, found in numbers.items():
        yield data(f"index {name}", indices(*found), bad)
    lists: dict[str, Callable[[list], object]] = {
        "short": lambda found: found[:3],
        "long": lambda found: [*found, found[0]],
        "empty": lambda _: [],
        "twice": lambda found: found * 2,
        "null": lambda _: None,
        "object": lambda found: {"0": found[0]},
        "text": lambda _: "data",
        "of null": lambda _: [None] * 4,
        "of vectors": lambda found: [item["embedding"] for item in found],
        "mixed widths": one(lambda v: v[:32]),
    }
    for name, change in lists.items():
        yield data(f"data {name}", change, bad)
    vectors: dict[str, Callable[[list[float]], object]] = {
        "missing": lambda _: None,
        "empty": lambda _: [],
        "of null": lambda v: [None, *v[1:]],
        "of text": lambda v: [str(x) for x in v],
        "with text": lambda v: ["0.1", *v[1:]],
        "of bools": lambda v: [True for _ in v],
        "per token": lambda v: [v, v, v],
        "in a list": lambda v: [v],
        "an object": lambda v: dict(enumerate(v)),
        "a number": lambda v: v[0],
        "NaN": lambda v: [float("nan"), *v[1:]],
        "all NaN": lambda v: [float("nan")] * len(v),
        "infinity": lambda v: [float("inf"), *v[1:]],
        "beyond float32": lambda v: [1e39, *v[1:]],
        "huge integer": lambda v: [10**400, *v[1:]],
        "zeros": lambda v: [0.0] * len(v),
        "empty text": lambda _: "",
        "no base64": lambda _: "§§§§",
        "base64 with noise": lambda v: f"{coded(v)[:-8]}!!!!{coded(v)[-4:]}",
        "base64 of 3 bytes": lambda _: base64.b64encode(b"abc").decode(),
        "base64 of NaN": lambda v: coded([float("nan")] * len(v)),
        "base64 of zeros": lambda v: coded([0.0] * len(v)),
        "base64 cut": lambda v: coded(v)[:128],
    }
    for name, change in vectors.items():
        yield data(f"vector {name}", one(change), bad)
    for width in (1, 8, 32, 63):
        yield data(f"width {width}", each(lambda v, w=width: v[:w]), EndpointModelError)
    yield data("width 128", each(lambda v: v * 2), EndpointModelError)
    yield data("float64 in base64", each(lambda v: coded(v + v)), EndpointModelError)
    for model in ("bge-m3", "text-embedding-3-large", SENTINEL):
        right = lambda r, m=model: {"model": m, "data": items(r.texts)}  # noqa: E731
        yield body(f"model {model[:3]}", right, EndpointModelError)
    yield from _no_json(bad)


def _no_json(bad: type[Exception]) -> Iterator[Fault]:
    html = b"<!doctype html><title>502</title>" + SENTINEL.encode()
    bodies: dict[str, bytes] = {
        "HTML": html,
        "nothing": b"",
        "white space": b"  \n",
        "half": b'{"data": [{"index": 0, "embed',
        "number": b"1",
        "null": b"null",
        "text": b'"data"',
        "list": b"[]",
        "empty object": b"{}",
        "nested": b"[" * 100_000,
        "nested objects": b'{"data":' * 50_000,
        "not UTF-8": b'{"data": "\xff\xfe"}',
        "error with 200": json.dumps({"error": {"message": f"bad {SENTINEL}"}}).encode(),
        "stream": b'data: {"object": "list"}\n\ndata: [DONE]\n\n',
    }
    for name, whole in bodies.items():
        yield Fault(f"body {name}", lambda _r, _n, w=whole: reply(w), bad)
    yield body("BOM twice", lambda r: "\ufeff\ufeff".encode() + str(r.texts).encode(), bad)

    def encoded(name: str, whole: bytes, error: type[Exception], attempts: int) -> Fault:
        script = lambda _r, _n: reply(whole, Content_Encoding=name.split()[0])  # noqa: E731
        return Fault(f"encoding {name}", script, error, attempts)

    again = RETRIES + 1
    yield encoded("gzip bomb", bomb(31), bad, 1)
    yield encoded("deflate bomb", bomb(15), bad, 1)
    yield encoded("gzip of HTML", gzip.compress(html), bad, 1)
    yield encoded("gzip cut", gzip.compress(b'{"data": []}' * 99)[:40], bad, 1)
    yield encoded("gzip damaged", b"\x1f\x8b" + html, EndpointUnavailableError, again)
    yield encoded("br", b"\x8b\x00\x80", EndpointUnavailableError, again)

    def endless(_request: Request, _number: int) -> Iterator[object]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        while True:
            yield b" " * 65536

    yield Fault("a billion bytes", endless, bad)


@cache
def bomb(wbits: int) -> bytes:
    """Return a quarter of a megabyte that unpacks to 256."""
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])


def broken() -> Iterator[Fault]:
    """Connections that end too early: for ever, or once."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
    ends: dict[str, list[object]] = {
        "reset at once": [RESET],
        "closed at once": [CLOSE],
        "reset in the head": [b"HTTP/1.1 200", RESET],
        "closed in the head": [b"HTTP/1.1 200 OK\r\nContent-", CLOSE],
        "reset after the head": [ok, 0.01, RESET],
        "closed after the head": [ok, CLOSE],
        "reset in the body": [ok, b'{"data": [', 0.01, RESET],
        "closed in the body": [ok, b'{"data": [', CLOSE],
        "closed in a chunk": [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{",
            CLOSE,
        ],
        "wrong chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", CLOSE],
        "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE],
        "bad status": [b"HTTP/1.1 abc OK\r\n\r\n", CLOSE],
        "bad header": [b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", CLOSE],
        "two lengths": [ok[:-2] + b"Content-Length: 7\r\n\r\n{}", CLOSE],
        "endless head": [b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000, CLOSE],
    }
    for name, steps in ends.items():
        yield Fault(name, lambda _r, _n, s=steps: s, EndpointUnavailableError, RETRIES + 1)
        once = lambda r, n, s=steps: answer(r) if n else s  # noqa: E731
        yield Fault(f"{name}, once", once, None, 2)


def statuses(amount: int, rng: random.Random) -> Iterator[Fault]:
    """Errors that pass and such that do not, in sequences."""
    said = f"no: Bearer {SENTINEL}"
    for status in HOPELESS:
        script = lambda _r, _n, s=status: reply({"error": said}, s)  # noqa: E731
        yield Fault(f"{status}", script, EndpointRefusedError, 1, texts=1)
    waits = (None, "0", "0", formatdate(0), "Thu, 99 Foo", "-5", "soon", "1e9", "٣", "")
    for number in range(amount):
        length = rng.randint(1, RETRIES + 2)
        sequence = [(rng.choice(PASSING), rng.choice(waits)) for _ in range(length)]

        def script(request: Request, n: int, steps: list = sequence) -> list[bytes]:
            if n >= len(steps):
                return answer(request)
            status, wait = steps[n]
            more = {} if wait is None else {"Retry_After": wait.encode("ascii", "replace").decode()}
            return reply({"error": said}, status, **more)

        ends = length <= RETRIES
        error = None if ends else EndpointUnavailableError
        yield Fault(f"sequence {number} {sequence}", script, error, min(length, RETRIES) + 1)
    for wait in ("1000", "99999999999999999999", formatdate(4e9, usegmt=True)):
        script = lambda _r, _n, w=wait: reply({}, 503, Retry_After=w)  # noqa: E731
        yield Fault(f"Retry-After {wait}", script, EndpointUnavailableError, 1)


def redirects(other: str, own: str) -> Iterator[Fault]:
    """To eight kinds of target; `other` is a server that must see nothing.

    They do not hold the key: httpx writes a server's headers to its debug log.
    """
    targets = {
        "another server": f"{other}/v1/embeddings?key=k",
        "without a scheme": f"//{other.partition('//')[2]}/",
        "itself": "/v1/embeddings/",
        "itself by TLS": own.replace("http:", "https:"),
        "the cloud's metadata": "http://169.254.169.254/latest/meta-data/",
        "nowhere": "ht!tp://[::bad",
        "with credentials": other.replace("//", "//user:password@"),
        "unsaid": "",
    }
    for status, (name, target) in itertools.product(REDIRECTS, targets.items()):
        script = lambda _r, _n, s=status, t=target: reply({}, s, Location=t)  # noqa: E731
        yield Fault(f"{status} to {name}", script, EndpointRefusedError)


def stalls() -> Iterator[Fault]:
    """Servers that take their time, each on its own way."""
    ok, late = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", EndpointTimeoutError
    drip = [step for _ in range(60) for step in (b" ", 1.0)]
    steps: dict[str, list[object]] = {
        "no answer": [60.0],
        "half a head": [b"HTTP/1.1 200 OK\r\nContent-", 60.0],
        "one byte a second of the head": [b"HTTP/1.1 200 OK\r\nA: ", *drip],
        "no body": [ok, 60.0],
        "half a body": [ok, b'{"data": [', 60.0],
        "one byte a second": [ok, *drip],
        "one byte a second of an error": [b"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\n", *drip],
        "one byte a second in chunks": [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            *[step for _ in range(60) for step in (b"1\r\n \r\n", 1.0)],
        ],
        "early hints for ever": [
            step for _ in range(60) for step in (b"HTTP/1.1 103 Wait\r\n\r\n", 0.2)
        ],
        "an error, then nothing": [*reply({}, 503)],
    }
    for name, found in steps.items():
        script = lambda _r, n, s=found: s if n == 0 or len(s) > 1 else [60.0]  # noqa: E731
        yield Fault(f"stalled: {name}", script, late, None)
