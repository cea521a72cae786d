"""What is given for a text: things that are none, and texts that break careless code."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import io
import itertools
import pathlib
import random
import re
import sys
import types
import unicodedata
import uuid
from collections import UserString, deque

import numpy as np
from texts import AWKWARD, SCRIPTS

GOOD = ("A telescope shows galaxies.", "def add(a, b): return a + b")
SURROGATES = range(0xD800, 0xE000)


class Hostile:
    """Raises whatever way it is looked at."""

    def __str__(self):
        raise RuntimeError

    __repr__ = __len__ = __iter__ = __bool__ = __hash__ = __str__


class Named(str, enum.Enum):
    A = "a text"


class Lying(str):
    """A lone surrogate that says it can be encoded."""

    __slots__ = ()

    def encode(self, *_):
        return b"fine"


def not_texts():
    """Return what is no text, each a fresh object."""
    return [
        None, True, False, 0, 1, -1.5, float("nan"), float("inf"), 1j, 10**30,
        b"", b"bytes", bytearray(b"x"), memoryview(b"x"),
        [], ["a"], ["a", "b"], (), ("a",), ("a", "b"), {}, {"text": "a"}, set(), {"a"},
        frozenset("a"), deque("a"), range(2), iter("ab"), (c for c in "ab"),
        object(), object, str, len, Ellipsis, NotImplemented, types,
        np.int64(1), np.float32("nan"), np.bool_(True), np.array("a"), np.array(["a"]),
        np.datetime64("NaT"), np.ma.masked,
        decimal.Decimal("NaN"), fractions.Fraction(1, 2), datetime.date.min,
        pathlib.PurePath("a"), uuid.UUID(int=0), re.compile("a"), io.StringIO("a"),
        ValueError("a"), UserString("a"), types.SimpleNamespace(text="a"), Hostile(),
        Lying("\ud800"),
    ]  # fmt: skip


def texts_of_every_category(per_category, seed=0):
    """Return characters of all Unicode categories but surrogates: alone, inside, repeated."""
    rng = random.Random(seed)
    members = {}
    for code in itertools.chain(range(0xD800), range(0xE000, sys.maxunicode + 1)):
        members.setdefault(unicodedata.category(chr(code)), []).append(code)
    assert len(members) == 29
    found = []
    for codes in members.values():
        for code in rng.sample(codes, min(per_category, len(codes))):
            found += [chr(code), f"word{chr(code)}word {chr(code)} end", chr(code) * 40]
    return found


def control_characters():
    """Return every C0 and C1 control character, alone and inside a text."""
    codes = [*range(0x20), *range(0x7F, 0xA0)]
    return [shape.format(chr(c)) for c in codes for shape in ("{0}", "a{0}b", "line{0}", "{0}x")]


def blanks():
    """Return what looks empty."""
    wide = "\u00a0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    unseen = "\u00ad\u034f\u061c\u115f\u17b4\u180e\u200b\u200c\u200d\u200e\u2060\u3164\ufeff\uffa0"
    return ["", " ", "\t", "\n", "\r", "\r\n", "\v", "\f", " \n\t" * 50, *wide, *unseen]


def control_tokens():
    """Return the strings that Qwen's tokenizer knows as tokens, in five positions each."""
    parts = ("im", "object_ref", "box", "quad", "vision")
    names = [f"{part}_{end}" for part in parts for end in ("start", "end")]
    names += [f"{kind}_pad" for kind in ("vision", "image", "video", "fim")]
    names += ["endoftext", "fim_prefix", "fim_middle", "fim_suffix", "repo_name", "file_sep"]
    tokens = [f"<|{name}|>" for name in names]
    tokens += ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>"]
    shapes = ("{0}", "{0} a text", "a {0} text", "a text {0}", "a text{0}{0}")
    return [shape.format(token) for token in tokens for shape in shapes]


def awkward_texts(per_category):
    """Return texts that are texts, however they look."""
    return [
        *AWKWARD,
        *SCRIPTS.values(),
        *blanks(),
        *control_characters(),
        *control_tokens(),
        *texts_of_every_category(per_category),
        *(np.str_("numpy's"), Named.A),
    ]
