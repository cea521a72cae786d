"""`F2LLMEmbedding` is the core in LlamaIndex's words: same vectors, same errors, nothing added."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import Field, SecretStr, ValidationError
from texts import AWKWARD, SCRIPTS

from f2llm_core import (
    F2LLM,
    ConfigurationError,
    InputError,
    ModelLoadError,
    ModelNotFoundError,
    UntrainedDimensionWarning,
)
from f2llm_core.backends.local import LocalBackend
from llama_index.embeddings.f2llm import F2LLMEmbedding

_FRAMES = ("{}", "{}\n", "A. {}", "{} {}", "« {} »", "1\n\n{}")
_FRAMED = (frame.replace("{}", text) for text in SCRIPTS.values() for frame in _FRAMES)
TEXTS = [*AWKWARD, *_FRAMED, *(f"{n}: {script}" for n, script in enumerate(SCRIPTS))]
#: Where each text is a call of its own.
SOME = [*AWKWARD, *SCRIPTS.values()]

SENTENCE = SCRIPTS["Latin"]

NOT_TEXTS = {
    "none": None,
    "bytes": b"text",
    "nan": math.nan,
    "tuple": ("a", "b"),
    "list": ["a", "b"],
    "number": 7,
    "surrogate": "bad \ud800",
}
NOT_LISTS = {"str": "text", "bytes": b"text", "none": None, "dict": {"a": 1}, "set": {"a"}}


class Calls(list[list[str]]):
    """The prompts of each call that reached the engine."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    seen = Calls()
    submit = LocalBackend.submit

    def spy(self: LocalBackend, prompts: list[str], **kwargs: Any) -> Any:
        seen.append(list(prompts))
        return submit(self, prompts, **kwargs)

    monkeypatch.setattr(LocalBackend, "submit", spy)
    return seen


@pytest.fixture(scope="module")
def embedding(checkpoint: Path) -> F2LLMEmbedding:
    return F2LLMEmbedding(model_name=str(checkpoint), dtype="float32")


def assert_same(actual: Any, expected: np.ndarray) -> None:
    """Bit for bit, and made of real Python floats."""
    assert type(actual) is list
    first = actual[0] if expected.ndim == 1 else actual[0][0]
    assert type(first) is float
    np.testing.assert_array_equal(np.asarray(actual, np.float32), expected, strict=True)
    assert np.asarray(actual).astype(np.float32).astype(float).tolist() == actual


class TestParity:
    def test_covers_many_texts(self):
        assert len(set(TEXTS)) == len(TEXTS) > 200
        assert "" in SOME
        assert len(SOME) > 40

    def test_roles_differ(self, encoder: F2LLM):
        """Without this, equality below would not show which side a method uses."""
        assert not np.allclose(encoder.encode_query(SENTENCE), encoder.encode_document(SENTENCE))

    async def test_queries(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        expected = np.stack([encoder.encode_query(text) for text in SOME])
        assert_same([embedding.get_query_embedding(text) for text in SOME], expected)
        assert_same([await embedding.aget_query_embedding(text) for text in SOME], expected)

    async def test_single_texts(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        expected = np.stack([encoder.encode_document(text) for text in SOME])
        assert_same([embedding.get_text_embedding(text) for text in SOME], expected)
        assert_same([await embedding.aget_text_embedding(text) for text in SOME], expected)

    async def test_texts(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        expected = encoder.encode_document(TEXTS)
        assert_same(embedding.get_text_embedding_batch(TEXTS), expected)
        assert_same(await embedding.aget_text_embedding_batch(TEXTS), expected)
        assert_same(embedding._get_text_embeddings(TEXTS), expected)
        assert_same(await embedding._aget_text_embeddings(TEXTS), expected)

    async def test_aggregated_queries(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        expected = encoder.encode_query(TEXTS)
        assert_same(embedding.get_agg_embedding_from_queries(TEXTS, list), expected)
        assert_same(await embedding.aget_agg_embedding_from_queries(TEXTS, list), expected)

    async def test_aggregates_to_the_mean(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        mean = encoder.encode_query(TEXTS[-3:]).astype(float).mean(axis=0)
        assert embedding.get_agg_embedding_from_queries(TEXTS[-3:]) == pytest.approx(mean)
        actual = await embedding.aget_agg_embedding_from_queries(TEXTS[-3:])
        assert actual == pytest.approx(mean)

    def test_options_reach_the_vectors(self, checkpoint: Path, encoder: F2LLM):
        core = {"task": "sts", "dimensions": 32, "max_length": 50}
        adapter = F2LLMEmbedding(model_name=str(checkpoint), dtype="float32", **core)
        sibling = encoder.with_options(**core, on_truncate="ignore")
        with pytest.warns(UserWarning, match="max_length=50"):
            assert_same(adapter.get_text_embedding(SENTENCE), sibling.encode_document(SENTENCE))

    def test_instructions(self, checkpoint: Path, calls: Calls):
        adapter = F2LLMEmbedding(
            model_name=str(checkpoint), query_instruction="Find it.", text_instruction="Keep it."
        )
        adapter.get_query_embedding("q")
        adapter.get_text_embedding("t")
        assert calls == [["Instruct: Find it.\nQuery: q"], ["Instruct: Keep it.\nQuery: t"]]


class TestEngineCalls:
    async def test_aggregated_queries_are_one_call(self, embedding: F2LLMEmbedding, calls: Calls):
        embedding.get_agg_embedding_from_queries(["a", "b", "c"])
        await embedding.aget_agg_embedding_from_queries(["a", "b", "c"])
        assert [len(prompts) for prompts in calls] == [3, 3]
        assert all(prompt.startswith("Instruct: ") for prompts in calls for prompt in prompts)

    async def test_texts_are_one_call_by_default(self, embedding: F2LLMEmbedding, calls: Calls):
        embedding.get_text_embedding_batch(TEXTS)
        await embedding.aget_text_embedding_batch(TEXTS)
        assert calls == [TEXTS, TEXTS]

    def test_embed_batch_size_is_the_window(self, embedding: F2LLMEmbedding, calls: Calls):
        sized = F2LLMEmbedding.from_encoder(embedding._encoder, embed_batch_size=2)
        vectors = sized.get_text_embedding_batch(["a", "b", "c"], show_progress=True)
        assert calls == [["a", "b"], ["c"]]
        assert len(vectors) == 3

    def test_any_iterable_of_texts(self, embedding: F2LLMEmbedding):
        expected = embedding.get_text_embedding_batch(["a", "b"])
        assert embedding.get_text_embedding_batch(text for text in "ab") == expected

    def test_nodes(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        nodes = embedding([TextNode(text="a"), TextNode(text="b", metadata={"k": "v"})])
        expected = encoder.encode_document(["a", "k: v\n\nb"])
        assert_same([node.embedding for node in nodes], expected)


ASYNC_METHODS = {
    "aget_query_embedding": "text",
    "aget_text_embedding": "text",
    "_aget_query_embedding": "text",
    "_aget_text_embedding": "text",
    "_aget_text_embeddings": ["text"],
    "aget_text_embedding_batch": ["text"],
    "aget_agg_embedding_from_queries": ["text"],
    "acall": [TextNode(text="text")],
}


class TestAsync:
    @pytest.mark.parametrize("stage", ["submit", "run"])
    @pytest.mark.parametrize("method", ASYNC_METHODS)
    async def test_never_blocks_the_loop(
        self, embedding: F2LLMEmbedding, monkeypatch: pytest.MonkeyPatch, method: str, stage: str
    ):
        entered, loop_ran = threading.Event(), threading.Event()
        original = getattr(LocalBackend, stage)

        def wait_for_the_loop(self: LocalBackend, *args: Any, **kwargs: Any) -> Any:
            entered.set()
            assert loop_ran.wait(10), "the event loop was blocked"
            return original(self, *args, **kwargs)

        monkeypatch.setattr(LocalBackend, stage, wait_for_the_loop)
        task = asyncio.ensure_future(getattr(embedding, method)(ASYNC_METHODS[method]))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        loop_ran.set()
        await task

    async def test_texts_are_read_and_checked_beside_it(self, embedding: F2LLMEmbedding):
        threads = set()
        texts = (threads.add(threading.get_ident()) or text for text in SOME)
        found = await embedding.aget_text_embedding_batch(texts)
        assert found == embedding.get_text_embedding_batch(SOME)
        assert threading.get_ident() not in threads

    async def test_many_at_once(self, embedding: F2LLMEmbedding):
        texts = TEXTS[-24:]
        together = await asyncio.gather(*map(embedding.aget_text_embedding, texts))
        np.testing.assert_allclose(together, embedding.get_text_embedding_batch(texts), atol=1e-5)


class TestBadInput:
    @pytest.mark.parametrize("text", NOT_TEXTS.values(), ids=NOT_TEXTS)
    async def test_as_a_text(self, embedding: F2LLMEmbedding, calls: Calls, text: Any):
        for method in (embedding.get_query_embedding, embedding.get_text_embedding):
            with pytest.raises(InputError, match="the text"):
                method(text)
        for method in (embedding.aget_query_embedding, embedding.aget_text_embedding):
            with pytest.raises(InputError, match="the text"):
                await method(text)
        assert calls == []

    @pytest.mark.parametrize("text", NOT_TEXTS.values(), ids=NOT_TEXTS)
    async def test_inside_a_list(self, embedding: F2LLMEmbedding, calls: Calls, text: Any):
        narrow = F2LLMEmbedding.from_encoder(embedding._encoder, embed_batch_size=2)
        texts = ["a", "b", "c", "d", text]  # in the third window: none may have been embedded
        errors = []
        for method in (narrow.get_text_embedding_batch, narrow.get_agg_embedding_from_queries):
            with pytest.raises(InputError) as error:
                method(texts)
            errors.append(error.value)
        for method in (narrow.aget_text_embedding_batch, narrow.aget_agg_embedding_from_queries):
            with pytest.raises(InputError) as error:
                await method(texts)
            errors.append(error.value)
        assert [error.index for error in errors] == [4] * 4
        assert all("texts[4]" in str(error) for error in errors)
        assert calls == []

    @pytest.mark.parametrize("texts", NOT_LISTS.values(), ids=NOT_LISTS)
    async def test_instead_of_a_list(self, embedding: F2LLMEmbedding, calls: Calls, texts: Any):
        for method in (
            embedding.get_text_embedding_batch,
            embedding.get_agg_embedding_from_queries,
            embedding._get_text_embeddings,
        ):
            with pytest.raises(InputError, match="Pass a list of texts"):
                method(texts)
        for method in (
            embedding.aget_text_embedding_batch,
            embedding.aget_agg_embedding_from_queries,
            embedding._aget_text_embeddings,
        ):
            with pytest.raises(InputError, match="Pass a list of texts"):
                await method(texts)
        assert calls == []

    async def test_nothing(self, embedding: F2LLMEmbedding, calls: Calls):
        assert embedding.get_text_embedding_batch([]) == []
        assert await embedding.aget_text_embedding_batch([]) == []
        assert embedding._get_text_embeddings([]) == []
        assert await embedding._aget_text_embeddings([]) == []
        with pytest.raises(ValueError, match="No embeddings to aggregate"):
            embedding.get_agg_embedding_from_queries([])
        with pytest.raises(ValueError, match="No embeddings to aggregate"):
            await embedding.aget_agg_embedding_from_queries([])
        assert calls == []

    async def test_empty_text(self, embedding: F2LLMEmbedding):
        vectors = [
            embedding.get_text_embedding(""),
            await embedding.aget_text_embedding(""),
            *embedding.get_text_embedding_batch([""]),
        ]
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
        np.testing.assert_array_equal(vectors, [vectors[0]] * 3)


class TestConfiguration:
    @pytest.mark.parametrize("dimensions", [0, 7, 65, True, -8, 16.0, "16"])
    def test_dimensions(self, checkpoint: Path, dimensions: Any):
        with pytest.raises(ConfigurationError, match="dimensions="):
            F2LLMEmbedding(model_name=str(checkpoint), dimensions=dimensions)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("task", "no such task"),
            ("query_instruction", 1),
            ("text_instruction", b"x"),
            ("max_length", 0),
            ("max_length", True),
            ("on_truncate", "cut"),
            ("backend", "onnx"),
            ("dtype", "float16"),
            ("max_batch_tokens", 0),
            ("embeddings_cache", SimpleKVStore()),
        ],
    )
    def test_wrong_value(self, checkpoint: Path, option: str, value: Any):
        with pytest.raises(ConfigurationError):
            F2LLMEmbedding(model_name=str(checkpoint), **{option: value})

    @pytest.mark.parametrize("model", [None, "", 7, b"80M"])
    def test_no_model_name(self, model: Any):
        with pytest.raises(ConfigurationError, match="model="):
            F2LLMEmbedding(model_name=model)

    def test_a_folder_that_is_no_model(self, tmp_path: Path):
        with pytest.raises(ModelLoadError, match=r"config\.json is missing"):
            F2LLMEmbedding(model_name=str(tmp_path))

    def test_a_name_that_is_no_model(self):
        with pytest.raises(ModelNotFoundError, match="is no model"):
            F2LLMEmbedding(model_name="90M")

    @pytest.mark.parametrize("option", ["instruction", "truncate_dim", "trust_remote_code"])
    def test_unknown_options_are_refused(self, checkpoint: Path, option: str):
        with pytest.raises(ValidationError, match=option):
            F2LLMEmbedding(model_name=str(checkpoint), **{option: "x"})

    @pytest.mark.parametrize("size", [0, 2049])
    def test_embed_batch_size(self, checkpoint: Path, size: int):
        with pytest.raises(ValidationError, match="embed_batch_size"):
            F2LLMEmbedding(model_name=str(checkpoint), embed_batch_size=size)

    def test_model_is_another_word(self, checkpoint: Path):
        assert F2LLMEmbedding(model=checkpoint).model_name == str(checkpoint)
        assert F2LLMEmbedding(checkpoint).model_name == str(checkpoint)
        with pytest.raises(ValidationError, match="model"):
            F2LLMEmbedding(model_name=str(checkpoint), model="80M")

    def test_needs_no_network(self):
        """Sockets are disabled here."""
        default = F2LLMEmbedding()
        assert default.model_name == "codefuse-ai/F2LLM-v2-80M"
        assert default.revision is not None

    @pytest.mark.parametrize(
        "field", ["model_name", "dimensions", "query_instruction", "dtype", "embeddings_cache"]
    )
    def test_options_are_fixed(self, embedding: F2LLMEmbedding, field: str):
        """A changed field would be hashed, while the vectors stayed as they were."""
        with pytest.raises(ValidationError, match="frozen"):
            setattr(embedding, field, "x")

    def test_untrained_width_warns_once(self, checkpoint: Path):
        with pytest.warns(UntrainedDimensionWarning) as caught:
            adapter = F2LLMEmbedding(model_name=str(checkpoint), dimensions=17)
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            F2LLMEmbedding.from_encoder(adapter._encoder)
            adapter.get_agg_embedding_from_queries(["a"])


class TestFromEncoder:
    def test_shares_the_weights(self, encoder: F2LLM, calls: Calls):
        wrapped = F2LLMEmbedding.from_encoder(encoder, embed_batch_size=7)
        assert wrapped._encoder._backend is encoder._backend
        assert wrapped.embed_batch_size == 7
        assert_same(wrapped.get_query_embedding("q"), encoder.encode_query("q"))

    def test_has_its_options(self, encoder: F2LLM):
        sibling = encoder.with_options(
            dimensions=32, task="sts", instruction="i", document_instruction="d", max_length=50
        )
        wrapped = F2LLMEmbedding.from_encoder(sibling)
        options = {"dimensions": 32, "task": "sts", "dtype": "float32", "max_length": 50}
        instructions = {"query_instruction": "i", "text_instruction": "d"}
        assert options.items() | instructions.items() <= wrapped.to_dict().items()
        assert wrapped.model_name == encoder.model

    def test_other_options_make_a_sibling(self, encoder: F2LLM):
        narrow = F2LLMEmbedding.from_encoder(encoder, dimensions=16, text_instruction="d")
        assert (narrow.dimensions, narrow.text_instruction) == (16, "d")
        sibling = encoder.with_options(dimensions=16, document_instruction="d")
        assert_same(narrow.get_text_embedding("t"), sibling.encode_document("t"))
        assert narrow._encoder._backend is encoder._backend

    def test_refuses_what_would_need_other_weights(self, encoder: F2LLM):
        with pytest.raises(ConfigurationError, match="device"):
            F2LLMEmbedding.from_encoder(encoder, device="cpu")
        for name in ("model", "model_name"):
            with pytest.raises(ConfigurationError, match=f"{name}: the weights stay"):
                F2LLMEmbedding.from_encoder(encoder, **{name: "330M"})


OPTIONS = {
    "dimensions": 32,
    "query_instruction": "q",
    "text_instruction": "d",
    "max_length": 100,
    "on_truncate": "error",
    "dtype": "float32",
}


class Labelled(F2LLMEmbedding):
    label: str = "none"


class TestCopies:
    @pytest.fixture
    def original(self, checkpoint: Path) -> F2LLMEmbedding:
        return F2LLMEmbedding(
            model_name=str(checkpoint),
            embed_batch_size=9,
            num_workers=3,
            device="cpu",
            max_batch_tokens=500,
            local_files_only=True,
            **OPTIONS,
        )

    @pytest.mark.parametrize(
        "duplicate",
        [
            lambda e: F2LLMEmbedding.from_dict(e.to_dict()),
            lambda e: F2LLMEmbedding.from_dict(json.loads(json.dumps(e.to_dict()))),
            lambda e: F2LLMEmbedding.from_json(e.to_json()),
            lambda e: pickle.loads(pickle.dumps(e)),
            copy.copy,
            copy.deepcopy,
        ],
        ids=["dict", "json dict", "json", "pickle", "copy", "deepcopy"],
    )
    def test_make_the_same_vectors(self, original: F2LLMEmbedding, duplicate: Any):
        twin = duplicate(original)
        assert type(twin) is F2LLMEmbedding
        assert OPTIONS.items() <= twin.to_dict().items()
        assert twin.to_dict() == original.to_dict()
        assert twin.get_query_embedding("a") == original.get_query_embedding("a")
        assert twin.get_text_embedding("a") == original.get_text_embedding("a")
        with pytest.raises(InputError, match="max_length"):
            twin.get_text_embedding("a " * 200)

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_copies_share_the_weights(self, original: F2LLMEmbedding, duplicate: Any):
        assert duplicate(original)._encoder._backend is original._encoder._backend

    def test_pickle_keeps_all_but_the_token(self, original: F2LLMEmbedding):
        twin = pickle.loads(pickle.dumps(original))
        for name in set(F2LLMEmbedding.model_fields) - {"callback_manager", "rate_limiter"}:
            assert getattr(twin, name) == getattr(original, name)

    @pytest.mark.parametrize(
        "duplicate",
        [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, lambda e: e.model_copy()],
        ids=["pickle", "deepcopy", "model_copy"],
    )
    def test_a_subclass_keeps_its_fields(self, checkpoint: Path, duplicate: Any):
        twin = duplicate(Labelled(str(checkpoint), label="mine"))
        assert (type(twin), twin.label) == (Labelled, "mine")
        assert twin.get_agg_embedding_from_queries(["a"]) == twin.get_query_embedding("a")

    def test_pydantics_json_is_read_back(self, original: F2LLMEmbedding):
        twin = F2LLMEmbedding.model_validate_json(original.model_dump_json())
        assert twin.to_dict() == original.to_dict()

    def test_pickle_is_small(self, checkpoint: Path):
        adapter = F2LLMEmbedding(
            model_name=str(checkpoint), token="hf_secret", callback_manager=CallbackManager([])
        )
        adapter.get_text_embedding("load the weights")
        data = pickle.dumps(adapter)
        assert len(data) < 1000
        assert b"hf_secret" not in data
        assert pickle.loads(data).token is None


class TestModelCopy:
    """Pydantic's own would change the fields, which are hashed, but not the vectors."""

    def test_update_reaches_the_vectors(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        narrow = embedding.model_copy(update={"dimensions": 16, "query_instruction": "Find it."})
        assert (narrow.dimensions, narrow.query_instruction) == (16, "Find it.")
        sibling = encoder.with_options(dimensions=16, instruction="Find it.")
        assert_same(narrow.get_query_embedding("a"), sibling.encode_query("a"))
        assert narrow._encoder._backend is embedding._encoder._backend
        assert embedding.dimensions is None

    def test_keeps_the_rest(self, encoder: F2LLM):
        callbacks, limiter = CallbackManager([]), Limiter()
        original = F2LLMEmbedding.from_encoder(
            encoder, dimensions=16, callback_manager=callbacks, rate_limiter=limiter
        )
        twin = original.model_copy(update={"embed_batch_size": 5})
        assert (twin.embed_batch_size, twin.dimensions) == (5, 16)
        assert twin.callback_manager is callbacks
        assert twin.rate_limiter is limiter
        assert original.model_copy(deep=True).to_dict() == original.to_dict()

    def test_refuses_what_would_need_other_weights(self, embedding: F2LLMEmbedding):
        with pytest.raises(ConfigurationError, match="dtype"):
            embedding.model_copy(update={"dtype": "bfloat16"})
        with pytest.raises(ConfigurationError, match="Make another F2LLMEmbedding"):
            embedding.model_copy(update={"model_name": "330M"})


class TestSecrets:
    @pytest.mark.parametrize("token", ["hf_secret", SecretStr("hf_secret")])
    def test_token_is_never_shown(self, token: Any):
        adapter = F2LLMEmbedding(model_name="80M", token=token)
        kept = adapter._encoder._load_options.token
        assert kept is not None
        assert kept.get_secret_value() == "hf_secret"
        assert adapter.token is not None
        assert adapter.token.get_secret_value() == "hf_secret"
        shown = [adapter, adapter.to_dict(), adapter.to_payload(), adapter.model_dump_json()]
        assert "hf_secret" not in "".join(map(repr, shown)) + str(adapter)
        assert "token" not in adapter.to_dict()

    @pytest.mark.parametrize("name", ["token", "api_key"])
    def test_not_in_the_refusal_of_an_assignment(self, name: str):
        with pytest.raises(ValidationError, match="frozen") as error:
            setattr(F2LLMEmbedding(model_name="80M"), name, "hf_secret")
        assert "hf_secret" not in str(error.value) + repr(error.value.errors())

    def test_not_in_errors(self):
        with pytest.raises(ValidationError) as error:
            F2LLMEmbedding(model_name="80M", api_token="hf_secret")
        assert "api_token" in str(error.value)
        assert "hf_secret" not in str(error.value)


class TestEmbeddingsCache:
    """The base class keys its cache by the bare text, whatever the role and the width."""

    def test_the_base_class_would_mix_roles_and_widths(self, encoder: F2LLM):
        """Why it is refused; if this fails, LlamaIndex mended it and the refusal can go."""

        class Cached(BaseEmbedding):
            encoder: Any

            def _get_query_embedding(self, query: str) -> list[float]:
                return self.encoder.encode_query(query).tolist()

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return self._get_query_embedding(query)

            def _get_text_embedding(self, text: str) -> list[float]:
                return self.encoder.encode_document(text).tolist()

        store = SimpleKVStore()
        wide = Cached(encoder=encoder, embeddings_cache=store)
        narrow = Cached(encoder=encoder.with_options(dimensions=16), embeddings_cache=store)
        assert wide.get_text_embedding("a") == wide.get_query_embedding("a")
        assert len(narrow.get_text_embedding("a")) == 64

    def test_refused(self, checkpoint: Path, encoder: F2LLM):
        with pytest.raises(ConfigurationError, match="queries"):
            F2LLMEmbedding(model_name=str(checkpoint), embeddings_cache=SimpleKVStore())
        with pytest.raises(ConfigurationError, match="queries"):
            F2LLMEmbedding.from_encoder(encoder, embeddings_cache=SimpleKVStore())

    def test_roles_and_widths_stay_apart(self, encoder: F2LLM):
        wide = F2LLMEmbedding.from_encoder(encoder, embeddings_cache=None)
        narrow = F2LLMEmbedding.from_encoder(encoder, dimensions=16)
        with pytest.raises(ValidationError, match="frozen"):
            wide.embeddings_cache = SimpleKVStore()
        document = wide.get_text_embedding("a")
        assert_same(wide.get_query_embedding("a"), encoder.encode_query("a"))
        assert wide.get_query_embedding("a") != document
        assert len(narrow.get_text_embedding("a")) == 16


class Recorder(BaseEventHandler):
    chunks: list[list[str]] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, EmbeddingEndEvent):
            self.chunks.append(event.chunks)


class CallbackRecorder(BaseCallbackHandler):
    def __init__(self) -> None:
        super().__init__([], [])
        self.chunks: list[list[str]] = []

    def on_event_start(self, *_: Any, **__: Any) -> str:
        return ""

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if event_type == CBEventType.EMBEDDING and payload:
            self.chunks.append(payload[EventPayload.CHUNKS])

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, *_: Any, **__: Any) -> None: ...


class Limiter:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self) -> None:
        self.acquired += 1

    async def async_acquire(self) -> None:
        self.acquired += 1


class TestObservability:
    """What is overridden keeps the events and limits of the base class."""

    async def test_aggregated_queries(self, encoder: F2LLM):
        recorder, callbacks, limiter = Recorder(), CallbackRecorder(), Limiter()
        dispatcher = get_dispatcher()
        dispatcher.add_event_handler(recorder)
        try:
            adapter = F2LLMEmbedding.from_encoder(
                encoder, callback_manager=CallbackManager([callbacks]), rate_limiter=limiter
            )
            adapter.get_agg_embedding_from_queries(["a", "b"])
            await adapter.aget_agg_embedding_from_queries(["c"])
        finally:
            dispatcher.event_handlers.remove(recorder)
        assert recorder.chunks == callbacks.chunks == [["a", "b"], ["c"]]
        assert limiter.acquired == 2

    def test_payload_is_the_base_class_s(self, embedding: F2LLMEmbedding):
        assert embedding.to_payload() == {
            "class_name": "F2LLMEmbedding",
            "model_name": embedding.model_name,
            "embed_batch_size": 512,
        }
