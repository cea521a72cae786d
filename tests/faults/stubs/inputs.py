"""Doors for texts that are broken on purpose, each in one way that a check must find."""

from __future__ import annotations

import unicodedata

import numpy as np


def door_that_raises_untyped_errors(door):
    """What the tokenizer itself would say to a text that is none."""

    def open_door(texts):
        if any(not isinstance(text, str) for text in texts):
            msg = "TextInputSequence must be str"
            raise TypeError(msg)
        return door(texts)

    return open_door


def door_that_lets_everything_through(door):
    """Careless repair instead of an error."""

    def open_door(texts):
        return door([str(text).encode("utf-8", "replace").decode() for text in texts])

    return open_door


def door_that_names_the_wrong_text(door):
    """Leaves out what is bad, and counts what is left."""

    def open_door(texts):
        try:
            return door(texts)
        except ValueError as error:
            error.index += 1
            raise

    return open_door


def door_that_returns_nan_for_blanks(door):
    """A mean over no tokens."""

    def open_door(texts):
        rows = np.array(door(texts))
        rows[[not text.strip() for text in texts]] = np.nan
        return rows

    return open_door


def door_that_mixes_neighbours(door):
    """Centres a batch, so that a vector depends on what it is batched with."""

    def open_door(texts):
        rows = np.array(door(texts))
        rows = rows - 0.2 * rows.mean(axis=0)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return open_door


def door_that_ruins_neighbours_with_nan(door):
    """Divides by what is in the middle of a batch, and keeps that only."""

    def open_door(texts):
        rows = np.array(door(texts))
        if len(rows) > 2:
            rows[[0, -1]] = np.nan
        return rows

    return open_door


def door_that_stretches_neighbours(door):
    """Forgets to normalise the first and the last of a batch."""

    def open_door(texts):
        rows = np.array(door(texts))
        if len(rows) > 2:
            rows[[0, -1]] *= 2
        return rows

    return open_door


def door_that_loses_the_last(door):
    """Returns a row too few."""

    def open_door(texts):
        return door(texts)[:-1] if len(texts) > 1 else door(texts)

    return open_door


def door_that_chokes_on(category, door):
    """Fails at one Unicode category only."""

    def open_door(texts):
        if any(unicodedata.category(c) == category for text in texts for c in text):
            raise KeyError(category)
        return door(texts)

    return open_door


class CutsOneTokenMore:
    """An encoder whose limit is off by one."""

    def __init__(self, encoder, missing=0):
        self._encoder = encoder
        self._missing = missing

    def with_options(self, *, max_length=None, **options):
        if max_length is not None:
            options |= {"max_length": max_length - 1}
        return CutsOneTokenMore(self._encoder.with_options(**options))

    def __getattr__(self, name):
        return getattr(self._encoder, name)


class ReturnsNanAtTheLimit:
    """An encoder that has no vector for a text of exactly `max_length` tokens."""

    def __init__(self, encoder, limit=None):
        self._encoder = encoder
        self._limit = limit

    def with_options(self, **options):
        limit = options.get("max_length", self._limit)
        return ReturnsNanAtTheLimit(self._encoder.with_options(**options), limit)

    def encode_document(self, text):
        row = self._encoder.encode_document(text)
        return row * np.nan if self._limit == len(text) + 1 else row
