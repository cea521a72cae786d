"""`f2llm ask`: answers with citations, quoted or by a chat server."""

from __future__ import annotations

import json
from types import SimpleNamespace

import httpx
import pytest
from click.testing import CliRunner

from f2llm_core.cli import main

TEXTS = [
    "Webb is large. The telescope sees infrared light. Its mirror is 6.5 m wide.",
    "고래는 노래로 서로를 찾는다。노래는 멀리 간다。",
    "Der Zug nach Ulm fährt um neun.",
]
QUESTION = "Which telescope sees infrared light?"
SERVER = ["--llm-base-url", "http://chat.test/v1/", "--llm-model", "small"]


@pytest.fixture(scope="module")
def folder(demo_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("db")
    file = path / "docs.jsonl"
    file.write_text("".join(f"{json.dumps({'text': text})}\n" for text in TEXTS), encoding="utf-8")
    arguments = ["index", demo_model, file, "--chroma", path, "--collection", "papers"]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def ask(folder, demo_model):
    def ask(*args, code=0):
        options = ["--chroma", folder, "--collection", "papers"]
        arguments = [str(arg) for arg in ("ask", demo_model, QUESTION, *args, *options)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return ask


@pytest.fixture
def server(monkeypatch):
    """A chat server: what it answers, and what it was sent."""

    answer = {"choices": [{"message": {"content": "Webb [1]."}}]}
    server = SimpleNamespace(response=httpx.Response(200, json=answer), sent=[])

    def post(url, *, timeout, **options):
        assert timeout > 0
        server.sent.append(httpx.Request("POST", url, **options))
        if isinstance(server.response, Exception):
            raise server.response
        return server.response

    monkeypatch.setattr(httpx, "post", post)
    return server


def test_without_a_language_model_the_nearest_sentence_is_quoted(ask):
    result = ask()
    answer, _, passage, *_ = result.stdout.splitlines()
    assert answer == "“The telescope sees infrared light.” [1]"
    assert passage.startswith("[1]  0.")
    assert "Webb is large." in passage
    assert "no language model was asked" in result.stderr


def test_a_sentence_of_hindi_ends_at_its_mark(demo_model, tmp_path):
    file = tmp_path / "hindi.jsonl"
    text = "यह दूरबीन अवरक्त प्रकाश देखती है। ट्रेन नौ बजे चलती है। रोटी गर्म है।"
    file.write_text(json.dumps({"text": text}), encoding="utf-8")
    at = ["--chroma", tmp_path / "db", "--collection", "hindi"]
    for command in (["index", demo_model, file], ["ask", demo_model, "ट्रेन कब चलती है?"]):
        result = CliRunner().invoke(main, [str(word) for word in (*command, *at)])
    quoted = result.stdout.splitlines()[0]
    assert "ट्रेन नौ बजे चलती है।” [1]" in quoted
    assert text not in quoted


def test_passages_of_white_space_are_no_answer(demo_model, tmp_path):
    file = tmp_path / "blank.jsonl"
    file.write_text('{"text": "  \\n "}\n{"text": "\u3000"}\n', encoding="utf-8")
    at = ["--chroma", tmp_path / "db", "--collection", "blanks"]
    for command in (["index", demo_model, file], ["ask", demo_model, QUESTION]):
        result = CliRunner().invoke(main, [str(word) for word in (*command, *at)])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: Chroma collection 'blanks' holds no texts to answer from.\n",
    )


def test_json_says_which_passages_were_cited(ask):
    found = json.loads(ask("--json", "-k", 2).stdout)
    assert found["question"] == QUESTION
    assert found["llm"] is None
    assert [(p["number"], p["cited"]) for p in found["passages"]] == [(1, True), (2, False)]
    assert found["passages"][0]["text"] == TEXTS[0]


def test_a_chat_server_gets_the_passages_and_its_answer_is_printed(ask, server, monkeypatch):
    monkeypatch.setenv("F2LLM_LLM_API_KEY", "secret")
    result = ask(*SERVER)
    assert result.stdout.startswith("Webb [1].\n\n[1]  0.")
    assert result.stderr == ""
    [request] = server.sent
    assert str(request.url) == "http://chat.test/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer secret"
    body = json.loads(request.content)
    assert body["model"] == "small"
    assert body["messages"][1]["content"].startswith(f"Passages:\n\n[1]\n{TEXTS[0]}")
    assert body["messages"][1]["content"].endswith(f"Question: {QUESTION}")
    assert json.loads(ask(*SERVER, "--json").stdout)["llm"] == "small"


def test_no_key_no_header(ask, server, monkeypatch):
    monkeypatch.delenv("F2LLM_LLM_API_KEY", raising=False)
    ask(*SERVER)
    assert "authorization" not in server.sent[0].headers


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx.ConnectError("refused"), "gave no answer (refused)"),
        (httpx.Response(401, text="no\nkey"), "answered 401: no key"),
        (httpx.Response(200, text="<html>"), "gave no answer in the form"),
        (httpx.Response(200, json={"choices": []}), "gave no answer in the form"),
        (httpx.Response(200, json={"choices": [{"message": {"content": None}}]}), "gave no answer"),
    ],
)
def test_what_a_server_does_wrong_is_one_line(ask, server, response, said):
    server.response = response
    result = ask(*SERVER, code=1)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: http://chat.test/v1/chat/completions ")
    assert said in line


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://u:secret@chat.test", "it holds credentials"),
        ("chat.test/v1", "its scheme is neither http nor https"),
        ("http://[secret", "it is no URL"),
        ("http://chat.test:secret", "it is no URL"),
        ("http://", "it names no host"),
    ],
)
def test_what_is_no_address_is_said_and_not_repeated(ask, server, url, said):
    result = ask("--llm-base-url", url, "--llm-model", "small", code=2)
    assert said in result.stderr
    assert "secret" not in result.output
    assert not server.sent


def test_a_key_is_checked_and_never_shown(ask, server, monkeypatch):
    monkeypatch.setenv("F2LLM_LLM_API_KEY", "schlüssel")
    result = ask(*SERVER, code=1)
    assert result.stderr == "Error: F2LLM_LLM_API_KEY: expected printable ASCII without spaces.\n"
    monkeypatch.setenv("F2LLM_LLM_API_KEY", "k3y")
    server.response = httpx.Response(401, text="bad key k3y")
    assert "answered 401: bad key ***" in ask(*SERVER, code=1).stderr


def test_an_answer_does_not_steer_the_terminal(ask, server):
    answer = "Webb\n\x1b[2J\x9b31m\x07[1]."
    server.response = httpx.Response(200, json={"choices": [{"message": {"content": answer}}]})
    assert ask(*SERVER).stdout.startswith("Webb\n[2J31m[1].\n")
    assert json.loads(ask(*SERVER, "--json").stdout)["answer"] == answer


def test_a_server_needs_a_model(ask):
    assert "need each other" in ask(*SERVER[:2], code=2).stderr
