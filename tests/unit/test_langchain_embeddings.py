"""`F2LLMEmbeddings`: the core's vectors, options and errors under LangChain's names."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.embeddings import Embeddings
from langchain_core.load import dumpd, dumps, loads
from pydantic import ValidationError
from texts import many_texts

from f2llm_core import (
    DEFAULT_MODEL,
    F2LLM,
    ConfigurationError,
    InputError,
    ModelLoadError,
    ModelNotFoundError,
    TruncationWarning,
)
from langchain_f2llm import F2LLMEmbeddings
from support import copy_model

TEXTS = many_texts()
TEXT = "Das Teleskop\nzeigt ferne Galaxien."
TOKEN = "hf_never_to_be_seen"


@pytest.fixture(scope="module")
def embeddings(checkpoint: Path) -> F2LLMEmbeddings:
    return F2LLMEmbeddings(model=str(checkpoint), dtype="float32")


@pytest.fixture(scope="module")
def documents(encoder: F2LLM) -> list[list[float]]:
    return encoder.encode_document(TEXTS).tolist()


@pytest.fixture(scope="module")
def queries(encoder: F2LLM) -> list[list[float]]:
    return [encoder.encode_query(text).tolist() for text in TEXTS]


def revive(
    embeddings: F2LLMEmbeddings, secrets_map: dict[str, str] | None = None
) -> F2LLMEmbeddings:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        return loads(
            dumps(embeddings),
            allowed_objects=[F2LLMEmbeddings],
            valid_namespaces=["langchain_f2llm"],
            secrets_map=secrets_map,
        )


class TestSameVectorsAsTheCore:
    """Bit for bit: nothing happens to a text or a vector on the way through the adapter."""

    def test_there_are_enough_texts(self):
        assert len(set(TEXTS)) >= 200

    def test_documents(self, embeddings: F2LLMEmbeddings, documents: list[list[float]]):
        assert embeddings.embed_documents(TEXTS) == documents

    async def test_documents_async(self, embeddings: F2LLMEmbeddings, documents: list[list[float]]):
        assert await embeddings.aembed_documents(TEXTS) == documents

    def test_queries(self, embeddings: F2LLMEmbeddings, queries: list[list[float]]):
        assert [embeddings.embed_query(text) for text in TEXTS] == queries

    async def test_queries_async(self, embeddings: F2LLMEmbeddings, queries: list[list[float]]):
        assert [await embeddings.aembed_query(text) for text in TEXTS] == queries

    def test_queries_and_documents_are_not_the_same(self, embeddings: F2LLMEmbeddings):
        assert embeddings.embed_query(TEXT) != embeddings.embed_documents([TEXT])[0]


class TestTypes:
    def test_is_an_embeddings_object(self, embeddings: F2LLMEmbeddings):
        assert isinstance(embeddings, Embeddings)

    async def test_vectors_are_lists_of_python_floats(self, embeddings: F2LLMEmbeddings):
        rows = [
            embeddings.embed_query("a"),
            await embeddings.aembed_query("a"),
            *embeddings.embed_documents(["a", "b"]),
            *await embeddings.aembed_documents(["a", "b"]),
        ]
        assert [type(row) for row in rows] == [list] * 6
        assert {type(value) for row in rows for value in row} == {float}

    async def test_no_documents_give_no_vectors(self, embeddings: F2LLMEmbeddings):
        assert embeddings.embed_documents([]) == []
        assert await embeddings.aembed_documents([]) == []

    def test_the_empty_string_is_a_text(self, embeddings: F2LLMEmbeddings):
        assert len(embeddings.embed_query("")) == 64
        assert len(embeddings.embed_documents([""])[0]) == 64


class TestOptionsOfOneQuery:
    @pytest.mark.parametrize(
        "options",
        [{"task": "code"}, {"instruction": "Find the proof."}, {"dimensions": 16}],
        ids=lambda options: next(iter(options)),
    )
    async def test_are_used_once(
        self, embeddings: F2LLMEmbeddings, encoder: F2LLM, options: dict[str, Any]
    ):
        before = embeddings.embed_query(TEXT)
        expected = encoder.with_options(**options).encode_query(TEXT).tolist()
        assert embeddings.embed_query(TEXT, **options) == expected
        assert await embeddings.aembed_query(TEXT, **options) == expected
        assert before != expected
        assert embeddings.embed_query(TEXT) == before

    async def test_are_keywords_only(self, embeddings: F2LLMEmbeddings):
        with pytest.raises(TypeError):
            embeddings.embed_query(TEXT, "code")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            await embeddings.aembed_query(TEXT, "code")  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "options", [{"task": "nonsense"}, {"dimensions": 7}, {"tsak": "code"}], ids=str
    )
    async def test_are_checked(self, embeddings: F2LLMEmbeddings, options: dict[str, Any]):
        with pytest.raises(ConfigurationError):
            embeddings.embed_query(TEXT, **options)
        with pytest.raises(ConfigurationError):
            await embeddings.aembed_query(TEXT, **options)


class TestAsync:
    async def test_uses_the_async_methods_of_the_core(
        self, embeddings: F2LLMEmbeddings, monkeypatch: pytest.MonkeyPatch
    ):
        called = []

        def spy(name: str) -> None:
            original = getattr(F2LLM, name)

            async def method(self: F2LLM, texts: Any) -> Any:
                called.append(name)
                return await original(self, texts)

            monkeypatch.setattr(F2LLM, name, method)

        spy("aencode_query")
        spy("aencode_document")
        await embeddings.aembed_query("a")
        await embeddings.aembed_documents(["a"])
        assert called == ["aencode_query", "aencode_document"]

    async def test_texts_are_read_and_checked_beside_the_event_loop(
        self, embeddings: F2LLMEmbeddings
    ):
        threads = set()
        texts = (threads.add(threading.get_ident()) or text for text in TEXTS[:3])
        assert await embeddings.aembed_documents(texts) == embeddings.embed_documents(TEXTS[:3])
        assert threading.get_ident() not in threads

    async def test_many_at_once(self, embeddings: F2LLMEmbeddings):
        texts = [f"query {i}" for i in range(20)]
        together = await asyncio.gather(*map(embeddings.aembed_query, texts))
        alone = [embeddings.embed_query(text) for text in texts]
        np.testing.assert_allclose(together, alone, atol=1e-6)


BAD_TEXTS = {
    "None": None,
    "bytes": b"text",
    "NaN": float("nan"),
    "tuple": ("a", "b"),
    "list": ["a"],
    "int": 5,
    "lone surrogate": "broken \ud800 text",
}


class TestBadTexts:
    @pytest.mark.parametrize("bad", BAD_TEXTS.values(), ids=BAD_TEXTS)
    async def test_among_documents(self, embeddings: F2LLMEmbeddings, bad: Any):
        with pytest.raises(InputError, match=r"texts\[1\]") as sync_error:
            embeddings.embed_documents(["fine", bad, "fine"])
        with pytest.raises(InputError, match=r"texts\[1\]") as async_error:
            await embeddings.aembed_documents(["fine", bad, "fine"])
        assert sync_error.value.index == async_error.value.index == 1

    @pytest.mark.parametrize("bad", BAD_TEXTS.values(), ids=BAD_TEXTS)
    async def test_as_query(self, embeddings: F2LLMEmbeddings, bad: Any):
        with pytest.raises(InputError):
            embeddings.embed_query(bad)
        with pytest.raises(InputError):
            await embeddings.aembed_query(bad)

    @pytest.mark.parametrize(
        "bad",
        ["a bare str", b"bytes", None, 5, {"a": 1}, {"a"}],
        ids=lambda bad: type(bad).__name__,
    )
    async def test_instead_of_a_list(self, embeddings: F2LLMEmbeddings, bad: Any):
        with pytest.raises(InputError, match="Pass a list of texts"):
            embeddings.embed_documents(bad)
        with pytest.raises(InputError, match="Pass a list of texts"):
            await embeddings.aembed_documents(bad)

    def test_too_long(self, checkpoint: Path):
        embeddings = F2LLMEmbeddings(model=checkpoint, max_length=8)
        with pytest.warns(TruncationWarning, match=r"texts\[1\]"):
            embeddings.embed_documents(["short", "long " * 50])
        with pytest.raises(InputError, match=r"texts\[1\]"):
            embeddings.with_options(on_truncate="error").embed_documents(["short", "long " * 50])


class TestConstruction:
    def test_needs_no_network(self):
        assert F2LLMEmbeddings().encoder.dimensions == 320

    def test_default_model(self):
        assert F2LLMEmbeddings().model == DEFAULT_MODEL

    def test_model_has_two_names(self):
        by_model, by_model_name = F2LLMEmbeddings(model="0.6B"), F2LLMEmbeddings(model_name="0.6B")
        assert by_model == by_model_name
        assert by_model.model == by_model.model_name == "0.6B"
        with pytest.raises(ValidationError):
            F2LLMEmbeddings(model="0.6B", model_name="80M")

    def test_a_folder_may_be_a_path(self, checkpoint: Path):
        embeddings = F2LLMEmbeddings(model=checkpoint)
        assert embeddings.encoder.model == embeddings.model_name == str(checkpoint)

    def test_numbers_may_be_numpys(self, checkpoint: Path):
        given = {"dimensions": np.int64(16), "max_length": np.int32(9), "timeout": np.float32(2)}
        made = F2LLMEmbeddings(model=checkpoint, **given)
        assert (made.dimensions, made.max_length, made.timeout) == (16, 9, 2.0)
        assert made == pickle.loads(pickle.dumps(made)) == revive(made)

    def test_a_subclass_may_have_fields(self, checkpoint: Path):
        class Labelled(F2LLMEmbeddings):
            label: str = "none"

        made = Labelled(model=checkpoint, label="mine")
        assert made.encoder.width == 64
        assert made.with_options(dimensions=16).label == "mine"

    def test_unknown_fields_are_refused(self):
        with pytest.raises(ValidationError, match="dimension\n"):
            F2LLMEmbeddings(dimension=64)

    @pytest.mark.parametrize("dimensions", [0, 7, 65, -8])
    def test_dimensions_out_of_range(self, checkpoint: Path, dimensions: int):
        with pytest.raises(ConfigurationError, match=f"dimensions={dimensions}"):
            F2LLMEmbeddings(model=checkpoint, dimensions=dimensions)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("dimensions", True),
            ("dimensions", "64"),
            ("dimensions", 64.0),
            ("max_length", True),
            ("max_batch_tokens", True),
            ("local_files_only", 1),
            ("instruction", b"bytes"),
            ("backend", "cloud"),
            ("dtype", "float16"),
            ("on_truncate", "split"),
        ],
    )
    def test_values_are_not_converted(self, checkpoint: Path, field: str, value: Any):
        with pytest.raises(ValidationError, match=f"\n{field}\n"):
            F2LLMEmbeddings(model=checkpoint, **{field: value})

    def test_unknown_task(self, checkpoint: Path):
        with pytest.raises(ConfigurationError, match="Did you mean 'code'"):
            F2LLMEmbeddings(model=checkpoint, task="cod")

    def test_a_folder_that_is_no_model(self, tmp_path: Path):
        with pytest.raises(ModelLoadError):
            F2LLMEmbeddings(model=tmp_path)

    def test_a_name_that_is_no_model(self):
        with pytest.raises(ModelNotFoundError):
            F2LLMEmbeddings(model="no model")

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("model", [None, b"80M", 80, ""])
    def test_no_name_at_all(self, model: Any):
        with pytest.raises(ConfigurationError, match="model="):
            F2LLMEmbeddings(model=model)

    def test_is_immutable(self, embeddings: F2LLMEmbeddings):
        with pytest.raises(ValidationError, match="frozen"):
            embeddings.task = "sts"


class TestFromEncoder:
    def test_shares_the_encoder_and_knows_its_options(self, encoder: F2LLM):
        options = encoder.with_options(task="sts", dimensions=16)
        embeddings = F2LLMEmbeddings.from_encoder(options)
        assert embeddings.encoder is options
        assert (embeddings.task, embeddings.dimensions, embeddings.dtype) == ("sts", 16, "float32")
        assert embeddings == F2LLMEmbeddings(**embeddings.model_dump())


class TestSiblingsAndCopies:
    @pytest.fixture
    def loaded(self, tmp_path: Path) -> F2LLMEmbeddings:
        """Its folder is gone: who does not share its weights has none."""
        embeddings = F2LLMEmbeddings(model=copy_model(tmp_path / "model"), token=TOKEN)
        embeddings.embed_query("load the weights")
        shutil.rmtree(tmp_path / "model")
        return embeddings

    def test_with_options_shares_the_weights(self, loaded: F2LLMEmbeddings):
        sibling = loaded.with_options(dimensions=16, task="sts")
        assert len(sibling.embed_query(TEXT)) == 16
        assert (sibling.dimensions, sibling.task) == (16, "sts")
        assert (loaded.dimensions, loaded.task) == (None, None)

    def test_with_options_checks(self, embeddings: F2LLMEmbeddings):
        with pytest.raises(ConfigurationError, match="device"):
            embeddings.with_options(device="cpu")
        with pytest.raises(ConfigurationError, match="dimensions=65"):
            embeddings.with_options(dimensions=65)

    @pytest.mark.parametrize(
        "duplicate",
        [
            lambda e: pickle.loads(pickle.dumps(e)),
            copy.copy,
            copy.deepcopy,
            lambda e: e.model_copy(),
            lambda e: e.model_copy(deep=True),
            revive,
        ],
        ids=["pickle", "copy", "deepcopy", "model_copy", "model_copy deep", "dumps and loads"],
    )
    def test_copies_are_equal(
        self, checkpoint: Path, duplicate: Callable[[F2LLMEmbeddings], F2LLMEmbeddings]
    ):
        original = F2LLMEmbeddings(
            model=str(checkpoint), dtype="float32", dimensions=16, instruction="", max_length=99
        )
        expected = original.embed_query(TEXT)
        double = duplicate(original)
        assert double == original
        assert double is not original
        assert double.embed_query(TEXT) == expected

    @pytest.mark.parametrize(
        "duplicate",
        [copy.copy, copy.deepcopy, lambda e: e.model_copy(deep=True)],
        ids=["copy", "deepcopy", "model_copy"],
    )
    def test_copies_in_one_process_share_weights_and_token(
        self, loaded: F2LLMEmbeddings, duplicate: Callable[[F2LLMEmbeddings], F2LLMEmbeddings]
    ):
        double = duplicate(loaded)
        assert double.embed_query(TEXT) == loaded.embed_query(TEXT)
        assert double.token == loaded.token

    def test_model_copy_keeps_fields_and_encoder_in_step(self, embeddings: F2LLMEmbeddings):
        double = embeddings.model_copy(update={"dimensions": 16})
        assert double.dimensions == len(double.embed_query(TEXT)) == 16
        with pytest.raises(ConfigurationError, match="device"):
            embeddings.model_copy(update={"device": "cpu"})

    def test_pickles_hold_no_weights(self, embeddings: F2LLMEmbeddings):
        embeddings.embed_query("load the weights")
        assert len(pickle.dumps(embeddings)) < 2000


class TestSerialisation:
    def test_constructor_manifest(self, embeddings: F2LLMEmbeddings):
        manifest = dumpd(embeddings.with_options(instruction="", dimensions=16))
        assert manifest["type"] == "constructor"
        assert manifest["id"] == ["langchain_f2llm", "embeddings", "F2LLMEmbeddings"]
        assert manifest["kwargs"]["dimensions"] == 16
        assert manifest["kwargs"]["instruction"] == ""
        assert "token" not in manifest["kwargs"]
        assert "encoder" not in manifest["kwargs"]

    def test_a_path_becomes_a_string(self, checkpoint: Path):
        manifest = json.loads(dumps(F2LLMEmbeddings(model=checkpoint)))
        assert manifest["kwargs"]["model"] == str(checkpoint)

    def test_a_relative_path_means_the_same_folder_elsewhere(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "models").symlink_to(checkpoint.parent)
        monkeypatch.chdir(tmp_path)
        made = F2LLMEmbeddings(model=f"models/{checkpoint.name}", cache="rows")
        pickled, dumped = pickle.dumps(made), made.model_dump()
        monkeypatch.chdir("elsewhere")
        for twin in (pickle.loads(pickled), F2LLMEmbeddings(**dumped), revive(made)):
            assert twin == made
            assert twin.model == twin.encoder.model == str(tmp_path / "models" / checkpoint.name)
            assert twin.cache == twin.encoder.config["cache"] == str(tmp_path / "rows")

    def test_a_short_name_is_pinned(self):
        kwargs = dumpd(F2LLMEmbeddings(model="80M"))["kwargs"]
        assert kwargs["model"] == "codefuse-ai/F2LLM-v2-80M"
        assert len(kwargs["revision"]) == 40

    def test_the_server_does_not_follow_the_environment(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("F2LLM_BASE_URL", "http://one")
        embeddings = F2LLMEmbeddings()
        manifest, pickled = dumpd(embeddings), pickle.dumps(embeddings)
        monkeypatch.setenv("F2LLM_BASE_URL", "http://other")
        assert manifest["kwargs"]["base_url"] == embeddings.base_url
        assert pickle.loads(pickled).encoder.config["base_url"] == embeddings.base_url
        assert "one" in str(embeddings.base_url)


class TestToken:
    @pytest.fixture
    def private(self, checkpoint: Path) -> F2LLMEmbeddings:
        return F2LLMEmbeddings(model=str(checkpoint), token=TOKEN)

    def test_is_never_shown(self, private: F2LLMEmbeddings):
        shown = [
            repr(private),
            str(private),
            repr(private.encoder),
            repr(private.token),
            dumps(private),
            repr(private.model_dump()),
            private.model_dump_json(),
            repr(pickle.dumps(private)),
            repr(pickle.dumps(private.with_options(task="sts"))),
        ]
        assert not [text for text in shown if TOKEN in text]

    @pytest.mark.parametrize(
        "mistake", [{"tokn": TOKEN}, {"token": [TOKEN]}, {"token": TOKEN, "dimensions": "wide"}]
    )
    def test_is_not_in_errors(self, checkpoint: Path, mistake: dict[str, Any]):
        with pytest.raises(ValidationError) as caught:
            F2LLMEmbeddings(model=checkpoint, **mistake)
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize("name", ["token", "api_key"])
    def test_is_not_in_the_refusal_of_an_assignment(self, private: F2LLMEmbeddings, name: str):
        with pytest.raises(ValidationError, match="frozen") as error:
            setattr(private, name, "another_secret")
        assert "another_secret" not in str(error.value) + repr(error.value.errors())

    def test_is_not_in_the_errors_of_the_core(self, checkpoint: Path):
        with pytest.raises(ConfigurationError) as caught:
            F2LLMEmbeddings(model=checkpoint, token=TOKEN, dimensions=7)
        assert TOKEN not in f"{caught.value!r} {caught.value.__cause__} {caught.value.__context__}"

    def test_is_a_reference_when_serialised(self, private: F2LLMEmbeddings):
        reference = {"lc": 1, "type": "secret", "id": ["HF_TOKEN"]}
        assert dumpd(private)["kwargs"]["token"] == reference
        assert revive(private).token is None
        assert revive(private, {"HF_TOKEN": TOKEN}) == private

    def test_is_kept_by_siblings(self, private: F2LLMEmbeddings):
        assert private.with_options(task="sts").token == private.token
