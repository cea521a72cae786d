"""Dataclasses from JSON types, every field checked for its shape."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from f2llm_core.errors import DataError


def build(kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401  (any field's type)
    """Return JSON types as the type of a field.

    Args:
        kind: A dataclass, or the type of a field of one.
        value: From a JSON file.
        place: Name of the field, for messages.

    Raises:
        DataError: The value has another form.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or value.keys() != names:
            msg = f"{place}: expected an object with the fields {', '.join(sorted(names))}"
            raise DataError(msg)
        made = {name: build(hints[name], value[name], f"{place}.{name}") for name in value}
        return kind(**made)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return None if value is None else build(inner[0], value, place)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            msg = f"{place}: expected a list, not a {type(value).__name__}"
            raise DataError(msg)
        return tuple(build(inner[0], one, f"{place}[{i}]") for i, one in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            msg = f"{place}: expected an object, not a {type(value).__name__}"
            raise DataError(msg)
        return {key: build(inner[1], one, f"{place}.{key}") for key, one in value.items()}
    return value
