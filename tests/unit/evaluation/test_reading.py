"""Evaluation data on disk: every form that is read, and every fault by its place."""

from __future__ import annotations

import json
import sys

import pyarrow
import pyarrow.parquet
import pytest

from f2llm_core import ConfigurationError, DataError, MissingExtraError
from f2llm_core.evaluation import read_dataset

CORPUS = [
    {"_id": "d1", "title": "Stars", "text": "They shine.", "language": "en"},
    {"_id": "d2", "text": "Züge fahren.", "language": "de"},
    {"_id": "d3", "title": "", "text": "", "language": "de"},
]
QUERIES = [
    {"_id": "q1", "text": "What shines?", "language": "en"},
    {"_id": "q2", "text": "Was fährt?", "language": "de"},
    {"_id": "q3", "text": "Of another split?", "language": "en"},
]
QRELS = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t0", "q2\td2\t1"]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir-set"
    write(folder / "corpus.jsonl", CORPUS)
    write(folder / "queries.jsonl", QUERIES)
    write(folder / "qrels" / "test.tsv", QRELS)
    return folder


@pytest.fixture
def refused(tmp_path):
    def refused(data, message, **options):
        with pytest.raises(DataError) as caught:
            read_dataset(data, **options)
        said = str(caught.value).replace(f"{data}", "DATA").replace("\\", "/")
        assert said.startswith("DATA")
        assert message in said

    return refused


def test_beir(beir):
    data = read_dataset(beir)
    assert data.name == "beir-set"
    texts = {p.id: (p.text, p.language) for p in data.passages}
    assert texts == {
        "d1": ("Stars They shine.", "en"),
        "d2": ("Züge fahren.", "de"),
        "d3": ("", "de"),
    }
    assert [(q.id, q.text, q.language, q.group) for q in data.queries] == [
        ("q1", "What shines?", "en", "q1"),
        ("q2", "Was fährt?", "de", "q2"),
    ]
    assert data.judgements == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    assert data.document_languages == ("en", "de")


def test_a_byte_order_mark_and_windows_lines_do_not_matter(beir):
    plain = read_dataset(beir)
    for path in beir.rglob("*.*sv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    for path in beir.glob("*.jsonl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_dataset(beir) == plain


@pytest.mark.parametrize("head", [(), ("query_id\tdoc_id\tscore",)], ids=["none", "another"])
def test_judgements_without_the_usual_head(beir, head):
    plain = read_dataset(beir)
    write(beir / "qrels" / "test.tsv", [*head, "q1\td1\t2.0", "q1\td2\t0", *2 * ["q2\td2\t1"]])
    assert read_dataset(beir) == plain


@pytest.mark.parametrize("id_", [["q1"], {}, "", 1.5])
def test_what_is_no_id_of_a_query_is_named(beir, refused, id_):
    (beir / "qrels" / "test.tsv").unlink()
    write(beir / "qrels" / "test.jsonl", [{"query-id": id_, "corpus-id": "d1", "score": 1}])
    refused(beir, "test.jsonl:1: an id is a string")


def test_judgements_as_json_lines(beir):
    plain = read_dataset(beir)
    (beir / "qrels" / "test.tsv").unlink()
    rows = [(q, d, s) for q, grades in plain.judgements.items() for d, s in grades.items()]
    write(
        beir / "qrels" / "test.jsonl",
        [{"query-id": q, "corpus-id": d, "score": score} for q, d, score in rows],
    )
    assert read_dataset(beir) == plain


def test_splits(beir, refused):
    write(beir / "qrels" / "dev.tsv", [QRELS[0], "q3\td1\t1"])
    assert [q.id for q in read_dataset(beir).queries] == ["q1", "q2"]
    assert [q.id for q in read_dataset(beir, split="dev").queries] == ["q3"]
    refused(beir, "DATA/qrels: no split 'train'; it has dev, test: choose one", split="train")
    (beir / "qrels" / "test.tsv").unlink()
    assert [q.id for q in read_dataset(beir).queries] == ["q3"]


def test_ids_may_be_numbers(beir):
    write(beir / "corpus.jsonl", [{"_id": 1, "text": "a"}, {"id": 2, "text": "b"}])
    write(beir / "queries.jsonl", [{"_id": 7, "text": "which?"}])
    write(beir / "qrels" / "test.tsv", [QRELS[0], "7\t2\t1"])
    data = read_dataset(beir)
    assert data.judgements == {"7": {"2": 1}}
    assert data.queries[0].language is None
    assert data.document_languages == (None,)


@pytest.mark.parametrize(
    ("file", "line", "content", "message"),
    [
        ("corpus.jsonl", 2, "{", "DATA/corpus.jsonl:2: not valid JSON"),
        ("corpus.jsonl", 2, '{"_id": "d2"}', "DATA/corpus.jsonl:2: no field 'text'; it has '_id'"),
        ("corpus.jsonl", 2, '{"text": "x"}', "DATA/corpus.jsonl:2: no field '_id' or 'id'"),
        ("corpus.jsonl", 2, CORPUS[0], "DATA/corpus.jsonl:2: the passage id 'd1' was used before"),
        ("corpus.jsonl", 2, CORPUS[1] | {"_id": ""}, ":2: an id is a string, not ''"),
        ("corpus.jsonl", 2, CORPUS[1] | {"text": 7}, ":2: the text is a int, not a str"),
        ("corpus.jsonl", 2, CORPUS[1] | {"language": ""}, ":2: the language is ''; name it"),
        ("corpus.jsonl", 2, CORPUS[1] | {"language": " "}, ":2: the language is ' '; name it"),
        ("corpus.jsonl", 2, CORPUS[1] | {"language": None}, ":2: no language, though "),
        ("queries.jsonl", 1, QUERIES[1], "DATA/queries.jsonl:2: the query id 'q2' was used before"),
        ("queries.jsonl", 1, QUERIES[0] | {"text": " "}, ":1: the query 'q1' has no text"),
        ("queries.jsonl", 3, QUERIES[2] | {"language": ""}, "DATA/queries.jsonl:3: the language"),
        ("corpus.jsonl", 2, CORPUS[1] | {"_id": ["d2"]}, ":2: an id is a string, not ['d2']"),
        ("corpus.jsonl", 2, '{"_id": "\\ud800", "text": ""}', ":2: the text holds a lone surr"),
        (
            "corpus.jsonl",
            1,
            '{"_id": "d1", "text": "", "language": "\\ud800"}',
            ":1: the text holds a lone",
        ),
        ("qrels/test.tsv", 1, "query corpus score", "DATA/qrels/test.tsv:1: 1 columns; expected"),
        ("qrels/test.tsv", 2, "q1\td1\t0.5", "test.tsv:2: the score is a whole number, not 0.5"),
        ("qrels/test.tsv", 2, "q1 0 d1 1", "DATA/qrels/test.tsv:2: 1 columns; expected query-id"),
        ("qrels/test.tsv", 2, "q1\td1\tyes", "test.tsv:2: the score is a whole number, not 'yes'"),
        ("qrels/test.tsv", 2, "q9\td1\t1", "test.tsv:2: the query 'q9' is not among the queries"),
        ("qrels/test.tsv", 4, "q2\td9\t1", "test.tsv:4: the passage 'd9' is not in the corpus"),
        ("qrels/test.tsv", 3, "q1\td1\t1", "test.tsv:3: 'q1' and 'd1' are judged a second time"),
    ],
)
def test_a_broken_line_is_named(beir, refused, file, line, content, message):
    rows = (beir / file).read_text(encoding="utf-8").splitlines()
    rows[line - 1] = content
    write(beir / file, rows)
    refused(beir, message)


def test_what_is_missing_is_named(beir, refused, tmp_path):
    (beir / "qrels" / "test.tsv").write_bytes(b"query-id\tcorpus-id\tscore\nq\xff\td1\t1\n")
    refused(beir, "DATA/qrels/test.tsv:2: not UTF-8 (byte 0xff)")
    write(beir / "qrels" / "test.tsv", QRELS[:1])
    with pytest.raises(DataError, match="beir-set: none of its 3 queries has a judgement"):
        read_dataset(beir)
    (beir / "qrels" / "test.tsv").unlink()
    refused(beir, "DATA/qrels: no qrels; a file test.tsv there says")
    (beir / "queries.jsonl").unlink()
    refused(beir, "DATA/queries.jsonl: there is no such file")
    refused(tmp_path, "DATA: neither BEIR's layout")
    refused(tmp_path / "none", "DATA: there is no such file")
    refused(write(tmp_path / "empty.jsonl", []), "DATA: no lines")
    refused(write(tmp_path / "x.jsonl", [{"text": "a", "b": 1}]), "DATA:1: fields 'text', 'b'; exp")


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def mteb_rows(subset):
    corpus = [{"id": f"d{i}", "title": "", "text": f"{subset} text {i}"} for i in range(3)]
    queries = [{"id": "q0", "text": f"{subset} query"}]
    return corpus, queries, [{"query-id": "q0", "corpus-id": "d1", "score": 1.0}]


@pytest.fixture(params=["parquet", "jsonl"])
def mteb_write(request):
    if request.param == "parquet":
        return lambda folder, rows, name="test-00000-of-00001": write_parquet(
            folder / f"{name}.parquet", rows
        )
    return lambda folder, rows, name="test": write(folder / f"{name}.jsonl", rows)


def test_mteb_subsets_are_languages_with_a_corpus_each(tmp_path, mteb_write):
    for subset in ("de", "ko"):
        for kind, rows in zip(("corpus", "queries", "qrels"), mteb_rows(subset), strict=True):
            mteb_write(tmp_path / f"{subset}-{kind}", rows)
    data = read_dataset(tmp_path)
    assert {p.language: p.pool for p in data.passages} == {"de": "de", "ko": "ko"}
    assert [(q.id, q.text, q.pool) for q in data.queries] == [
        ("de/q0", "de query", "de"),
        ("ko/q0", "ko query", "ko"),
    ]
    assert data.judgements == {"de/q0": {"d1": 1}, "ko/q0": {"d1": 1}}


@pytest.mark.parametrize("qrels", ["qrels", "default", "data"])
def test_mteb_without_subsets(tmp_path, mteb_write, refused, qrels):
    corpus, queries, judged = mteb_rows("en")
    mteb_write(tmp_path / "corpus", corpus, "corpus-00000")
    mteb_write(tmp_path / "queries", queries, "queries-00000")
    mteb_write(tmp_path / qrels, judged)
    mteb_write(tmp_path / qrels, [judged[0] | {"corpus-id": "d2"}], "train")
    assert read_dataset(tmp_path).judgements == {"q0": {"d1": 1}}
    assert read_dataset(tmp_path, split="train").judgements == {"q0": {"d2": 1}}
    refused(tmp_path, f"DATA/{qrels}: no dev*.parquet or dev*.jsonl there", split="dev")
    mteb_write(tmp_path / qrels, [judged[0] | {"score": 0.5}])
    refused(tmp_path, ":1: the score is a whole number, not 0.5")


def test_broken_parquet_is_named(tmp_path, refused, monkeypatch):
    corpus, queries, judged = mteb_rows("en")
    write_parquet(tmp_path / "corpus" / "a.parquet", corpus)
    write_parquet(tmp_path / "queries" / "a.parquet", [queries[0], {"id": "q1", "text": None}])
    write_parquet(tmp_path / "qrels" / "a.parquet", judged)
    refused(tmp_path, "DATA/queries/a.parquet:2: no field 'text'; it has 'id', 'text'")
    (tmp_path / "queries" / "a.parquet").write_bytes(b"no parquet")
    refused(tmp_path, "DATA/queries/a.parquet: not a Parquet file")
    (tmp_path / "queries" / "a.parquet").unlink()
    refused(tmp_path, "DATA/queries: no *.parquet or *.jsonl there")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"f2llm-core\[mteb\]"):
        read_dataset(tmp_path)


def test_pairs(tmp_path):
    rows = [
        {"query": "Was fährt?", "text": "Züge.", "language": "de"},
        {"query": "Was fährt?", "text": "Autos.", "language": "de"},
        {"query": "What runs?", "text": "Züge.", "language": "en", "document_language": "de"},
        {"query": "What runs?", "text": "Züge.", "language": "en", "document_language": "de"},
        {"query": "गाड़ी train?", "text": "Trains.", "language": "hi+en", "document_language": "en"},
    ]
    data = read_dataset(write(tmp_path / "asked.jsonl", rows))
    assert data.name == "asked"
    assert [p.text for p in data.passages] == ["Züge.", "Autos.", "Trains."]
    assert [q.language for q in data.queries] == ["de", "en", "hi+en"]
    assert data.document_languages == ("de", "de", "en")
    assert list(data.judgements.values()) == [{"p1": 1, "p2": 1}, {"p1": 1}, {"p5": 1}]


def test_pairs_without_language_and_with_other_names(tmp_path, refused):
    rows = [{"question": "What?", "answer": "That.", "n": 1}, {"question": "Who?", "answer": "I."}]
    path = write(tmp_path / "asked.jsonl", rows)
    data = read_dataset(path, fields={"query": "question", "text": "answer", "id": "n"})
    assert [(q.id, q.text, q.language) for q in data.queries] == [
        ("1", "What?", None),
        ("q2", "Who?", None),
    ]
    refused(path, "DATA:1: no field 'text'; it has 'question', 'answer', 'n'")
    with pytest.raises(ConfigurationError, match="field='colour': allowed are 'id', 'query'"):
        read_dataset(path, fields={"colour": "red"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "T."}, "DATA:2: the text is None, not a str"),
        ({"query": "Q?", "text": ["a"]}, "DATA:2: the text is a list, not a str"),
        ({"query": "Q?", "text": "T.", "language": "de"}, "DATA:2: the language is"),
        ({"query": "", "text": "T."}, "DATA:2: the query 'q2' has no text"),
        ({"query": "\ud800", "text": "T."}, "DATA:2: the text holds a lone surrogate"),
    ],
)
def test_a_broken_pair_is_named(tmp_path, refused, row, message):
    path = tmp_path / "asked.jsonl"
    first = {"query": "First?", "text": "First."}
    if "language" in row:
        row, message = row | {"language": ""}, "DATA:2: the language is ''; name it"
    path.write_text(f"{json.dumps(first)}\n{json.dumps(row)}\n", encoding="utf-8")
    refused(path, message)


def test_only_some_languages(beir, refused):
    data = read_dataset(beir, languages=["de"])
    assert [p.id for p in data.passages] == ["d2", "d3"]
    assert data.judgements == {"q2": {"d2": 1}}
    refused_name = "beir-set: nothing is in xx; it has de, en."
    with pytest.raises(DataError, match=refused_name):
        read_dataset(beir, languages=["de", "xx"])


def test_a_language_without_a_question_and_its_answer_is_refused(tmp_path):
    rows = [{"query": "What?", "text": "Das.", "language": "en", "document_language": "de"}]
    path = write(tmp_path / "asked.jsonl", rows)
    for language in ("de", "en"):
        with pytest.raises(DataError, match=f"^asked: no query in {language} has an answer in "):
            read_dataset(path, languages=[language])
    assert len(read_dataset(path, languages=["de", "en"]).queries) == 1


def test_a_query_needs_an_answer_in_the_languages_that_are_asked_for(beir):
    write(beir / "qrels" / "test.tsv", [QRELS[0], "q2\td1\t1", "q2\td3\t0", "q1\td1\t1"])
    with pytest.raises(DataError, match="no query in de has an answer"):
        read_dataset(beir, languages=["de"])


def test_passages_without_a_language_are_searched_in_every_one(beir):
    write(
        beir / "corpus.jsonl", [{k: v for k, v in row.items() if k != "language"} for row in CORPUS]
    )
    data = read_dataset(beir, languages=["de"])
    assert [q.id for q in data.queries] == ["q2"]
    assert len(data.passages) == 3


def test_a_plus_in_a_language_is_part_of_its_name(tmp_path):
    rows = [
        {"query": f"{language} {n}?", "text": f"{language} {n}.", "language": language}
        for language in ("c", "c++")
        for n in range(2)
    ]
    data = read_dataset(write(tmp_path / "asked.jsonl", rows), languages=["c++"])
    assert {query.language for query in data.queries} == {"c++"}
    assert len(data.queries) == 2


def test_options_of_another_form_are_refused(beir, tmp_path):
    path = write(tmp_path / "asked.jsonl", [{"query": "What?", "text": "That."}])
    for data, options, message in [
        (beir, {"code_switch": "en"}, "code_switch is for data in the format parallel, not beir"),
        (beir, {"fields": {"text": "x"}}, "fields is for data in the format pairs or parallel"),
        (path, {"split": "dev"}, "split is for data in the format beir or mteb, not pairs"),
        (path, {"format": "csv"}, "format='csv': allowed are 'beir', 'mteb', 'pairs', 'parallel'"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            read_dataset(data, **options)
