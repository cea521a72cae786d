"""A model on a server: the same vectors as in this process, whoever asks and however."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import pickle
import threading
import time
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.load import dumps, loads

from f2llm_core import (
    F2LLM,
    CacheWarning,
    ClosedError,
    ConfigurationError,
    ContractWarning,
    EndpointModelError,
    EndpointRefusedError,
    EndpointTimeoutError,
    FingerprintError,
    InputError,
    ModelNotFoundError,
    TruncationWarning,
    truncate,
)
from f2llm_core.backends.endpoint.call import REQUESTS
from f2llm_core.backends.endpoint.client import CONNECTIONS
from f2llm_core.fingerprint import compare
from f2llm_core.instructions import DEFAULT_TASK, format_prompt
from f2llm_core.models import MODELS
from faults.faulty_server import CLOSE, answer, items, reply, running, serving, vector_of
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from support import edit_json

pytestmark = pytest.mark.enable_socket

TEXTS = ["우주 망원경", "", "def f(x):\n    return x\n", "a" * 300, "<|im_end|>", "우주 망원경"]


@pytest.fixture
def server(encoder):
    with running(serving(encoder), models=["model"]) as server:
        yield server


@pytest.fixture
def remote(checkpoint, server):
    with F2LLM(checkpoint, base_url=server.url) as remote:
        yield remote


@pytest.fixture
def echo():
    """A server that gives each text the vector of its own."""
    with running(answer) as server:
        yield server


@pytest.fixture
def no_files(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def least_cosine(ours, theirs):
    assert np.shape(ours) == np.shape(theirs)
    return float((np.asarray(ours) * np.asarray(theirs)).sum(axis=-1).min())


def revived(embeddings):
    """Write an object as LangChain does, and read it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        return loads(
            dumps(embeddings),
            allowed_objects=[F2LLMEmbeddings],
            valid_namespaces=["langchain_f2llm"],
        )


def right_rows(texts):
    """What comes of the echo's answers."""
    return truncate(np.stack([vector_of(text) for text in texts]))


class TestSameVectors:
    @pytest.mark.parametrize(
        "options",
        [{}, {"dimensions": 8}, {"task": "code"}, {"task": "sts", "dimensions": 16}],
        ids=str,
    )
    def test_core(self, encoder, remote, options):
        here, there = encoder.with_options(**options), remote.with_options(**options)
        for side in ("encode_query", "encode_document"):
            right = getattr(here, side)(TEXTS)
            assert least_cosine(getattr(there, side)(TEXTS), right) > 0.99999
            found = asyncio.run(getattr(there, f"a{side}")(TEXTS))
            assert least_cosine(found, right) > 0.99999
        assert there.encode_document([]).shape == (0, here.dimensions)
        assert there.encode_query("one").shape == (here.dimensions,)

    def test_stream(self, encoder, remote):
        texts = [f"text {i}" for i in range(70)]
        found = np.concatenate(list(remote.iter_documents(texts, block_size=33)))
        assert least_cosine(found, encoder.encode_document(texts)) > 0.99999

    @pytest.mark.parametrize("options", [{}, {"dimensions": 16, "task": "code"}], ids=str)
    def test_langchain(self, checkpoint, encoder, server, options):
        right = encoder.with_options(**options)
        there = F2LLMEmbeddings(model=checkpoint, base_url=server.url, **options)
        query, documents = right.encode_query("q"), right.encode_document(TEXTS)
        assert least_cosine(there.embed_query("q"), query) > 0.99999
        assert least_cosine(there.embed_documents(TEXTS), documents) > 0.99999
        assert least_cosine(asyncio.run(there.aembed_query("q")), query) > 0.99999
        assert least_cosine(asyncio.run(there.aembed_documents(TEXTS)), documents) > 0.99999

    @pytest.mark.parametrize("options", [{}, {"dimensions": 16, "task": "code"}], ids=str)
    def test_llama_index(self, checkpoint, encoder, server, options):
        right = encoder.with_options(**options)
        there = F2LLMEmbedding(str(checkpoint), base_url=server.url, **options)
        query, documents = right.encode_query("q"), right.encode_document(TEXTS)
        assert least_cosine(there.get_query_embedding("q"), query) > 0.99999
        assert least_cosine(there.get_text_embedding_batch(TEXTS), documents) > 0.99999
        assert least_cosine(asyncio.run(there.aget_query_embedding("q")), query) > 0.99999
        found = asyncio.run(there.aget_text_embedding_batch(TEXTS))
        assert least_cosine(found, documents) > 0.99999

    def test_sent_as_the_tokenizer_reads_it(self, checkpoint, echo):
        """Not every server composes Unicode as the model's tokenizer does."""
        remote = F2LLM(checkpoint, base_url=echo.url)
        remote.encode_document(["cafe\u0301", "plain\n text "])
        assert echo.posts[-1].texts == ["caf\u00e9", "plain\n text "]

    def test_cut_as_here(self, checkpoint, encoder, server):
        """A text is cut where the model in this process cuts it, though sent as text."""
        texts = ["우주 망원경은 먼 은하를 관측한다. " * 5, "x " * 90, "short", "e\u0301" * 60]
        with pytest.warns(TruncationWarning):
            right = encoder.with_options(max_length=40).encode_document(texts)
        there = F2LLM(checkpoint, base_url=server.url, max_length=40)
        with pytest.warns(TruncationWarning, match="3 texts were longer"):
            found = there.encode_document(texts)
        assert least_cosine(found[:3], right[:3]) > 0.99999
        # The last is cut within a character here, which no text can be.
        sent = server.posts[-1].texts
        assert unicodedata.normalize("NFC", texts[3]).startswith(sent[3])
        counts = encoder.count_tokens(sent)
        assert [38 <= count <= 40 for count in counts] == [True, True, False, True]
        with pytest.raises(InputError, match=r"texts\[0\]"):
            there.with_options(on_truncate="error").encode_document(texts)
        with pytest.raises(ConfigurationError, match="no room"):
            there.with_options(max_length=3).encode_query("q")

    def test_the_instruction_is_in_front_once(self, remote, server, encoder):
        remote.encode_query("what?")
        assert server.posts[-1].texts == [f"{encoder.prompts.query}what?"]
        remote.encode_document("this.")
        assert server.posts[-1].texts == ["this."]
        asked = json.loads(server.posts[-1].body)
        assert asked == {"model": "model", "input": ["this."], "encoding_format": "float"}


class TestRequests:
    @pytest.mark.parametrize("count", [1, 32, 33, 100])
    def test_are_of_at_most_32_texts(self, checkpoint, echo, count):
        remote = F2LLM(checkpoint, base_url=echo.url, document_instruction="")
        texts = [f"{i}" for i in range(count)]
        rows = remote.encode_document(texts)
        assert least_cosine(rows, right_rows(texts)) > 0.99999
        sizes = sorted(len(request.texts) for request in echo.posts)
        assert max(sizes) <= 32
        assert len(sizes) == -(-count // 32)
        assert (remote.stats.passes, remote.stats.texts) == (len(sizes), count)

    def test_are_of_at_most_half_a_megabyte(self, checkpoint, echo):
        remote = F2LLM(checkpoint, base_url=echo.url, on_truncate="ignore")
        remote._backend._traffic.max_bytes = 1000
        remote.encode_document(["a" * 400, "b" * 400, "c" * 400, "d" * 2000, "e"])
        assert sorted(len(request.texts) for request in echo.posts) == [1, 1, 1, 2]

    def test_hold_equal_texts_once(self, checkpoint, echo):
        remote = F2LLM(checkpoint, base_url=echo.url)
        rows = remote.encode_document(["a", "b", "a", "a"])
        assert echo.posts[0].texts == ["a", "b"]
        assert np.array_equal(rows[0], rows[3])
        assert not np.array_equal(rows[0], rows[1])

    @pytest.mark.parametrize("status", [413, 422])
    @pytest.mark.parametrize("limit", [1, 5, 31])
    def test_are_halved_when_they_are_too_large(self, checkpoint, status, limit):
        script = lambda r: answer(r) if len(r.texts) <= limit else reply({"error": "big"}, status)  # noqa: E731
        texts = [f"{i}" for i in range(70)]
        with running(script) as server:
            remote = F2LLM(checkpoint, base_url=server.url)
            rows = remote.encode_document(texts)
            assert np.array_equal(rows[7], remote.encode_document("7"))
            before = len(server.posts)
            remote.encode_document(texts)
            assert all(len(request.texts) <= limit for request in server.posts[before:])

    def test_one_text_that_is_refused_does_not_make_all_requests_small(self, checkpoint):
        script = lambda r: reply({"error": "bad text"}, 422) if "bad" in r.texts else answer(r)  # noqa: E731
        with running(script) as server:
            remote = F2LLM(checkpoint, base_url=server.url)
            with pytest.raises(EndpointRefusedError, match="bad text") as caught:
                remote.encode_document(["bad", *map(str, range(31))])
            assert caught.value.status == 422
            remote.encode_document([f"{i}" for i in range(32)])
            assert len(server.posts[-1].texts) == 32

    def test_are_sent_with_the_key(self, checkpoint, echo, monkeypatch):
        F2LLM(checkpoint, base_url=echo.url, api_key="given").encode_query("a")
        monkeypatch.setenv("F2LLM_API_KEY", "from-the-environment")
        F2LLM(checkpoint, base_url=echo.url).encode_query("a")
        keys = [request.headers["authorization"] for request in echo.posts]
        assert keys == ["Bearer given", "Bearer from-the-environment"]

    def test_go_through_a_proxy_that_the_environment_names(self, checkpoint, echo, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", echo.url)
        monkeypatch.setenv("NO_PROXY", "")
        F2LLM(checkpoint, base_url="http://embeddings.invalid").encode_query("a")
        assert echo.posts[0].path == "http://embeddings.invalid/v1/embeddings"

    def test_progress_is_of_all_texts(self, checkpoint, echo, capsys):
        F2LLM(checkpoint, base_url=echo.url).encode_document(["a", "b"] * 40, show_progress=True)
        assert "80/80" in capsys.readouterr().err


class TestManyCallers:
    def test_one_thread_and_few_connections_for_all_queries(self, checkpoint, encoder, echo):
        remote = F2LLM(checkpoint, base_url=echo.url)
        remote.encode_query("first")
        before = threading.active_count()
        most = 0

        async def ask(number):
            nonlocal most
            row = await remote.aencode_query(f"{number}")
            most = max(most, threading.active_count())
            return row

        async def ask_all():
            return await asyncio.gather(*map(ask, range(300)))

        rows = asyncio.run(ask_all())
        prompt = encoder.prompts.query
        right = right_rows([f"{prompt}{n}" for n in range(300)])
        assert least_cosine(rows, right) > 0.99999
        assert echo.most_at_once <= CONNECTIONS
        # Ours take one more, which tokenises; the server in this process one for a connection.
        assert most <= before + CONNECTIONS + 1

    def test_the_event_loop_goes_on(self, checkpoint):
        meanwhile = threading.Event()
        with running(lambda r: answer(r) if meanwhile.wait(30) else [CLOSE]) as server:
            remote = F2LLM(checkpoint, base_url=server.url, max_retries=0)

            async def ask():
                waiting = asyncio.ensure_future(remote.aencode_document(["a"]))
                while not (server.posts or waiting.done()):
                    await asyncio.sleep(0.01)
                meanwhile.set()
                return await waiting

            assert asyncio.run(ask()).shape == (1, 64)

    def test_a_query_does_not_wait_for_a_corpus(self, checkpoint):
        answered, in_time = threading.Event(), []

        def script(request):
            if not request.texts[0].endswith("q"):
                in_time.append(answered.wait(30))
            return answer(request)

        with running(script) as server, ThreadPoolExecutor(1) as threads:
            remote = F2LLM(checkpoint, base_url=server.url)
            corpus = threads.submit(remote.encode_document, [f"{i}" for i in range(32 * 40)])
            while len(server.posts) < REQUESTS:
                time.sleep(0.01)
            remote.encode_query("q")
            answered.set()
            assert corpus.result().shape == (1280, 64)
            assert all(in_time)
            assert server.most_at_once <= REQUESTS + 1

    def test_a_cancelled_call_leaves_nothing_behind(self, checkpoint):
        with running(lambda _: [30.0]) as server:
            remote = F2LLM(checkpoint, base_url=server.url, server_model="model")
            remote._backend._thread.run(lambda _: asyncio.sleep(0)).result()
            loop = remote._backend._thread._running[0]

            async def give_up():
                await asyncio.wait_for(remote.aencode_query("a"), 0.3)

            with pytest.raises(asyncio.TimeoutError):
                asyncio.run(give_up())
            until = time.monotonic() + 5
            while asyncio.all_tasks(loop) and time.monotonic() < until:
                time.sleep(0.01)
            assert not asyncio.all_tasks(loop)

    def test_a_corpus_may_take_longer_than_timeout_while_answers_come(self, checkpoint):
        one_at_a_time = threading.Lock()

        def script(request):
            with one_at_a_time:
                yield 0.05
                yield from answer(request)

        with running(script) as server:
            remote = F2LLM(checkpoint, base_url=server.url, timeout=2.0)
            began = time.monotonic()
            remote.encode_document([f"{i}" for i in range(32 * 48)])
            assert time.monotonic() - began > 2.0

    def test_a_timeout_is_said_with_what_went_before(self, checkpoint):
        steps = {0: reply({"error": "loading"}, 503)}
        with running(lambda r: steps.get(r.number, [30.0])) as server:
            remote = F2LLM(checkpoint, base_url=server.url, timeout=1.0)
            with pytest.raises(
                EndpointTimeoutError, match=r"within 1 s; before that, it .*loading"
            ):
                remote.encode_query("a")
            with pytest.raises(TimeoutError):
                remote.encode_query("a")


class TestLife:
    def test_close_ends_who_waits(self, checkpoint):
        with running(lambda _: [30.0]) as server, ThreadPoolExecutor(2) as threads:
            remote = F2LLM(checkpoint, base_url=server.url)
            waiting = [threads.submit(remote.encode_query, "a") for _ in range(2)]
            while len(server.posts) < 2:
                time.sleep(0.01)
            thread = remote._backend._thread._running[1]
            remote.close()
            remote.close()
            for call in waiting:
                with pytest.raises(ClosedError, match="Make a new one"):
                    call.result(timeout=10)
            assert not thread.is_alive()
            with pytest.raises(ClosedError):
                remote.with_options(dimensions=8).encode_query("a")

    def test_the_thread_ends_with_the_last_encoder(self, checkpoint, echo):
        remote = F2LLM(checkpoint, base_url=echo.url)
        remote.encode_query("a")
        thread = remote._backend._thread._running[1]
        del remote
        thread.join(timeout=10)
        assert not thread.is_alive()

    @pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork_begins_anew_and_leaves_the_parent_alone(self, checkpoint, echo):
        remote = F2LLM(checkpoint, base_url=echo.url)
        right = remote.encode_query("a")
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.map(remote.encode_query, ["a"] * 4):
                assert np.array_equal(found, right)
        assert np.array_equal(remote.encode_query("a"), right)

    def test_a_pickle_is_the_configuration(self, checkpoint, server, monkeypatch):
        remote = F2LLM(checkpoint, base_url=f"{server.url}/v1/", timeout=7, max_retries=0)
        monkeypatch.setenv("F2LLM_BASE_URL", "http://another.invalid")
        again = pickle.loads(pickle.dumps(remote))
        assert again.config == remote.config
        assert again.config["base_url"] == server.url
        assert "api_key" not in again.config
        assert least_cosine(again.encode_query("a"), remote.encode_query("a")) > 0.99999
        assert f"base_url='{server.url}'" in repr(again)


class TestName:
    @pytest.mark.parametrize(
        ("model", "listed", "name"),
        [
            ("0.6B", None, "codefuse-ai/F2LLM-v2-0.6B"),
            ("0.6B", [], "codefuse-ai/F2LLM-v2-0.6B"),
            ("0.6B", ["codefuse-ai/F2LLM-v2-0.6B"], "codefuse-ai/F2LLM-v2-0.6B"),
            (
                "0.6B",
                ["bge-m3", "/models/f2llm_v2_0.6b-F16.gguf"],
                "/models/f2llm_v2_0.6b-F16.gguf",
            ),
            (
                "80M",
                ["hf.co/mradermacher/F2LLM-v2-80M-GGUF:f16"],
                "hf.co/mradermacher/F2LLM-v2-80M-GGUF:f16",
            ),
        ],
    )
    def test_is_what_the_server_calls_the_model(self, no_files, model, listed, name):
        width = MODELS[model].width
        script = lambda r: reply({"data": items(r.texts, width)})  # noqa: E731
        with running(script, models=listed) as server:
            F2LLM(model, base_url=server.url).encode_query("a")
            assert json.loads(server.posts[0].body)["model"] == name

    @pytest.mark.parametrize(
        ("model", "listed", "error", "said"),
        [
            ("4B", ["codefuse-ai/F2LLM-v2-14B"], EndpointModelError, "14B'.*server_model="),
            ("80M", ["bge-m3", "e5"], EndpointModelError, "'bge-m3', 'e5'.*not look like.*80M"),
            ("80M", ["f2llm-v2-80m:f16", "f2llm-v2-80m:q4"], EndpointRefusedError, "more than one"),
        ],
    )
    def test_of_another_model_is_refused(self, no_files, model, listed, error, said):
        with running(answer, models=listed) as server:
            with pytest.raises(error, match=said):
                F2LLM(model, base_url=server.url).encode_query("a")
            assert not server.posts

    def test_a_list_that_fails_is_asked_for_again(self, checkpoint):
        def script(request):
            known = json.loads(request.body)["model"] == f"{checkpoint.name}-q8"
            return answer(request) if known else reply({"error": "no such model"}, 404)

        with running(script, models=[f"{checkpoint.name}-q8"]) as server:
            server.list_status = 500
            remote = F2LLM(checkpoint, base_url=server.url)
            with pytest.raises(EndpointRefusedError, match="404"):
                remote.encode_query("a")
            server.list_status = 200
            assert remote.encode_query("a").shape == (64,)
            assert remote.encode_query("b").shape == (64,)
        assert [r.method for r in server.requests] == ["GET", "POST", "GET", "POST", "POST"]

    def test_that_is_given_is_believed_and_nothing_asked(self, checkpoint, echo):
        F2LLM(checkpoint, base_url=echo.url, server_model="prod").encode_query("a")
        assert [request.method for request in echo.requests] == ["POST"]
        assert json.loads(echo.posts[0].body)["model"] == "prod"

    def test_in_an_answer_of_another_model_is_refused(self, checkpoint):
        with running(lambda r: answer(r, model="/data")) as server:
            remote = F2LLM(checkpoint, base_url=server.url)
            with pytest.raises(EndpointModelError, match="pass server_model='/data'"):
                remote.encode_query("a")
            F2LLM(checkpoint, base_url=server.url, server_model="/data").encode_query("a")

    def test_a_refused_key_is_said_at_once(self, checkpoint, server):
        server.models = None
        with running(lambda _: reply({"error": "key"}, 401)) as strict:
            with pytest.raises(EndpointRefusedError, match=r"wants a key.*F2LLM_API_KEY") as caught:
                F2LLM(checkpoint, base_url=strict.url).encode_query("a")
            assert caught.value.status == 401


class TestWidth:
    def test_of_another_model_is_refused(self, checkpoint):
        script = lambda r: reply({"data": items(r.texts, 128)})  # noqa: E731
        said = pytest.raises(EndpointModelError, match=r"128 dimensions.*has 64")
        with running(script) as server, said:
            F2LLM(checkpoint, base_url=server.url).encode_query("a")

    def test_is_learnt_where_nothing_tells(self, no_files, echo):
        remote = F2LLM("someone/their-model", base_url=echo.url, dimensions=16)
        with pytest.warns(ContractWarning, match="not known without its files"):
            assert remote.encode_query("a").shape == (16,)
        assert remote.width == 64
        assert echo.posts[-1].texts == [f"{format_prompt(DEFAULT_TASK.instruction)}a"]


class TestWithoutFiles:
    @pytest.fixture
    def bare(self, no_files):
        script = lambda r: reply({"data": items(r.texts, 320)})  # noqa: E731
        with running(script) as server:
            yield F2LLM("80M", base_url=server.url)

    def test_it_works(self, bare):
        assert bare.encode_query(["a", "b" * 100_000]).shape == (2, 320)
        assert bare.max_length == 8192
        assert bare.prompts.query == format_prompt(DEFAULT_TASK.instruction)

    def test_what_would_need_them_is_refused(self, bare):
        with pytest.raises(ConfigurationError, match=r"max_length=512 needs.*hf download"):
            bare.with_options(max_length=512).encode_query("a")
        with pytest.raises(ConfigurationError, match="on_truncate='error' needs"):
            bare.with_options(on_truncate="error").encode_query("a")
        with pytest.raises(ModelNotFoundError, match="hf download codefuse-ai/F2LLM-v2-80M"):
            bare.count_tokens(["a"])

    def test_the_fingerprint_is_of_the_pinned_revision(self, bare, echo):
        found = bare.fingerprint
        assert found.model == f"codefuse-ai/F2LLM-v2-80M@{MODELS['80M'].revision}"
        assert (found.backend, found.dtype, found.eos) == ("endpoint", "unknown", 151645)
        other = F2LLM("someone/their-model", base_url=echo.url)
        with pytest.raises(FingerprintError, match="pass the commit as `revision`"):
            _ = other.fingerprint

    def test_rows_that_were_not_counted_are_not_used_once_texts_are(
        self, checkpoint, no_files, echo, tmp_path
    ):
        commit, texts = "1" * 40, ["long " * 8200, "short"]
        options = {"revision": commit, "base_url": echo.url, "cache": tmp_path / "cache"}
        for _ in range(2):
            with pytest.warns(ContractWarning, match="not known without its files"):
                uncut = F2LLM("someone/their-model", **options).encode_document(texts)
        # They are kept as long as nobody can count.
        assert [post.texts for post in echo.posts if "short" in post.texts] == [texts]
        snapshot = no_files / "models--someone--their-model" / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for path in checkpoint.glob("*.json"):
            (snapshot / path.name).write_bytes(path.read_bytes())
        edit_json(snapshot / "config.json", max_position_embeddings=8192)  # what it was taken for
        for _ in range(2):
            remote = F2LLM("someone/their-model", **options)
            with pytest.warns(TruncationWarning, match="1 text was longer"):
                cut = remote.encode_document(texts)
        assert len(echo.posts[-1].texts[0]) < len(texts[0])
        assert not np.array_equal(cut[0], uncut[0])
        assert np.array_equal(cut[1], uncut[1])
        strict = remote.with_options(on_truncate="error")
        assert strict.encode_document("short").shape == (64,)

    def test_the_small_files_are_enough(self, checkpoint, no_files, echo, encoder):
        commit = "1" * 40
        snapshot = no_files / "models--someone--their-model" / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for path in checkpoint.glob("*.json"):
            (snapshot / path.name).write_bytes(path.read_bytes())
        remote = F2LLM("someone/their-model", revision=commit, base_url=echo.url)
        assert remote.count_tokens(TEXTS) == encoder.count_tokens(TEXTS)
        assert remote.width == 64
        assert remote.fingerprint.model == f"someone/their-model@{commit}"
        assert remote.prompts == encoder.prompts
        assert not echo.requests


class TestIdentity:
    def test_rows_of_a_server_and_of_this_process_are_cached_apart(
        self, checkpoint, tmp_path, echo
    ):
        there = F2LLM(checkpoint, base_url=echo.url, cache=tmp_path)
        here = F2LLM(checkpoint, dtype="float32", cache=tmp_path)
        right = here.encode_document(["a", "b"])
        found = there.encode_document(["a", "b"])
        assert least_cosine(found, right) < 0.9
        again = F2LLM(checkpoint, base_url=echo.url, cache=tmp_path)
        assert np.array_equal(again.encode_document(["b", "a"]), found[::-1])
        assert len(echo.posts) == 1
        with running(answer) as other:
            F2LLM(checkpoint, base_url=other.url, cache=tmp_path).encode_document(["a"])
            assert len(other.posts) == 1
        F2LLM(checkpoint, base_url=echo.url, server_model="x", cache=tmp_path).encode_document("a")
        assert len(echo.posts) == 2

    def test_without_a_revision_nothing_is_cached(self, no_files, tmp_path, echo):
        remote = F2LLM("someone/their-model", base_url=echo.url, cache=tmp_path)
        with pytest.warns(CacheWarning, match="pass the commit"), pytest.warns(ContractWarning):
            remote.encode_document(["a"])

    def test_an_index_from_here_may_be_asked_there(self, encoder, remote):
        found = compare(remote.fingerprint, encoder.fingerprint)
        assert (found.level, set(found.fields)) == ("warning", {"dtype", "backend"})


HOSTILE = [
    "localhost:8080",
    "ftp://host",
    "file:///etc/passwd",
    "gopher://host",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "http:",
    "http://",
    "http:///path",
    "https://:443",
    "//host",
    "",
    "http://user:password@host",
    "http://password@host",
    "https://@host",
    "http://host@evil",
    "http://host\\@evil",
    "http://host/?key=password",
    "http://host/#password",
    "http://host?",
    "http://host name",
    "http://host\r\nX-Header: 1",
    "http://host\x00",
    "http://hóst",
    "http://host:99999",
    "http://host:port",
    "http://[::1",
    "http://.host",
    "http://host/v1/embeddings",
    "http://{host}",
    " http://host",
    "http://host\t",
    b"http://host",
    8080,
]


class TestOptions:
    @pytest.mark.parametrize("url", HOSTILE, ids=ascii)
    def test_what_is_no_address_is_refused_and_not_shown(self, checkpoint, url):
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            F2LLM(checkpoint, base_url=url)
        assert "password" not in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("http://host", "http://host"),
            ("https://host:8443/", "https://host:8443"),
            ("http://host/v1", "http://host"),
            ("http://host/v1/", "http://host"),
            ("http://host/embed/v1", "http://host/embed"),
            ("HTTP://[::1]:80/v1", "HTTP://[::1]:80"),
        ],
    )
    def test_an_address_with_or_without_its_end(self, checkpoint, given, kept):
        assert F2LLM(checkpoint, base_url=given).config["base_url"] == kept

    def test_the_environment_names_a_server(self, checkpoint, echo, monkeypatch):
        monkeypatch.setenv("F2LLM_BASE_URL", echo.url)
        for make in (F2LLM, lambda m: F2LLMEmbeddings(model=m).encoder):
            assert make(checkpoint).config["base_url"] == echo.url
        assert F2LLMEmbedding(str(checkpoint)).base_url == echo.url
        langchain = F2LLMEmbeddings(model=str(checkpoint))
        monkeypatch.setenv("F2LLM_BASE_URL", "http://another.invalid")
        for again in (pickle.loads(pickle.dumps(langchain)), revived(langchain)):
            assert again == langchain
            assert again.encoder.config["base_url"] == echo.url
        here = F2LLM(checkpoint, backend="local")
        assert here.config["base_url"] is None
        assert here.with_options(dimensions=8).encode_query("a").shape == (8,)
        # Nothing in the call speaks of a server: where it comes from, and the way out.
        said = r"server \(http://another.invalid\).*backend='local'.*F2LLM_BASE_URL"
        with pytest.raises(ConfigurationError, match=said):
            F2LLM(checkpoint, dtype="float32")

    def test_an_empty_environment_names_nothing(self, checkpoint, echo, monkeypatch):
        monkeypatch.setenv("F2LLM_BASE_URL", "")
        monkeypatch.setenv("F2LLM_API_KEY", "")
        assert F2LLM(checkpoint).config["backend"] == "local"
        F2LLM(checkpoint, base_url=echo.url).encode_query("a")
        assert "authorization" not in echo.posts[0].headers

    def test_a_key_in_the_environment_is_for_servers(self, checkpoint, monkeypatch):
        monkeypatch.setenv("F2LLM_API_KEY", "from-the-environment")
        local = F2LLM(checkpoint, backend="local")
        assert "from-the-environment" not in json.dumps(local.config)

    def test_the_defaults_are_those_documented(self, checkpoint):
        config = F2LLM(checkpoint).config
        found = {name: config[name] for name in ("timeout", "max_retries", "cache_max_bytes")}
        assert found == {"timeout": 60, "max_retries": 4, "cache_max_bytes": 2 * 2**30}

    @pytest.mark.parametrize(
        "options",
        [
            {"backend": "endpoint"},
            {"backend": "local", "base_url": "http://host"},
            {"backend": "sentence-transformers", "base_url": "http://host"},
            {"server_model": "name"},
            {"api_key": "key"},
            {"base_url": "http://host", "device": "cpu"},
            {"base_url": "http://host", "dtype": "bfloat16"},
            {"base_url": "http://host", "max_batch_tokens": 8},
            {"base_url": "http://host", "server_model": 1},
            {"base_url": "http://host", "api_key": "two words"},
            {"base_url": "http://host", "timeout": 0},
            {"base_url": "http://host", "timeout": float("inf")},
            {"base_url": "http://host", "timeout": float("nan")},
            {"base_url": "http://host", "timeout": "60"},
            {"base_url": "http://host", "max_retries": -1},
            {"base_url": "http://host", "max_retries": True},
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_refused(self, checkpoint, options):
        with pytest.raises(ConfigurationError, match=list(options)[-1]):
            F2LLM(checkpoint, **options)
