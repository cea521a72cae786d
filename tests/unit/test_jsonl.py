"""Files of JSON lines: what is read of them, and how broken lines are named."""

from __future__ import annotations

import pytest

from f2llm_core import InputError
from f2llm_core.indexing.jsonl import read_jsonl


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "some.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = list(read_jsonl(path, **options))
        assert all(place.startswith(f"{path}:") for place, _ in found)
        return [(int(place.rpartition(":")[2]), record) for place, record in found]

    return read


def test_records(read):
    content = '\ufeff{"id": "a", "text": "우주", "n": 1, "no": null}\r\n\n{"id": 7, "text": ""}\n'
    content += '{"text": "c"}'
    assert read(content) == [
        (1, ("a", "우주", {"n": 1})),
        (3, ("7", "", {})),
        (4, (None, "c", {})),
    ]


def test_fields_by_other_names(read):
    content = '{"key": "a", "id": 1, "body": "b", "x": 2, "y": 3}'
    [(_, record)] = read(content, text_field="body", id_field="key", metadata_fields=["x", "z"])
    assert record == ("a", "b", {"x": 2})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not valid JSON (Expecting property name"),
        (b'{"text": "a"} {}', "not valid JSON (Extra data)"),
        (b'{"text": "\xff"}', "not UTF-8 (byte 0xff)"),
        (b"[" * 100_000, "not valid JSON"),
        (b'["text"]', "expected a JSON object, not a list"),
        (b'{"id": "a"}', "no field 'text'; it has 'id'"),
        (b'{"text": null}', "its field 'text' is null"),
        (b'{"text": "a"}', "no field 'id'; it has 'text'"),
    ],
)
def test_a_broken_line_is_one_error_and_the_next_is_read(read, line, reason):
    good = b'{"id": "g", "text": "good"}'
    found = read(b"\n".join([good, line, good]), id_field="id")
    assert [number for number, _ in found] == [1, 2, 3]
    assert found[0][1] == found[2][1] == ("g", "good", {})
    error = found[1][1]
    assert isinstance(error, InputError)
    assert str(error).startswith(reason)
