"""Which rows a search may find, by their metadata: one notation, and what each store makes of it.

The notation is that of Chroma's `where`, which LangChain's stores share: `{"lang": "de"}`,
`{"year": {"$gte": 2000, "$lt": 2010}, "lang": {"$in": ["de", "fr"]}}`, and `{"$or": [{…}, {…}]}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from f2llm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from qdrant_client import models

#: A filter in the notation above.
Where = Mapping[str, Any]

_NUMERIC = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OF_LISTS = {"$in", "$nin"}
_COMPARISONS = {"$eq", "$ne", *_NUMERIC, *_OF_LISTS}
_GROUPS = ("$and", "$or")


class Condition(NamedTuple):
    """One comparison. `"$ne"` and `"$nin"` also hold for rows without the key.

    Attributes:
        key: Of the metadata.
        operator: One of `"$eq"`, `"$ne"`, `"$gt"`, `"$gte"`, `"$lt"`, `"$lte"`, `"$in"`, `"$nin"`.
        value: What to compare with: text, number, bool, or a list of them.
    """

    key: str
    operator: str
    value: Any


class Group(NamedTuple):
    """Conditions of which all must hold (`"$and"`), or any (`"$or"`)."""

    operator: str
    parts: tuple[Condition | Group, ...]


def parse(where: Where | None) -> Condition | Group | None:
    """Return what a filter means; None if it lets every row pass.

    Raises:
        ConfigurationError: It is none; the message names the part.
    """
    return _parse(where) if where else None


def _parse(where: object) -> Condition | Group:
    if not isinstance(where, Mapping) or not where:
        raise _wrong(where, 'expected a mapping such as {"lang": "de"}')
    parts: list[Condition | Group] = []
    for key, value in where.items():
        if key in _GROUPS:
            if not isinstance(value, (list, tuple)) or not value:
                raise _wrong(where, f"{key} takes a list of filters")
            parts.append(Group(key, tuple(map(_parse, value))))
        elif not isinstance(key, str) or key.startswith("$"):
            raise _wrong(where, f"{key!r} is no metadata key, nor {' or '.join(_GROUPS)}")
        else:
            comparisons = value if isinstance(value, Mapping) else {"$eq": value}
            parts += [_condition(key, *comparison) for comparison in comparisons.items()]
    if not parts:
        raise _wrong(where, "it compares nothing")
    return parts[0] if len(parts) == 1 else Group("$and", tuple(parts))


def _condition(key: str, operator: object, value: Any) -> Condition:  # noqa: ANN401
    said = {key: {operator: value}}
    if not isinstance(operator, str) or operator not in _COMPARISONS:
        raise _wrong(said, f"comparisons are {', '.join(sorted(_COMPARISONS))}")
    if operator in _OF_LISTS:
        if not isinstance(value, (list, tuple)) or not value:
            raise _wrong(said, f"{operator} takes a list of values")
        value = list(value)
    numeric = operator in _NUMERIC
    kinds = (int, float) if numeric else (str, int, float)  # a bool is an int
    if not all(isinstance(one, kinds) for one in (value if operator in _OF_LISTS else [value])):
        raise _wrong(said, f"{operator} compares {'' if numeric else 'texts and '}numbers")
    return Condition(key, operator, value)


def _wrong(where: object, reason: str) -> ConfigurationError:
    msg = f"{where!r} is no filter: {reason}."
    return ConfigurationError(msg)


def to_chroma(where: Where | None) -> dict[str, Any] | None:
    """Return a filter as Chroma takes it, which wants each conjunction spelt out."""

    def write(part: Condition | Group) -> dict[str, Any]:
        if isinstance(part, Condition):
            return {part.key: {part.operator: part.value}}
        if len(part.parts) == 1:
            return write(part.parts[0])
        return {part.operator: list(map(write, part.parts))}

    found = parse(where)
    return None if found is None else write(found)


def to_qdrant(where: Where | None, path: Callable[[str], str]) -> models.Filter | None:
    """Return a filter as Qdrant takes it.

    Args:
        where: The filter.
        path: From a metadata key to its place in a point's payload.
    """
    from qdrant_client import models

    def equal(key: str, value: Any) -> models.FieldCondition:  # noqa: ANN401
        if isinstance(value, float):  # which Qdrant matches by a range only
            return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def write(part: Condition | Group) -> models.Filter:
        if isinstance(part, Group):
            parts: list[Any] = list(map(write, part.parts))
            conjunction = part.operator == "$and"
            return models.Filter(must=parts) if conjunction else models.Filter(should=parts)
        key, operator, value = path(part.key), part.operator, part.value
        if operator in _NUMERIC:
            limits = models.Range(**{operator[1:]: value})
            return models.Filter(must=[models.FieldCondition(key=key, range=limits)])
        values = value if operator in _OF_LISTS else [value]
        if all(isinstance(one, str) for one in values):
            one_of = models.MatchAny(any=values)
            conditions: list[Any] = [models.FieldCondition(key=key, match=one_of)]
        else:
            conditions = [equal(key, one) for one in values]
        if operator in {"$ne", "$nin"}:
            return models.Filter(must_not=conditions)
        return models.Filter(should=conditions)

    found = parse(where)
    return None if found is None else write(found)


def to_sql(where: Where | None, metadata: str) -> tuple[str, dict[str, Any]]:
    """Return a filter as a condition of PostgreSQL, and its parameters.

    Args:
        where: The filter.
        metadata: Expression of a row's metadata as jsonb, never NULL.
    """
    numbers, values = count(), dict[str, Any]()

    def parameter(value: object, kind: str) -> str:
        name = f"where_{next(numbers)}"
        values[name] = value
        return f"CAST(:{name} AS {kind})"

    def write(part: Condition | Group) -> str:
        if isinstance(part, Group):
            joint = " AND " if part.operator == "$and" else " OR "
            return f"({joint.join(map(write, part.parts))})"
        key, operator, value = part
        if operator in _NUMERIC:
            field = f"{metadata} -> {parameter(key, 'text')}"
            limit = parameter(json.dumps(value), "jsonb")
            # Numbers only: jsonb compares all else with them, too.
            return f"(jsonb_typeof({field}) = 'number' AND {field} {_NUMERIC[operator]} {limit})"
        if operator in _OF_LISTS:  # one comparison with all: a value is searched for among them
            among = parameter(list(map(json.dumps, value)), "jsonb[]")
            found = f"({metadata} -> {parameter(key, 'text')} = ANY({among}))"
        else:
            found = f"({metadata} @> {parameter(json.dumps({key: value}), 'jsonb')})"
        return f"({found} IS NOT TRUE)" if operator in {"$ne", "$nin"} else found

    found = parse(where)
    return ("true" if found is None else write(found)), values
