"""`f2llm search`: what it finds, how it prints it, and what it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from f2llm_core.cli import main
from f2llm_core.cli.search import Found, find
from f2llm_core.indexing import index
from store_kinds import COSINE, MemoryStore, chroma_client

TEXTS = {
    "webb": "The telescope sees infrared light.\nIts mirror is 6.5 m wide.",
    "고래": "고래는 노래로 서로를 찾는다.",
    "ulm": "Der Zug nach Ulm fährt um neun.",
}
QUERY = "Which telescope sees infrared light?"


@pytest.fixture(scope="module")
def folder(demo_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("db")
    file = path / "docs.jsonl"
    records = [{"id": key, "text": text, "lang": "x"} for key, text in TEXTS.items()]
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    arguments = ["index", demo_model, file, "--chroma", path, "--collection", "papers"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--dimensions", "64"])
    assert done.exit_code == 0, done.output
    with chroma_client(path) as client:
        client.create_collection("empty", configuration=COSINE, embedding_function=None)
        foreign = client.create_collection("foreign", configuration=COSINE, embedding_function=None)
        foreign.add(ids=["1"], embeddings=[[1.0] * 64], documents=["a"])
    return path


@pytest.fixture
def search(folder, demo_model):
    def search(*args, code=0, stdin="", collection="papers"):
        options = ["--chroma", folder, "--collection", collection]
        arguments = [str(arg) for arg in ("search", demo_model, *args, *options)]
        result = CliRunner().invoke(main, arguments, input=stdin)
        assert result.exit_code == code, result.output
        return result

    return search


def test_the_best_comes_first_with_its_score_and_source(search):
    first, beside, *rest = search(QUERY).stdout.splitlines()
    assert first.startswith("  1  0.")
    assert first.endswith("  The telescope sees infrared light. Its mirror is 6.5 m wide.")
    assert beside.strip() == "webb, lang: x"
    assert len(rest) == 4
    assert len(search(QUERY, "-k", 1).stdout.splitlines()) == 2


def test_json_is_all_of_it(search, folder, demo_model):
    [answer] = json.loads(search(QUERY, "--json", "-k", 2).stdout)
    assert answer["query"] == QUERY
    best, second = answer["found"]
    assert best["text"] == TEXTS["webb"]
    assert best["metadata"].items() >= {"f2llm_source": "webb", "lang": "x"}.items()
    assert 1 >= best["similarity"] > second["similarity"]


def test_queries_come_from_standard_input(search):
    lines = f"{QUERY}\n\n  Wann fährt der Zug?  \n"
    asked = json.loads(search("--json", "-k", 1, stdin=lines).stdout)
    assert [a["query"] for a in asked] == [QUERY, "Wann fährt der Zug?"]
    assert [a["found"][0]["metadata"]["f2llm_source"] for a in asked] == ["webb", "ulm"]
    assert "Wann fährt der Zug?" in search(stdin=lines).stdout.splitlines()
    assert "Give a QUERY" in search(code=2).stderr


def test_standard_input_is_utf_8_with_or_without_a_mark(search):
    asked = json.loads(search("--json", "-k", 1, stdin=b"\xef\xbb\xbfmoon?\r\n").stdout)
    assert [a["query"] for a in asked] == ["moon?"]
    result = search(stdin=b"moon?\ncaf\xe9\n", code=1)
    assert result.stderr == "Error: standard input:2: not UTF-8 (byte 0xe9).\n"


def test_a_stored_text_does_not_steer_the_terminal():
    assert str(Found("1", 0.5, "a\x1b[2J\x07b", {})) == "0.500  a[2Jb\n       1"


def test_a_collection_of_unknown_origin_is_refused(search):
    assert "no stamp" in search(QUERY, collection="foreign", code=1).stderr
    assert "papers" in search(QUERY, collection="nosuch", code=1).stderr


def test_an_empty_collection_is_said_and_no_error(search):
    result = search(QUERY, collection="empty")
    assert (result.stdout, result.stderr) == ("", "Chroma collection 'empty' holds no rows.\n")
    assert json.loads(search(QUERY, "--json", collection="empty").stdout)[0]["found"] == []


@pytest.mark.parametrize("command", ["search", "audit"])
def test_a_damaged_database_is_an_error(tmp_path, demo_model, command):
    (tmp_path / "chroma.sqlite3").write_bytes(b"damage" * 999)
    arguments = [command, demo_model, *(["x"] if command == "search" else [])]
    arguments += ["--chroma", tmp_path, "--collection", "papers"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 1
    assert "could not open the collection 'papers'" in result.stderr.splitlines()[-1]


def test_a_row_that_is_deleted_meanwhile_is_left_out(encoder):
    class Busy(MemoryStore):
        def search(self, vector, k, *, where=None):
            matches = super().search(vector, k, where=where)
            self.delete([matches[0].id])
            return matches

    store = Busy()
    index(store, encoder, list(TEXTS.items()))
    [found] = find(store, encoder, [QUERY], 3)
    assert len(found) == 2
