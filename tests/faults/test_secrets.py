"""The hub token is sent to the hub, and is found nowhere else."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion import IngestionPipeline
from pydantic import SecretStr

from f2llm_core import F2LLM, F2LLMError
from faults.channels import GENERAL, SENTINEL, everything_said, files_below, frames, leaks
from faults.figures import Tally
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from local_hub import Hub, serve, use_hub

REPOSITORY = "someone/their-model"
#: What takes a token, and its method that asks the hub first.
MAKERS = {
    F2LLM: "encode_query",
    F2LLMEmbeddings: "embed_query",
    F2LLMEmbedding: "get_query_embedding",
}


class ToldByLlamaIndex(BaseCallbackHandler):
    """Keeps what LlamaIndex tells its observers."""

    def __init__(self):
        super().__init__([], [])
        self.payloads = []

    def on_event_start(self, event_type, payload=None, event_id="", parent_id="", **_):
        self.payloads.append(repr(payload))
        return event_id

    def on_event_end(self, event_type, payload=None, event_id="", **_):
        self.payloads.append(repr(payload))

    def start_trace(self, trace_id=None):
        pass

    def end_trace(self, trace_id=None, trace_map=None):
        pass


LANGCHAIN = {
    "model_dump": lambda x: x.model_dump(),
    "model_dump json": lambda x: x.model_dump(mode="json"),
    "model_dump_json": lambda x: x.model_dump_json(),
    "iterated": lambda x: dict(x),
    "schema": lambda x: type(x).model_json_schema(),
    "langchain dumps": dumps,
    "langchain dumpd": dumpd,
    "langchain to_json": lambda x: x.to_json(),
    "langchain attributes": lambda x: x.lc_attributes,
}
LLAMA_INDEX = {
    "model_dump": lambda x: x.model_dump(),
    "model_dump_json": lambda x: x.model_dump_json(),
    "iterated": lambda x: dict(x),
    "schema": lambda x: type(x).model_json_schema(),
    "llama_index to_dict": lambda x: x.to_dict(),
    "llama_index to_json": lambda x: x.to_json(),
    "llama_index class_name": lambda x: x.class_name(),
    "llama_index state": lambda x: x.__getstate__(),
}
CORE = {
    "config": lambda x: x.config,
    "options": lambda x: [repr(x._load_options), str(x._load_options)],
    "options as a dictionary": lambda x: dataclasses.asdict(x._load_options),
}


def objects(checkpoint):
    """Return what was given the token, each with the channels it has."""
    core = F2LLM(checkpoint, token=SENTINEL)
    langchain = F2LLMEmbeddings(model=checkpoint, token=SENTINEL)
    llama_index = F2LLMEmbedding(str(checkpoint), token=SecretStr(SENTINEL))
    return {
        "core": (core, GENERAL | CORE),
        "sibling": (core.with_options(dimensions=16), GENERAL | CORE),
        "langchain": (langchain, GENERAL | LANGCHAIN),
        "langchain sibling": (langchain.with_options(dimensions=16), GENERAL | LANGCHAIN),
        "llama_index": (llama_index, GENERAL | LLAMA_INDEX),
        "llama_index copy": (llama_index.model_copy(), GENERAL | LLAMA_INDEX),
    }


def check_channels(name, thing, channels, tally):
    """Put an object through every channel and look for the token in what comes out."""
    for channel, put_through in channels.items():
        tally.tried += 1
        if leaks(put_through(thing)):
            tally.fault("leaks", f"{channel} of {name}")


def check_texts(channel, texts, tally):
    """Look for the token in everything that one channel said; count it as one."""
    tally.tried += 1
    found = [text for text in texts if leaks(text)]
    if found:
        tally.fault("leaks", f"{channel}: {str(found[0])[:200]}")


@pytest.fixture
def hub(tmp_path, monkeypatch, socket_enabled, checkpoint):
    hub = Hub(checkpoint, {REPOSITORY: "1" * 40})
    server = serve(hub)
    use_hub(server, tmp_path / "cache", monkeypatch)
    yield hub
    server.shutdown()
    server.server_close()


def test_objects(checkpoint, prove):
    tally = Tally("secrets")
    for name, (thing, channels) in objects(checkpoint).items():
        check_channels(name, thing, channels, tally)
    prove(tally)


def test_what_is_said_and_written_by_a_download(hub, tmp_path, prove):
    tally = Tally("secrets")
    with everything_said() as said:
        F2LLM(REPOSITORY, token=SENTINEL).encode_query(["a"], show_progress=True)
    assert f"Bearer {SENTINEL}" in {authorization for _, authorization in hub.requests}
    check_texts("logs, warnings and output of a download", [said.getvalue()], tally)
    check_texts("files of a download", files_below(tmp_path), tally)
    check_texts("the environment", os.environ.values(), tally)
    prove(tally)


@pytest.mark.parametrize("given", ["argument", "stored"])
@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "RepoNotFound"), (404, "RevisionNotFound"), (403, "GatedRepo"), (401, ""), (500, "")],
)
def test_errors_of_a_hub_that_echoes_the_token(hub, monkeypatch, prove, status, code, given):
    hub.status, hub.error_code, hub.error_message = status, code, "no: {authorization}"
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: SENTINEL)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: SENTINEL)
    encoder = F2LLM(REPOSITORY, token=SENTINEL if given == "argument" else None)
    tally = Tally("secrets")
    with pytest.raises(F2LLMError) as caught:
        encoder.encode_query("a")
    assert hub.requests[0][1] == f"Bearer {SENTINEL}"
    check_texts(f"error and traceback of a {status}", frames(caught.value, __file__), tally)
    prove(tally)


def test_errors_without_a_hub(hub, monkeypatch, prove):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    tally = Tally("secrets")
    for make, embed in MAKERS.items():
        thing = make(model=REPOSITORY, token=SENTINEL)
        with everything_said() as said, pytest.raises(F2LLMError) as caught:
            getattr(thing, embed)("a")
        check_texts(f"unreachable hub, {make.__name__}", frames(caught.value, __file__), tally)
        check_texts(f"unreachable hub, logs of {make.__name__}", [said.getvalue()], tally)
    prove(tally)


def error_of(make, **options):
    with pytest.raises((ValueError, TypeError, F2LLMError)) as caught:
        make(**options)
    return caught.value


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "mistake",
    [
        {"dimensions": 7},
        {"dtype": "float16"},
        {"model": "no-such-model"},
        {"task": "cooking"},
        {"backend": "none"},
    ],
    ids=lambda mistake: next(iter(mistake)),
)
def test_errors_of_construction(checkpoint, prove, make, mistake):
    tally = Tally("secrets")
    error = error_of(make, **({"model": str(checkpoint), "token": SENTINEL} | mistake))
    check_texts(f"{make.__name__}, {mistake}", frames(error, __file__), tally)
    prove(tally)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "mistake", [{"tokn": SENTINEL}, {"token": f"{SENTINEL}\n"}, {"token": [SENTINEL]}]
)
def test_errors_about_the_token_itself(checkpoint, prove, make, mistake):
    tally = Tally("secrets")
    error = error_of(make, model=str(checkpoint), **mistake)
    # What is no token, or goes by another name, is not known to be secret while it is a variable.
    said = frames(error, __file__, variables=False)
    check_texts(f"{make.__name__}, about the token", said, tally)
    prove(tally)


def test_what_the_frameworks_keep_and_tell(checkpoint, tmp_path, prove, capsys):
    tally = Tally("secrets")
    langchain = F2LLMEmbeddings(model=checkpoint, token=SENTINEL)
    Chroma.from_documents([Document("a")], langchain, persist_directory=str(tmp_path / "chroma"))
    check_texts("files of Chroma", files_below(tmp_path / "chroma"), tally)
    store = InMemoryVectorStore(langchain)
    store.add_texts(["a"])
    store.dump(str(tmp_path / "dumped" / "store.json"))
    check_texts("dump of a LangChain store", files_below(tmp_path / "dumped"), tally)

    told = ToldByLlamaIndex()
    manager = CallbackManager([told])
    llama_index = F2LLMEmbedding(str(checkpoint), token=SENTINEL, callback_manager=manager)
    llama_index.get_query_embedding("a")
    documents = [LlamaDocument(text="a")]
    index = VectorStoreIndex.from_documents(documents, embed_model=llama_index)
    index.storage_context.persist(tmp_path / "index")
    check_texts("LlamaIndex's index on disk", files_below(tmp_path / "index"), tally)
    assert any("model_name" in payload for payload in told.payloads)
    check_texts("LlamaIndex's events", [*told.payloads, capsys.readouterr().out], tally)
    pipeline = IngestionPipeline(transformations=[llama_index])
    pipeline.run(documents=documents)
    pipeline.persist(str(tmp_path / "pipeline"))
    check_texts("LlamaIndex's pipeline on disk", files_below(tmp_path / "pipeline"), tally)
    prove(tally)


def test_the_command_line(checkpoint, prove, tmp_path):
    pytest.importorskip("f2llm_core.cli")
    tally = Tally("secrets")
    environment = os.environ | {"HF_TOKEN": SENTINEL, "HF_HOME": str(tmp_path)}
    for arguments in ([], [str(checkpoint)], ["no-such-model"]):
        done = subprocess.run(
            [sys.executable, "-c", "from f2llm_core.cli import main; main()", "info", *arguments],
            env=environment | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout + done.stderr
        check_texts(f"f2llm info {len(arguments)}", [done.stdout, done.stderr], tally)
    prove(tally)


@dataclass
class Careless:
    """Keeps the token as it keeps the rest."""

    model: str
    token: str


class CarelessEmbeddings(F2LLMEmbeddings):
    """A plain field in place of a secret one."""

    token: str | None = None

    @property
    def encoder(self):
        return F2LLM(self.model)


def test_a_careless_object_is_found_in_every_channel():
    for channel in GENERAL.items():
        tally = Tally("secrets")
        check_channels("careless", Careless("80M", SENTINEL), dict([channel]), tally)
        # What an object holds is only looked at one level deep, where a dataclass has nothing left.
        assert tally.found["leaks"] == (channel[0] != "attributes of attributes"), channel


def test_a_careless_adapter_is_found(checkpoint):
    tally = Tally("secrets")
    careless = CarelessEmbeddings.model_construct(model=str(checkpoint), token=SENTINEL)
    check_channels("careless", careless, {name: LANGCHAIN[name] for name in LANGCHAIN}, tally)
    assert tally.found["leaks"] >= 4


def test_a_careless_error_is_found(hub):
    def ask(token):
        headers = {"authorization": f"Bearer {token}"}
        raise ConnectionError(headers.keys())

    tally = Tally("secrets")
    for own in ("", __file__):
        try:
            ask(SENTINEL)
        except ConnectionError as error:
            check_texts("careless", frames(error, own), tally)
    assert tally.found["leaks"] == 1


@pytest.mark.parametrize(
    "say",
    [
        print,
        lambda text: print(text, file=sys.stderr),
        warnings.warn,
        logging.getLogger("httpx").debug,
        logging.getLogger("huggingface_hub.file_download").debug,
        logging.getLogger("of_somebody_else").debug,
    ],
    ids=["output", "error output", "warning", "httpx", "hub", "log"],
)
def test_what_is_said_carelessly_is_found(say):
    tally = Tally("secrets")
    with everything_said() as said:
        say(f"token={SENTINEL}")
    check_texts("careless", [said.getvalue()], tally)
    assert tally.found["leaks"] == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: (folder / "config.json").write_text(f"token: {SENTINEL}"),
        lambda folder: (folder / SENTINEL).mkdir(),
        lambda folder: (folder / "link").symlink_to(SENTINEL),
    ],
    ids=["content", "name", "link"],
)
def test_what_is_written_carelessly_is_found(tmp_path, write):
    (tmp_path / "below").mkdir()
    write(tmp_path / "below")
    tally = Tally("secrets")
    check_texts("careless", files_below(tmp_path), tally)
    assert tally.found["leaks"] == 1
