"""The key of a server is sent to that server, and is found nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from llama_index.core.callbacks import CallbackManager
from pydantic import SecretStr

from f2llm_core import F2LLM, F2LLMError
from faults.channels import GENERAL, SENTINEL, everything_said, files_below, frames
from faults.faulty_server import answer, reply, running
from faults.figures import Tally
from faults.stubs import serving
from faults.test_secrets import (
    CORE,
    LANGCHAIN,
    LLAMA_INDEX,
    MAKERS,
    ToldByLlamaIndex,
    check_channels,
    check_texts,
)
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding

pytestmark = pytest.mark.enable_socket


def error_of(make, **options):
    with pytest.raises((ValueError, TypeError, F2LLMError)) as caught:
        make(**options)
    return caught.value


@pytest.fixture
def server():
    with running(answer) as server:
        yield server


def check_objects(checkpoint, server, tally):
    """Put all that was given the key through every channel, before and after it was used."""
    options = {"base_url": server.url, "server_model": "model"}
    core = F2LLM(checkpoint, api_key=SENTINEL, **options)
    langchain = F2LLMEmbeddings(model=checkpoint, api_key=SENTINEL, **options)
    llama_index = F2LLMEmbedding(str(checkpoint), api_key=SecretStr(SENTINEL), **options)
    objects = {
        "core": (core, GENERAL | CORE),
        "sibling": (core.with_options(dimensions=16), GENERAL | CORE),
        "backend": (core._backend, {name: GENERAL[name] for name in ("repr", "attributes")}),
        "langchain": (langchain, GENERAL | LANGCHAIN),
        "langchain sibling": (langchain.with_options(dimensions=16), GENERAL | LANGCHAIN),
        "llama_index": (llama_index, GENERAL | LLAMA_INDEX),
        "llama_index copy": (llama_index.model_copy(), GENERAL | LLAMA_INDEX),
    }
    for used in (False, True):  # the client is made with the first text
        for name, (thing, channels) in objects.items():
            check_channels(f"{name}, used: {used}", thing, channels, tally)
        core.encode_query("a")
        langchain.embed_query("a")
        llama_index.get_query_embedding("a")
    assert len(server.posts) == 6
    assert {request.headers["authorization"] for request in server.posts} == {f"Bearer {SENTINEL}"}


def test_objects(checkpoint, server, prove):
    tally = Tally("secrets")
    check_objects(checkpoint, server, tally)
    prove(tally)


def check_embedding(checkpoint, server, folder, given, tally):
    """Embed, and look at all that is said meanwhile, and at the files of a cache."""
    told = ToldByLlamaIndex()
    with everything_said() as said:
        options = {"base_url": server.url, "api_key": SENTINEL if given == "argument" else None}
        F2LLM(checkpoint, cache=folder, **options).encode_query(["a"], show_progress=True)
        F2LLMEmbeddings(model=checkpoint, **options).embed_documents(["a"])
        callbacks = CallbackManager([told])
        adapter = F2LLMEmbedding(str(checkpoint), callback_manager=callbacks, **options)
        adapter.get_text_embedding_batch(["a", "b"])
    assert {request.headers["authorization"] for request in server.requests} == {
        f"Bearer {SENTINEL}"
    }
    assert "httpcore" in said.getvalue() or "HTTP Request" in said.getvalue()
    check_texts(f"logs, warnings and output, by {given}", [said.getvalue()], tally)
    check_texts(f"files of the cache, by {given}", files_below(folder), tally)
    check_texts(f"LlamaIndex's events, by {given}", told.payloads, tally)
    if given == "argument":
        check_texts("the environment", os.environ.values(), tally)


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_what_is_said_and_written_while_embedding(
    checkpoint, server, tmp_path, prove, given, monkeypatch
):
    tally = Tally("secrets")
    if given == "environment":
        monkeypatch.setenv("F2LLM_API_KEY", SENTINEL)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    check_embedding(checkpoint, server, tmp_path, given, tally)
    prove(tally)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "mistake",
    [
        {"dimensions": 7},
        {"base_url": "http://user:password@host"},
        {"base_url": "host"},
        {"model": "no-such-model"},
        {"timeout": -1},
        {"backend": "local"},
        {"device": "cpu"},
    ],
    ids=str,
)
def test_errors_of_construction(checkpoint, prove, make, mistake):
    tally = Tally("secrets")
    options = {"model": str(checkpoint), "base_url": "http://host", "api_key": SENTINEL}
    error = error_of(make, **(options | mistake))
    check_texts(f"{make.__name__}, {mistake}", frames(error, __file__), tally)
    prove(tally)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("key", [f"{SENTINEL}\n", f"{SENTINEL} ", f"{SENTINEL}é", [SENTINEL]])
def test_errors_about_the_key_itself(checkpoint, prove, make, key):
    tally = Tally("secrets")
    error = error_of(make, model=str(checkpoint), base_url="http://host", api_key=key)
    said = frames(error, __file__, variables=False)
    check_texts(f"{make.__name__}, about the key", said, tally)
    prove(tally)


def check_echo(checkpoint, make, status, tally):
    """Ask a server that sends the key back, and look at the error and at what is logged."""
    said = {"error": f"Incorrect key: Bearer {SENTINEL}", "tail": f"{SENTINEL[:4]}…{SENTINEL[-4:]}"}
    with running(lambda _: reply(said, status)) as server:
        thing = make(model=str(checkpoint), base_url=server.url, api_key=SENTINEL, max_retries=0)
        with everything_said() as logged, pytest.raises(F2LLMError) as caught:
            getattr(thing, MAKERS[make])("a")
    check_texts(f"{make.__name__}, {status} with the key", frames(caught.value, __file__), tally)
    check_texts(f"{make.__name__}, logs of {status}", [logged.getvalue()], tally)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500])
def test_errors_of_a_server_that_echoes_the_key(checkpoint, prove, make, status):
    tally = Tally("secrets")
    check_echo(checkpoint, make, status, tally)
    prove(tally)


def test_the_command_line(checkpoint, prove):
    tally = Tally("secrets")
    with running(lambda _: reply({"error": SENTINEL}, 400)) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from f2llm_core.cli import main; main()", "--debug"),
                *("doctor", str(checkpoint), "--base-url", server.url),
            ],
            env=os.environ | {"F2LLM_API_KEY": SENTINEL},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"server: " in done.stdout
        check_texts("f2llm doctor", [done.stdout, done.stderr], tally)
        assert server.requests[0].headers["authorization"] == f"Bearer {SENTINEL}"
    prove(tally)


def test_a_key_that_is_shown_is_found(checkpoint, server, monkeypatch):
    serving.show_secrets(monkeypatch)
    tally = Tally("secrets")
    check_objects(checkpoint, server, tally)
    assert tally.found["leaks"]


def test_a_key_that_is_logged_is_found(checkpoint, server, tmp_path, monkeypatch):
    serving.log_the_key(monkeypatch)
    tally = Tally("secrets")
    check_embedding(checkpoint, server, tmp_path, "argument", tally)
    assert tally.found["leaks"] == 1
    assert tally.examples[0].startswith("leaks: logs, warnings and output")


def test_a_key_in_a_file_is_found(checkpoint, server, tmp_path):
    (tmp_path / "config.json").write_text(SENTINEL)
    tally = Tally("secrets")
    check_embedding(checkpoint, server, tmp_path, "argument", tally)
    assert tally.found["leaks"] == 1
    assert tally.examples[0].startswith("leaks: files of the cache")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("broken", "status"), [(serving.show_what_is_said, 400), (serving.raise_on_the_way, 500)]
)
def test_an_error_that_tells_the_key_is_found(checkpoint, monkeypatch, make, broken, status):
    broken(monkeypatch)
    tally = Tally("secrets")
    check_echo(checkpoint, make, status, tally)
    assert tally.found["leaks"]
