"""What filters mean, and what is none; that all stores agree is tested with the stores."""

from __future__ import annotations

import pytest

from f2llm_core import ConfigurationError
from f2llm_core.stores.filters import Condition, Group, parse, to_chroma, to_qdrant, to_sql
from store_kinds import MemoryStore

DE, OLD = Condition("lang", "$eq", "de"), Condition("year", "$lt", 2000)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, None),
        ({}, None),
        ({"lang": "de"}, DE),
        ({"lang": {"$eq": "de"}}, DE),
        ({"lang": "de", "year": {"$lt": 2000}}, Group("$and", (DE, OLD))),
        ({"$and": [{"lang": "de"}, {"year": {"$lt": 2000}}]}, Group("$and", (DE, OLD))),
        ({"$or": [{"lang": "de"}]}, Group("$or", (DE,))),
        ({"lang": {"$in": ("de", 1, True)}}, Condition("lang", "$in", ["de", 1, True])),
    ],
)
def test_the_notation(where, expected):
    assert parse(where) == expected


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({"lang": None}, r"\{'lang': \{'\$eq': None\}\} is no filter: .*texts and numbers"),
        ({"lang": {"$like": "d%"}}, r"comparisons are \$eq, \$gt"),
        ({"year": {"$gt": "2000"}}, r"\$gt compares numbers"),
        ({"lang": {"$in": []}}, r"\$in takes a list of values"),
        ({"lang": {"$in": "de"}}, r"\$in takes a list of values"),
        ({"lang": {"$nin": ["de", None]}}, "compares texts and numbers"),
        ({"lang": {}}, "it compares nothing"),
        ({"$or": []}, r"\$or takes a list of filters"),
        ({"$or": {"lang": "de"}}, r"\$or takes a list of filters"),
        ({"$or": [{}]}, "expected a mapping"),
        ({"$not": {"lang": "de"}}, r"'\$not' is no metadata key, nor \$and or \$or"),
        ({1: "de"}, "1 is no metadata key"),
        ("lang = de", "expected a mapping"),
    ],
)
def test_what_is_no_filter(where, reason):
    with pytest.raises(ConfigurationError, match=reason):
        parse(where)
    with pytest.raises(ConfigurationError, match="is no filter"):
        MemoryStore().search([1.0], 3, where=where)


def test_chroma_wants_each_conjunction_spelt_out():
    assert to_chroma({"lang": "de", "year": {"$gte": 1, "$lt": 9}}) == {
        "$and": [{"lang": {"$eq": "de"}}, {"year": {"$gte": 1}}, {"year": {"$lt": 9}}]
    }
    assert to_chroma({"$or": [{"lang": "de"}]}) == {"lang": {"$eq": "de"}}


def test_nothing_means_every_row():
    assert to_chroma({}) is None
    assert to_qdrant({}, str) is None
    assert to_sql({}, "metadata") == ("true", {})


def test_values_reach_sql_as_parameters_only():
    sql, values = to_sql({"a') OR true --": "x' OR true --"}, "metadata")
    assert sql == "(metadata @> CAST(:where_0 AS jsonb))"
    assert list(values) == ["where_0"]


def test_many_values_are_one_comparison():
    where = {"lang": {"$in": [f"language {i}" for i in range(1000)]}}
    sql, values = to_sql(where, "metadata")
    assert sql.count("metadata") == 1
    assert len(values) == 2
    assert len(to_qdrant(where, str).should) == 1
