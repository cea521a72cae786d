"""Loaders of model folders that are broken on purpose, each in one way that a check must find."""

from __future__ import annotations

import contextlib
import json
import pickle
import runpy

import numpy as np

from f2llm_core import ModelError


def load_whatever_there_is(load):
    """Fills with zeros what it cannot read."""

    def load_anyway(folder):
        try:
            return load(folder)
        except ModelError:
            return np.zeros(64, dtype=np.float32)

    return load_anyway


def load_with_untyped_errors(load):
    """Lets through what the libraries below it raise."""

    def load_raw(folder):
        try:
            return load(folder)
        except ModelError as error:
            raise KeyError(str(folder)) from error

    return load_raw


def load_with_errors_that_name_nothing(load):
    """Says that something is wrong, but not where."""

    def load_silently(folder):
        try:
            return load(folder)
        except ModelError as error:
            msg = "cannot load the model"
            raise ModelError(msg) from error

    return load_silently


def load_after_opening_every_shard(load):
    """Takes the names in an index for paths."""

    def load_anywhere(folder):
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            for name in json.loads(index.read_text())["weight_map"].values():
                with contextlib.suppress(OSError, ValueError):
                    (folder / str(name)).open("rb").close()
        return load(folder)

    return load_anywhere


def load_after_unpickling(load):
    """Opens pickled weights if there are any."""

    def load_pickled(folder):
        for path in folder.glob("*.bin"):
            with path.open("rb") as file:
                pickle.load(file).close()
        return load(folder)

    return load_pickled


def load_after_running_code(load):
    """Trusts remote code."""

    def load_trusting(folder):
        for path in folder.glob("*.py"):
            runpy.run_path(str(path))
        return load(folder)

    return load_trusting
