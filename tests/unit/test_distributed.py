"""Tables into a folder: what is embedded, skipped and refused, and what a killed writer leaves."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2llm_core import (
    ConfigurationError,
    F2LLMWarning,
    FingerprintError,
    StoreError,
    TruncationWarning,
)
from f2llm_core.distributed import embed_tables, read_tables
from f2llm_core.distributed import folder as folder_module
from f2llm_core.distributed.block import BlockEmbedder
from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.keys import find, make_keys, repeated, sort_keys, text_hash
from f2llm_core.distributed.rows import Columns, check_rows
from f2llm_core.indexing import Failure


def table(*rows):
    ids, texts = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"id": list(ids), "text": list(texts)})


def numbered(*numbers):
    return table(*((f"{n}", f"Text {n}.") for n in numbers))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "vectors"


@pytest.fixture
def embed(encoder, output):
    def embed(*tables, model=encoder, **options):
        return embed_tables(tables, model, output, **options)

    return embed


def vectors_of(output):
    found = pq.read_table(output)
    vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(found.num_rows, -1)
    ids = found["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, vectors, strict=True))


def parts(output):
    return sorted(output.glob("part-*"))


def test_vectors_are_those_of_the_model(embed, encoder, output):
    report = embed(numbered(1, 2, 3), numbered(4, 5))
    assert (report.embedded, report.skipped, report.failed) == (5, 0, ())
    texts = [f"Text {n}." for n in range(1, 6)]
    assert report.tokens == sum(encoder.count_tokens(texts))
    found = vectors_of(output)
    right = encoder.encode_document(texts)
    np.testing.assert_allclose(np.stack([found[f"{n}"] for n in range(1, 6)]), right, atol=1e-6)
    assert len(parts(output)) == 2


def test_a_part_says_what_it_is(embed, encoder, output):
    embed(numbered(1), model=encoder.with_options(dimensions=32), vector_dtype="float16")
    schema = pq.read_schema(parts(output)[0])
    assert schema.field("vector").type == pa.list_(pa.float16(), 32)
    stamp = json.loads((output / "_fingerprint.json").read_text("utf-8"))
    assert json.loads(schema.metadata[b"f2llm_fingerprint"]) == stamp
    assert stamp["dimensions"] == 32
    [vector] = vectors_of(output).values()
    assert abs(np.linalg.norm(vector.astype(np.float32)) - 1) < 1e-3


def test_the_same_call_again_embeds_nothing(embed, encoder, output):
    embed(numbered(1, 2, 3))
    before = {path: path.read_bytes() for path in parts(output)}
    passes = encoder.stats.passes
    report = embed(numbered(3, 2), numbered(1))
    assert (report.embedded, report.skipped, report.failed) == (0, 3, ())
    assert encoder.stats.passes == passes
    assert {path: path.read_bytes() for path in parts(output)} == before


def test_a_stopped_call_is_completed(embed, encoder, output):
    def stops():
        yield numbered(1, 2)
        raise StoreError("the input is gone.")

    with pytest.raises(StoreError, match=r"is gone\. 2 rows were written before; the same call"):
        embed_tables(stops(), encoder, output)
    report = embed(numbered(1, 2), numbered(3))
    assert (report.embedded, report.skipped) == (1, 2)


def test_an_error_before_anything_was_written_promises_nothing(encoder, output):
    def fails():
        raise StoreError("there is no input.")
        yield

    with pytest.raises(StoreError, match=r"^there is no input\.$"):
        embed_tables(fails(), encoder, output)


def test_what_cannot_be_read_is_said_before_a_folder_is_made(encoder, tmp_path, output):
    with pytest.raises(ConfigurationError, match="is no file, or folder of files"):
        embed_tables(read_tables([tmp_path / "corpus.txt"]), encoder, output)
    assert not output.exists()


def test_a_part_is_there_whole_or_not_at_all(embed, output, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    embed(numbered(1))
    monkeypatch.setattr(folder_module.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        embed(numbered(2))
    monkeypatch.undo()
    assert len(parts(output)) == 1
    (output / ".unfinished-by-a-killed-process").write_bytes(b"PAR1 half")
    assert vectors_of(output).keys() == {"1"}
    assert embed(numbered(1, 2)).embedded == 1
    assert not list(output.glob(".unfinished*"))


def test_an_id_stands_for_one_text(embed, encoder, output):
    twice = table(("a", "A."), ("b", "B."), ("a", "A."), ("a", "Other."))
    report = embed(twice, table(("b", "B."), ("c", "C.")), table(("c", "Another.")))
    assert (report.embedded, report.skipped) == (3, 2)
    assert [one.place for one in report.failed] == ["id 'a'", "id 'c'"]
    assert all("stands for another text" in one.reason for one in report.failed)
    found = vectors_of(output)
    right = encoder.encode_document(["A.", "B.", "C."])
    np.testing.assert_allclose(np.stack([found[i] for i in "abc"]), right, atol=1e-6)
    changed = embed(table(("a", "Changed."), ("b", "B.")))
    assert (changed.embedded, changed.skipped) == (0, 1)
    assert [one.place for one in changed.failed] == ["id 'a'"]


def test_rows_written_twice_are_removed(embed, encoder, output):
    embed(numbered(1, 2, 3), numbered(4))
    folder = VectorFolder(output, encoder.fingerprint, "float32")
    rows = [
        (f"{n}", f"Text {n}.") for n in (4, 3, 5)
    ]  # by a worker that Ray cut rows otherwise for
    vectors = encoder.encode_document([text for _, text in rows])
    folder.write("0", [i for i, _ in rows], [text_hash(text) for _, text in rows], vectors)
    folder.write("1", ["4"], [text_hash("Text 4.")], vectors[:1])
    report = embed(numbered(1, 2, 3, 4, 5))
    assert (report.embedded, report.skipped) == (0, 5)
    assert vectors_of(output).keys() == set("12345")
    assert len(parts(output)) == 3


BAD = {
    "missing text": (["a", None], "the text is None, not a str"),
    "number": (["a", 3], "the text is a int, not a str"),
    "bytes": (["a", b"text"], "the text is a bytes, not a str"),
    "missing id": ([None, "text"], "its id is missing"),
    "empty id": (["", "text"], "its id is empty"),
    "truth": ([True, "text"], "its id is a bool, not a str"),
}


@pytest.mark.parametrize(("row", "reason"), BAD.values(), ids=BAD)
def test_bad_rows_are_listed_and_the_others_embedded(embed, row, reason):
    report = embed(table(tuple(row)), numbered(1))
    [failure] = report.failed
    assert reason in failure.reason
    assert (report.embedded, report.skipped) == (1, 0)


def test_ids_may_be_numbers(embed, output):
    embed(table((7, "Seven."), (8, "")))
    assert vectors_of(output).keys() == {"7", "8"}


def test_text_that_is_no_utf8(embed, output):
    broken = pa.array([b"good", b"bro\xffken", None]).view(pa.string())
    report = embed(pa.table({"id": ["a", "b", "c"], "text": broken}))
    assert [(one.place, one.reason[:24]) for one in report.failed] == [
        ("id 'b'", "not UTF-8 (byte 0xff)"),
        ("id 'c'", "the text is None, not a "),
    ]
    assert vectors_of(output).keys() == {"a"}


def test_a_table_without_a_column(embed):
    with pytest.raises(ConfigurationError, match="no column 'text'; there are 'id', 'body'"):
        embed(pa.table({"id": ["a"], "body": ["b"]}))


def test_texts_that_are_too_long(embed, encoder):
    rows = table(("short", "a"), ("long", "word " * 50), ("longer", "word " * 90))
    short = encoder.with_options(max_length=16)
    with pytest.warns(TruncationWarning, match="Of 2 texts.*head was embedded: id 'long' \\("):
        report = embed(rows, model=short)
    assert (report.embedded, report.truncated) == (3, 2)


def test_texts_that_are_too_long_are_refused_where_that_is_asked_for(embed, encoder):
    rows = table(("short", "a"), ("long", "word " * 50), ("longer", "word " * 90))
    report = embed(rows, model=encoder.with_options(max_length=16, on_truncate="error"))
    assert (report.embedded, report.truncated) == (1, 0)
    assert [one.place for one in report.failed] == ["id 'long'", "id 'longer'"]
    assert "tokens, max_length is 16" in report.failed[0].reason


def test_a_text_that_makes_no_vector(embed, encoder, output, monkeypatch):
    def submit(prompts, **options):
        pending = real(prompts, **options)
        zeros = [i for i, prompt in enumerate(prompts) if "2" in prompt]

        def spoil(rows):
            rows = rows.copy()
            rows[zeros] = np.nan
            return rows

        return pending.then(spoil)

    real = encoder._backend.submit
    monkeypatch.setattr(type(encoder._backend), "submit", lambda _, p, **o: submit(p, **o))
    report = embed(numbered(1, 2, 3))
    assert [(one.place, one.reason) for one in report.failed] == [
        ("id '2'", "the model makes no finite vector of it")
    ]
    assert vectors_of(output).keys() == {"1", "3"}


def test_another_model_is_refused_before_anything_is_embedded(embed, encoder):
    embed(numbered(1))
    other = encoder.with_options(dimensions=32)
    passes = encoder.stats.passes
    with pytest.raises(FingerprintError, match="made with dimensions 64, this model has 32"):
        embed(numbered(2), model=other)
    assert encoder.stats.passes == passes


def test_a_part_of_another_model_is_found_though_the_folder_says_nothing(embed, encoder, output):
    embed(numbered(1), model=encoder.with_options(dimensions=32))
    (output / "_fingerprint.json").unlink()
    with pytest.raises(FingerprintError, match=r"part-.*\.parquet was made with dimensions 32"):
        embed(numbered(2))


def test_vectors_of_another_dtype_are_refused(embed):
    embed(numbered(1))
    with pytest.raises(StoreError, match=r"float\W.*this run writes.*halffloat"):
        embed(numbered(2), vector_dtype="float16")
    with pytest.raises(ConfigurationError, match="vector_dtype='float64'"):
        embed(numbered(2), vector_dtype="float64")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet"], ids=["empty", "cut", "other"])
def test_a_damaged_part_is_named(embed, output, content):
    output.mkdir()
    (output / "part-x.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"part-x\.parquet cannot be read"):
        embed(numbered(1))


def test_parts_of_others_are_named(embed, output):
    output.mkdir()
    pq.write_table(numbered(1), output / "part-x.parquet")
    with pytest.raises(StoreError, match="was not written by f2llm"):
        embed(numbered(1))


def test_a_block_that_comes_twice_is_one_part(embed, output):
    report = embed(numbered(1, 2), numbered(3), numbered(1, 2))
    assert (report.embedded, report.skipped, report.failed) == (3, 2, ())
    assert len(parts(output)) == 2


def test_ids_and_texts_are_two_columns(embed, output):
    with pytest.raises(ConfigurationError, match="'text' cannot be the column of the ids and of"):
        embed(numbered(1), id_column="text")


def test_one_run_at_a_time(embed, encoder, output):
    folder = VectorFolder(output, encoder.fingerprint, "float32")
    with folder.open(), pytest.raises(StoreError, match="being written to by another run"):
        embed(numbered(1))
    assert embed(numbered(1)).embedded == 1


def test_rows_that_vanish_are_missed(encoder, output):
    def tables():
        yield numbered(1, 2)
        yield numbered(3)
        parts(output)[0].unlink()

    with pytest.raises(StoreError, match=r"3 rows were written and .* nodes must share one folder"):
        embed_tables(tables(), encoder, output)


def test_a_folder_that_cannot_be_made(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        embed_tables([], encoder, tmp_path / "file")


def test_a_block_that_is_given_up_fails_with_what_is_not_done(encoder, output):
    folder = VectorFolder(output, encoder.fingerprint, "float32")
    with folder.open():
        BlockEmbedder(encoder, folder, folder.read_keys()[0], Columns()).embed(numbered(1, 2))
        done, _ = folder.read_keys()
        embedder = BlockEmbedder(encoder, folder, done, Columns())
        report = embedder.embed(numbered(2, 3, 4), given_up="it ended the worker")
    assert report.failed == [
        Failure("id '3'", "it ended the worker"),
        Failure("id '4'", "it ended the worker"),
    ]
    assert (report.rows, report.written) == (3, 0)


def test_files_are_read_with_places(tmp_path, embed):
    lines = ['{"id": "a", "text": "A."}', "{broken", '{"id": "c"}', '{"id": 4, "text": "\\ud800"}']
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pq.write_table(numbered(1, 2, 3), tmp_path / "in" / "two.parquet")
    (tmp_path / "in" / "three.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "in" / "zero.parquet")
    (tmp_path / "in" / "_hidden.jsonl").write_text("{broken", encoding="utf-8")
    (tmp_path / "in" / "notes.txt").write_text("no input", encoding="utf-8")
    with pytest.warns(F2LLMWarning, match=r"notes\.txt\.$"):
        report = embed(*read_tables([tmp_path / "in"], batch_size=2))
    assert report.embedded == 4
    assert [(one.place.rpartition("/")[2], one.reason[:22]) for one in report.failed] == [
        ("one.jsonl:2", "not valid JSON (Expect"),
        ("one.jsonl:3", "no field 'text'; it ha"),
        ("one.jsonl:4", "the text holds a lone "),
        ("three.parquet", "cannot be read from he"),
        ("zero.parquet", "cannot be read from he"),
    ]
    assert "no column 'text'; there are 'id'" in report.failed[-1].reason


def test_what_is_read_of_a_folder(tmp_path, embed, output):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for path in (folder / "A.JSONL", elsewhere / "b.jsonl", folder / "_hidden.jsonl"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{{"id": "{path.stem}", "text": "t"}}\n', encoding="utf-8")
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "c.jsonl.gz").write_bytes(b"")
    with pytest.warns(F2LLMWarning, match=r"Not read, for it does not end in .*c\.jsonl\.gz\.$"):
        report = embed(*read_tables([folder]))
    assert (report.embedded, report.failed) == (2, ())
    output.rename(folder / "vectors")
    with pytest.warns(F2LLMWarning):
        assert [t.num_rows for t in read_tables([folder])] == [1, 1]


def test_places_in_parquet_are_rows(tmp_path):
    pq.write_table(table(("a", "A."), ("b", None), ("c", None)), tmp_path / "two.parquet")
    failed = [
        failure.place
        for block in read_tables([tmp_path / "two.parquet"], batch_size=2)
        for failure in check_rows(block, Columns())[1]
    ]
    assert failed == [f"{tmp_path}/two.parquet:{n}" for n in (2, 3)]


def test_paths_that_are_no_input(tmp_path):
    for path in (tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(ConfigurationError, match="is no file, or folder of files"):
            list(read_tables([path]))


IDS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=12)


@given(IDS, IDS)
def test_keys_are_found_as_in_a_dictionary(there, wanted):
    kept = dict(there)
    keys = keys_of(list(kept.items())).copy()
    sort_keys(keys)
    found, same = find(keys, keys_of(wanted))
    assert found.tolist() == [id_ in kept for id_, _ in wanted]
    assert same.tolist() == [kept.get(id_) == text for id_, text in wanted]


@given(IDS)
def test_repeated_ids_are_found(rows):
    keys = keys_of(rows).copy()
    sort_keys(keys)
    assert len(repeated(keys)) == len(rows) - len(dict(rows))


def keys_of(rows):
    return make_keys([id_ for id_, _ in rows], [text_hash(text) for _, text in rows])
