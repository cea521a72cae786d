import asyncio
import copy
import gc
import inspect
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar

import numpy as np
import pytest
import torch
from texts import AWKWARD, SCRIPTS, many_texts

from f2llm_core import (
    F2LLM,
    TASKS,
    ClosedError,
    ConfigurationError,
    ContractWarning,
    InputError,
    NonFiniteError,
    TruncationWarning,
    UntrainedDimensionWarning,
    pipeline,
    truncate,
)
from f2llm_core.doctor.golden import make_golden, write_golden
from f2llm_core.engine import weights
from f2llm_core.testing import tiny_checkpoint
from langchain_f2llm import F2LLMEmbeddings
from support import copy_model, edit_json, gate

QUERY = "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: "
TEXTS = list(SCRIPTS.values())


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestShapes:
    def test_a_list_gives_unit_rows(self, encoder):
        for vectors in (encoder.encode_query(TEXTS), encoder.encode_document(TEXTS)):
            assert vectors.shape == (len(TEXTS), 64)
            assert vectors.dtype == np.float32
            assert vectors.flags.c_contiguous
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)

    def test_one_text_gives_its_row(self, encoder):
        np.testing.assert_allclose(
            encoder.encode_document(TEXTS[0]), encoder.encode_document(TEXTS)[0], atol=1e-6
        )
        assert encoder.encode_query("").shape == (64,)

    def test_no_texts_give_no_rows(self, encoder):
        assert encoder.encode_document([]).shape == (0, 64)
        assert encoder.with_options(dimensions=16).encode_query(iter(())).shape == (0, 16)

    def test_generators_are_read_once(self, encoder):
        vectors = encoder.encode_document(text for text in TEXTS)
        np.testing.assert_array_equal(vectors, encoder.encode_document(TEXTS))


class TestSides:
    def test_a_query_is_the_prompted_text_and_a_document_the_text(self, encoder):
        np.testing.assert_allclose(
            encoder.encode_query(TEXTS),
            encoder.encode_document([QUERY + text for text in TEXTS]),
            atol=1e-6,
        )
        assert encoder.prompts.query == QUERY
        assert encoder.prompts.document == ""

    def test_encode_is_for_symmetric_tasks_only(self, encoder):
        sts = encoder.with_options(task="sts")
        np.testing.assert_array_equal(sts.encode(TEXTS), sts.encode_query(TEXTS))
        np.testing.assert_array_equal(sts.encode(TEXTS), sts.encode_document(TEXTS))
        for asymmetric in (encoder, encoder.with_options(task="code")):
            with pytest.raises(ConfigurationError, match="encode_query or encode_document"):
                asymmetric.encode(TEXTS)

    def test_encode_is_not_for_two_prompts_of_the_checkpoint(self, tmp_path):
        folder = copy_model(tmp_path / "model")
        prompts = {"query": "q: ", "document": "d: "}
        edit_json(folder / "config_sentence_transformers.json", prompts=prompts)
        refused = pytest.raises(ConfigurationError, match="encode_query or encode_document")
        with refused, pytest.warns(ContractWarning):
            F2LLM(folder).encode("a")

    def test_newlines_and_case_are_part_of_the_text(self, encoder):
        one, other, third = encoder.encode_document(["a\nb", "a b", "A\nb"])
        assert one @ other < 0.999
        assert one @ third < 0.999


class TestOptions:
    def test_dimensions_cut_and_renormalise(self, encoder):
        full = encoder.encode_document(TEXTS)[:, :16]
        expected = full / np.linalg.norm(full, axis=1, keepdims=True)
        small = encoder.with_options(dimensions=16)
        np.testing.assert_allclose(small.encode_document(TEXTS), expected, atol=1e-6)
        assert (small.dimensions, small.width, encoder.dimensions) == (16, 64, 64)

    @pytest.mark.parametrize("dimensions", [0, 7, 65, True, "16", 16.0])
    def test_a_wrong_dimension_is_refused_before_anything_is_loaded(self, checkpoint, dimensions):
        allowed = "from 8 to 64" if dimensions == 65 else "from 8 to the model's width"
        with pytest.raises(ConfigurationError, match=allowed):
            F2LLM(checkpoint, dimensions=dimensions)
        with pytest.raises(ConfigurationError, match=allowed):
            F2LLM(checkpoint).with_options(dimensions=dimensions)
        with pytest.raises(ConfigurationError, match="from 8 to 320"):
            F2LLM("80M", dimensions=321)

    def test_an_untrained_dimension_warns_once(self, checkpoint):
        with pytest.warns(UntrainedDimensionWarning) as caught:
            encoder = F2LLM(checkpoint, dimensions=20)
        encoder.with_options(task="sts").encode(TEXTS)  # a second warning would be an error here
        assert len(caught) == 1
        assert caught[0].filename == __file__

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("task", "retreival"),
            ("instruction", 3),
            ("document_instruction", b"x"),
            ("max_length", 0),
            ("max_length", 1.5),
            ("max_length", True),
            ("max_length", 1),
            ("timeout", -1),
            ("timeout", "x"),
            ("max_retries", -1),
            ("dtype", ["auto"]),
            ("cache", "~nobody-of-that-name/cache"),
            ("on_truncate", "raise"),
            ("backend", "vllm"),
            ("dtype", "float16"),
            ("dtype", "bf16"),
            ("max_batch_tokens", 0),
            ("max_batch_tokens", -1),
        ],
    )
    def test_a_wrong_value_is_refused_at_construction(self, checkpoint, option, value):
        with pytest.raises(ConfigurationError, match=repr(value)):
            F2LLM(checkpoint, **{option: value})

    def test_eight_bits_are_for_the_own_engine(self, checkpoint):
        with pytest.raises(ConfigurationError, match=r"int8.*backend='local'"):
            F2LLM(checkpoint, dtype="int8", backend="sentence-transformers")

    def test_a_device_that_is_not_there_is_refused(self, checkpoint):
        for device in ("cuda:99", "warp"):
            with pytest.raises(ConfigurationError, match=f"device='{device}'"):
                F2LLM(checkpoint, device=device).encode_query("a")

    def test_max_length_beyond_the_model_is_refused(self, checkpoint):
        with pytest.raises(ConfigurationError, match="4096 positions"):
            F2LLM(checkpoint, max_length=4097)

    @pytest.mark.parametrize("option", ["instruction", "document_instruction"])
    def test_an_instruction_that_is_no_valid_unicode_is_refused(self, checkpoint, option):
        with pytest.raises(ConfigurationError, match=f"{option}=.*lone surrogate"):
            F2LLM(checkpoint, **{option: "a\ud800"})

    @pytest.mark.parametrize(
        "token", [12345, "hf_secret\n", "hf secret", "hf_sécret", b"hf_secret", ""]
    )
    def test_what_can_be_no_token_is_refused_without_showing_it(self, token):
        with pytest.raises(ConfigurationError, match="token: expected") as caught:
            F2LLM("80M", token=token)
        assert "12345" not in str(caught.value)
        assert "cret" not in str(caught.value)

    def test_siblings_share_the_weights_and_leave_the_original_alone(self, encoder):
        sibling = encoder.with_options(instruction="Find it.", dimensions=8)
        assert sibling._backend is encoder._backend
        assert encoder.prompts.query == QUERY
        assert sibling.prompts.query == "Instruct: Find it.\nQuery: "

    def test_an_option_of_the_weights_or_an_unknown_one_cannot_be_changed(self, encoder):
        with pytest.raises(ConfigurationError, match=r"cannot change dtype, modle.*Allowed"):
            encoder.with_options(dtype="float32", modle="80M")

    def test_it_is_immutable(self, encoder):
        with pytest.raises(AttributeError):
            encoder.dimensions = 8
        with pytest.raises(AttributeError):
            encoder.dimension = 8


class TestBatches:
    def test_alone_in_a_batch_and_in_any_order_are_the_same(self, encoder):
        texts = [*TEXTS, *AWKWARD]
        alone = np.stack([encoder.encode_document(text) for text in texts])
        order = np.random.default_rng(0).permutation(len(texts))
        shuffled = encoder.encode_document([texts[i] for i in order])
        np.testing.assert_allclose(shuffled, alone[order], atol=1e-5)

    @pytest.mark.parametrize("budget", [1, 7, 64, 100_000])
    def test_whatever_the_budget(self, checkpoint, encoder, budget):
        other = F2LLM(checkpoint, dtype="float32", max_batch_tokens=budget)
        np.testing.assert_allclose(
            other.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-5
        )

    def test_the_same_call_gives_the_same_bits(self, encoder):
        texts = many_texts()
        np.testing.assert_array_equal(
            encoder.encode_document(texts), encoder.encode_document(texts)
        )


class TestTruncation:
    def test_one_warning_names_the_texts_and_points_at_the_caller(self, encoder):
        short = encoder.with_options(max_length=32)
        with pytest.warns(TruncationWarning, match=r"2 texts .*texts\[1\] .*texts\[3\]") as caught:
            short.encode_document(["a", "1" * 32, "1" * 31, "1" * 100])
        assert len(caught) == 1
        assert caught[0].filename == __file__

    def test_the_head_is_kept(self, encoder):
        short = encoder.with_options(max_length=32, on_truncate="ignore")
        np.testing.assert_allclose(
            short.encode_document("1" * 31 + "2" * 50), encoder.encode_document("1" * 31), atol=1e-6
        )

    def test_an_error_if_so_asked(self, encoder):
        strict = encoder.with_options(max_length=32, on_truncate="error")
        with pytest.raises(InputError, match=r"texts\[1\] has 33 tokens, max_length is 32"):
            strict.encode_document(["1", "1" * 32])

    def test_a_text_of_100k_tokens(self, encoder):
        with pytest.warns(TruncationWarning, match=r"\(100001 tokens\)"):
            vector = encoder.encode_document("1" * 100_000)
        np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)

    def test_a_stream_warns_once_with_positions_in_the_stream(self, encoder):
        short = encoder.with_options(max_length=32)
        texts = ["1" * (50 if i in {3, 17} else 5) for i in range(20)]
        with pytest.warns(TruncationWarning, match=r"2 texts .*texts\[3\] .*texts\[17\]") as caught:
            list(short.iter_documents(texts, block_size=4))
        assert len(caught) == 1

    def test_count_tokens_counts_prompt_and_eos(self, encoder):
        assert encoder.count_tokens(["", "1", "123"]) == [1, 2, 4]
        prompt_tokens = encoder.count_tokens(QUERY + "1")[0]
        assert encoder.count_tokens("1", side="query") == [prompt_tokens]
        assert encoder.count_tokens("1" * 200_000) == [200_001]


class TestStreams:
    def test_blocks_in_order(self, encoder):
        texts = many_texts()
        blocks = list(encoder.iter_documents(iter(texts), block_size=50))
        assert [len(block) for block in blocks] == [50, 50, 50, 50, 20]
        np.testing.assert_allclose(
            np.concatenate(blocks), encoder.encode_document(texts), atol=1e-5
        )

    def test_only_one_block_is_read_ahead(self, encoder):
        read = []

        def source():
            for i in range(100):
                read.append(i)
                yield str(i)

        blocks = encoder.iter_documents(source(), block_size=10)
        next(blocks)
        assert len(read) == 10

    @pytest.mark.parametrize(
        ("bad", "options"),
        [(None, {}), ("1" * 40, {"max_length": 32, "on_truncate": "error"})],
    )
    def test_a_bad_text_is_named_by_its_place_in_the_stream(self, encoder, bad, options):
        texts = [*["a"] * 12, bad]
        blocks = encoder.with_options(**options).iter_documents(texts, block_size=5)
        assert [len(next(blocks)), len(next(blocks))] == [5, 5]
        with pytest.raises(InputError, match=r"texts\[12\]"):
            next(blocks)

    def test_what_breaks_in_the_source_comes_after_the_blocks_before_it(self, encoder):
        def source():
            yield from ["a"] * 7
            raise OSError("the disk is gone")

        blocks = encoder.iter_documents(source(), block_size=5)
        assert len(next(blocks)) == 5
        with pytest.raises(OSError, match="the disk is gone"):
            next(blocks)

    def test_a_broken_vector_is_named_by_its_place_in_the_stream(self, checkpoint):
        encoder = F2LLM(checkpoint, dtype="float32")
        encoder.encode_document("loads the weights")
        engine = encoder._backend._engine
        run = engine.forward
        engine.forward = lambda ids, *more: run(ids, *more) * (len(ids) > 1)
        with pytest.raises(NonFiniteError, match="rows 10") as caught:
            list(encoder.iter_documents(map(str, range(11)), block_size=5))
        assert caught.value.rows == (10,)

    def test_no_texts_no_blocks(self, encoder):
        assert list(encoder.iter_documents([])) == []

    def test_what_is_no_list_and_a_wrong_block_size_are_refused_at_once(self, encoder):
        with pytest.raises(InputError, match="Pass a list"):
            encoder.iter_documents("text")
        for wrong in (0, "5", 1.5, True):
            with pytest.raises(ConfigurationError, match=f"block_size={wrong!r}"):
                encoder.iter_documents(["a"], block_size=wrong)
        blocks = encoder.iter_documents(["a"] * 3, block_size=np.int64(2))
        assert [len(block) for block in blocks] == [2, 1]


class TestInputs:
    @pytest.mark.parametrize("method", ["encode_query", "encode_document", "encode"])
    @pytest.mark.parametrize("wrong", [None, float("nan"), b"a", ("a", "b"), 3, "\ud800"])
    def test_a_text_that_cannot_be_embedded_is_named(self, encoder, method, wrong):
        with pytest.raises(InputError, match=r"texts\[1\]"):
            getattr(encoder.with_options(task="sts"), method)(["a", wrong])

    def test_a_lone_surrogate_alone(self, encoder):
        with pytest.raises(InputError, match="the text holds a lone surrogate"):
            encoder.encode_query("a\udfff")


class TestAsync:
    async def test_the_twins_give_the_same(self, encoder):
        sts = encoder.with_options(task="sts")
        np.testing.assert_array_equal(
            await encoder.aencode_query(TEXTS), encoder.encode_query(TEXTS)
        )
        np.testing.assert_array_equal(
            await encoder.aencode_document(TEXTS), encoder.encode_document(TEXTS)
        )
        np.testing.assert_array_equal(await sts.aencode(TEXTS), sts.encode(TEXTS))

    async def test_many_at_once_get_their_own(self, encoder):
        texts = many_texts()[:64]
        rows = await asyncio.gather(*map(encoder.aencode_document, texts))
        np.testing.assert_allclose(np.stack(rows), encoder.encode_document(texts), atol=1e-5)

    async def test_warnings_name_the_line_that_awaits(self, encoder):
        with pytest.warns(TruncationWarning) as caught:
            await encoder.with_options(max_length=8).aencode_document("1" * 50)
        assert [warning.filename for warning in caught] == [__file__]

    async def test_a_sync_call_inside_a_running_loop_works(self, encoder):
        sts = encoder.with_options(task="sts")
        np.testing.assert_array_equal(encoder.encode_query(TEXTS), encoder.encode_query(TEXTS))
        assert sts.encode(TEXTS).shape == sts.encode_document(TEXTS).shape == (len(TEXTS), 64)
        assert sum(map(len, encoder.iter_documents(TEXTS))) == len(TEXTS)

    async def test_a_generator_of_texts_sees_the_callers_context(self, encoder):
        text = ContextVar("text")
        text.set("a")
        rows = await encoder.aencode_document(text.get() for _ in range(2))
        assert rows.shape == (2, 64)

    async def test_only_a_small_result_is_normalised_in_the_event_loop(self, encoder, monkeypatch):
        threads = []
        monkeypatch.setattr(
            pipeline, "truncate", lambda *a: threads.append(threading.get_ident()) or truncate(*a)
        )
        await encoder.aencode_document("a")
        await encoder.aencode_document(["a"] * 1000)
        assert [thread == threading.get_ident() for thread in threads] == [True, False]

    def test_one_event_loop_after_the_other(self, encoder):
        expected = encoder.encode_query("a")
        for _ in range(20):
            np.testing.assert_array_equal(asyncio.run(encoder.aencode_query("a")), expected)

    def test_two_event_loops_at_once(self, encoder):
        async def all_texts():
            return await asyncio.gather(*map(encoder.aencode_query, TEXTS))

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(asyncio.run, [all_texts(), all_texts()])
        np.testing.assert_allclose(one, encoder.encode_query(TEXTS), atol=1e-5)
        np.testing.assert_allclose(one, other, atol=1e-5)

    def test_every_encoding_method_has_a_twin_of_the_same_signature(self):
        for name in ("encode", "encode_query", "encode_document"):
            sync = inspect.signature(getattr(F2LLM, name))
            assert inspect.signature(getattr(F2LLM, f"a{name}")).parameters == sync.parameters


class TestCancelling:
    @pytest.fixture
    def fresh(self, checkpoint):
        with F2LLM(checkpoint, dtype="float32") as fresh:
            fresh.encode_query("loaded")
            yield fresh

    @pytest.mark.parametrize("texts", ["short", "long " * 2000, ["a", "list"]])
    async def test_in_the_queue(self, fresh, texts):
        before = fresh.stats
        with gate(fresh._backend) as wait_for_queue:
            tasks = [asyncio.create_task(fresh.aencode_document(texts)) for _ in range(2)]
            kept = asyncio.create_task(fresh.aencode_document("kept"))
            await asyncio.to_thread(wait_for_queue, 3)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2
        np.testing.assert_array_equal(await kept, fresh.encode_document("kept"))
        assert fresh.stats.texts - before.texts == 2  # nothing but "kept", twice

    @pytest.fixture
    def slow_tokenizer(self, fresh, monkeypatch):
        """Two events: somebody has begun to tokenise, and may go on."""
        entered, leave = threading.Event(), threading.Event()
        tokenizer = fresh._backend.checkpoint.tokenizer
        encode = tokenizer.encode

        def slow(prompts):
            entered.set()
            assert leave.wait(10)
            return encode(prompts)

        monkeypatch.setattr(tokenizer, "encode", slow)
        return entered, leave

    async def test_while_the_worker_tokenises_it(self, fresh, slow_tokenizer):
        entered, leave = slow_tokenizer
        before = fresh.stats
        task = asyncio.create_task(fresh.aencode_document("short"))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        leave.set()
        await fresh.aencode_document("next")
        assert fresh.stats.texts - before.texts == 1

    @pytest.mark.parametrize("texts", ["long " * 300, ["a", "list " * 300]])
    async def test_while_it_is_tokenised(self, fresh, texts, slow_tokenizer):
        entered, leave = slow_tokenizer
        before = fresh.stats
        task = asyncio.create_task(fresh.aencode_document(texts))
        await asyncio.to_thread(entered.wait, 10)
        with gate(fresh._backend) as wait_for_queue:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}
            leave.set()
            await asyncio.to_thread(wait_for_queue, 1)
        await fresh.aencode_document("next")
        assert fresh.stats.texts - before.texts == 1

    async def test_queued_before_the_event_loop_knows_it(self, fresh):
        before = fresh.stats
        with gate(fresh._backend) as wait_for_queue:
            task = asyncio.create_task(fresh.aencode_document("short"))
            await asyncio.sleep(0)
            wait_for_queue(1)  # the event loop stands still
            fresh._intake._one_thread().submit(int).result(10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await fresh.aencode_document("next")
        assert fresh.stats.texts - before.texts == 1

    async def test_a_timeout_leaves_the_others_alone(self, fresh):
        with gate(fresh._backend) as wait_for_queue:
            late = asyncio.create_task(fresh.aencode_query("late"))
            other = asyncio.create_task(fresh.aencode_query("other"))
            await asyncio.to_thread(wait_for_queue, 2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(late, 0.01)
        np.testing.assert_array_equal(await other, fresh.encode_query("other"))

    def test_ctrl_c_ends_the_wait_and_the_job(self, fresh, monkeypatch):
        def interrupted(self, timeout=None):
            raise KeyboardInterrupt

        before = fresh.stats
        with gate(fresh._backend), monkeypatch.context() as patch:
            patch.setattr(Future, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fresh.encode_document("abandoned")
        fresh.encode_document("next")
        assert fresh.stats.texts - before.texts == 1


class TestClosing:
    def test_a_with_block_frees_the_weights_for_all_siblings(self, checkpoint):
        with F2LLM(checkpoint, dtype="float32") as model:
            sibling = model.with_options(task="sts")
            sibling.encode("a")
            weights = weakref.ref(model._backend._engine)
        assert weights() is None
        model.close()
        for call in (
            lambda: model.encode_query("a"),
            lambda: sibling.encode("a"),
            lambda: model.count_tokens("a"),
            lambda: asyncio.run(sibling.aencode("a")),
            lambda: list(model.iter_documents(["a"])),
        ):
            with pytest.raises(ClosedError, match="Make a new one"):
                call()
        assert F2LLM(**sibling.config).encode("a").shape == (64,)

    def test_before_anything_was_loaded(self, checkpoint):
        model = F2LLM(checkpoint)
        model.close()
        with pytest.raises(ClosedError):
            model.encode_document("a")

    def test_who_waits_is_told(self, checkpoint):
        model = F2LLM(checkpoint, dtype="float32")
        with ThreadPoolExecutor(4) as pool, gate(model._backend) as wait_for_queue:
            calls = [pool.submit(model.encode_query, str(i)) for i in range(4)]
            wait_for_queue(4)
            model.close()
        for call in calls:
            with pytest.raises(ClosedError):
                call.result()

    def test_an_encoder_that_nobody_has_any_more_is_freed_with_its_thread(self, checkpoint):
        model = F2LLM(checkpoint, dtype="float32")
        model.encode_query("a")
        weights, thread = weakref.ref(model._backend._engine), model._backend._worker._thread
        del model
        gc.collect()
        assert weights() is None
        thread.join(10)
        assert not thread.is_alive()


class TestProcesses:
    """What only a whole process can show; each runs a script that must end by itself."""

    def run(self, script: str, checkpoint, **env) -> str:
        lines = [
            "import asyncio, os, signal, threading, time",
            "import numpy as np",
            "from f2llm_core import F2LLM",
            f"model = F2LLM({str(checkpoint)!r}, dtype='float32', max_batch_tokens=32)",
            "texts = [f'text number {i}' for i in range(5000)]",
            textwrap.dedent(script),
        ]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | env,
        )
        assert done.returncode == 0, done.stderr
        assert "Fatal" not in done.stderr
        return done.stdout

    def test_the_interpreter_ends_while_a_job_runs(self, checkpoint):
        script = """
            model.encode_query("loaded")
            threading.Thread(target=model.encode_document, args=(texts,), daemon=True).start()
            while model.stats.passes < 20:
                time.sleep(0.001)
            print("end")
        """
        assert self.run(script, checkpoint) == "end\n"

    def test_ctrl_c_in_the_middle(self, checkpoint):
        script = """
            signal.signal(signal.SIGINT, signal.default_int_handler)
            expected = model.encode_query("a")
            def interrupt():
                while model.stats.passes < 20:
                    time.sleep(0.001)
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            try:
                model.encode_document(texts)
            except KeyboardInterrupt:
                print("interrupted")
            np.testing.assert_array_equal(model.encode_query("a"), expected)
            print(model.stats.texts < 5000)
        """
        assert self.run(script, checkpoint) == "interrupted\nTrue\n"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_a_fork_after_the_model_computed(self, checkpoint):
        script = """
            expected = model.encode_document(texts[:50])
            asyncio.run(model.aencode_query("a"))
            for _ in range(3):
                child = os.fork()
                if not child:
                    np.testing.assert_array_equal(model.encode_document(texts[:50]), expected)
                    asyncio.run(model.aencode_query("a"))
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                np.testing.assert_array_equal(model.encode_document(texts[:50]), expected)
            print("end")
        """
        threads = {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"}
        assert self.run(script, checkpoint, **threads) == "end\n"


class TestItself:
    def test_pickles_its_configuration_only(self, checkpoint, encoder):
        original = F2LLM(checkpoint, dtype="float32", dimensions=16, task="sts", token="hf_secret")
        original.encode(TEXTS)
        data = pickle.dumps(original)
        assert len(data) < 1000
        assert b"hf_secret" not in data
        again = pickle.loads(data)
        np.testing.assert_array_equal(again.encode(TEXTS), original.encode(TEXTS))

    def test_repr_shows_what_was_given_but_no_secret(self, checkpoint):
        encoder = F2LLM(checkpoint, dimensions=16, task="sts", token="hf_secret")
        assert repr(encoder) == f"F2LLM({str(checkpoint)!r}, dimensions=16, task='sts')"
        assert "hf_secret" not in repr(encoder._load_options)

    def test_progress_is_drawn_on_request(self, encoder, capsys):
        encoder.encode_document(TEXTS)
        assert capsys.readouterr().err == ""
        encoder.encode_document(TEXTS, show_progress=True)
        assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err

    def test_progress_without_anywhere_to_draw_it_is_none(self, encoder, monkeypatch):
        monkeypatch.setattr(sys, "stderr", None)
        assert encoder.encode_document(TEXTS, show_progress=True).shape == (len(TEXTS), 64)

    def test_it_can_be_kept_as_long_as_others_do(self, checkpoint):
        encoder = F2LLM(checkpoint)
        known = weakref.WeakKeyDictionary({encoder: "mine"})
        assert known[encoder] == "mine"
        del encoder
        gc.collect()
        assert not known

    def test_the_callers_settings_of_torch_are_none_of_its_business(self, checkpoint, encoder):
        before = encoder.encode_document(TEXTS)
        torch.use_deterministic_algorithms(True)
        torch.set_default_dtype(torch.float16)
        try:
            with torch.device("meta"), torch.autocast("cpu"):
                fresh = F2LLM(checkpoint, dtype="float32").encode_document(TEXTS)
        finally:
            torch.set_default_dtype(torch.float32)
            torch.use_deterministic_algorithms(False)
        np.testing.assert_array_equal(fresh, before)

    def test_a_text_that_escapes_its_instruction_is_a_text_all_the_same(self, encoder):
        class Markup(str):
            __slots__ = ()

            def __radd__(self, other):
                return other.replace("'", "&#39;") + str(self)

        asking = encoder.with_options(instruction="Find what's meant.")
        plain, marked = asking.encode_query("a"), asking.encode_query(Markup("a"))
        np.testing.assert_array_equal(marked, plain)

    def test_no_texts_need_no_model(self):
        assert F2LLM("80M", local_files_only=True).encode_query([]).shape == (0, 320)

    def test_a_relative_folder_survives_a_change_of_directory(
        self, checkpoint, encoder, monkeypatch, tmp_path
    ):
        monkeypatch.chdir(checkpoint.parent)
        relative = F2LLM(checkpoint.name, dtype="float32")
        monkeypatch.chdir(tmp_path)
        for again in (relative, pickle.loads(pickle.dumps(relative))):
            np.testing.assert_array_equal(again.encode_query("a"), encoder.encode_query("a"))

    def test_a_folder_overwritten_in_place_does_not_reach_a_loaded_model(self, tmp_path):
        for dtype in ("float32", "bfloat16"):
            folder = tiny_checkpoint(tmp_path / dtype, dtype=dtype)
            loaded = F2LLM(folder, dtype=dtype)
            before = loaded.encode_document(TEXTS)
            (folder / "model.safetensors").write_bytes(b"")
            np.testing.assert_array_equal(loaded.encode_document(TEXTS), before)

    def test_the_first_call_may_come_from_many_threads(self, checkpoint, encoder, monkeypatch):
        loads = []
        read = weights.read_weights
        monkeypatch.setattr(weights, "read_weights", lambda *a: loads.append(1) or read(*a))
        fresh = F2LLM(checkpoint, dtype="float32")
        with ThreadPoolExecutor(16) as pool:
            rows = list(pool.map(fresh.encode_query, TEXTS * 2))
        assert loads == [1]
        np.testing.assert_allclose(rows, encoder.encode_query(TEXTS * 2), atol=1e-5)

    def test_what_the_hub_pins_is_visible(self, checkpoint):
        assert F2LLM("80M").model == "codefuse-ai/F2LLM-v2-80M"
        assert len(F2LLM("80M").revision) == 40
        assert F2LLM(checkpoint).revision is None


class TestVerify:
    def test_a_golden_file_is_for_a_model_on_a_server(self, encoder, tmp_path):
        encoder.verify()
        with pytest.raises(ConfigurationError, match="golden is for a model on a server"):
            encoder.verify(tmp_path / "golden.jsonl")

    def test_a_golden_file_of_another_model_is_refused(self, encoder, tmp_path):
        golden = tmp_path / "golden.jsonl"
        write_golden(golden, make_golden(encoder))
        remote = F2LLM("80M", base_url="http://127.0.0.1:9")
        with pytest.raises(ConfigurationError, match="are of model, not of codefuse-ai"):
            remote.verify(str(golden))


class TestFindings:
    def test_a_task_brings_its_own_instructions(self, checkpoint):
        encoder = F2LLM(checkpoint, instruction="Mine.", document_instruction="Mine, too.")
        code = encoder.with_options(task="code")
        assert code.prompts.query == f"Instruct: {TASKS['code'].instruction}\nQuery: "
        assert code.prompts.document == ""
        both = encoder.with_options(task="sts", instruction="Other.")
        assert both.prompts.query == both.prompts.document == "Instruct: Other.\nQuery: "

    def test_copies_are_the_same_object_since_it_never_changes(self, encoder):
        assert copy.copy(encoder) is copy.deepcopy(encoder) is encoder

    @pytest.mark.parametrize("dimensions", [True, 0, 7, "16", 16.0])
    def test_dimensions_are_checked_though_the_width_is_not_known_yet(self, dimensions):
        with pytest.raises(ConfigurationError, match="from 8 to the model's width"):
            F2LLM("someone/unknown-model", dimensions=dimensions)

    @pytest.mark.parametrize(
        ("option", "value"), [("revision", 5), ("device", 3), ("local_files_only", "no")]
    )
    def test_wrong_types_are_refused(self, option, value):
        with pytest.raises(ConfigurationError, match=f"{option}={value!r}: expected"):
            F2LLM("80M", **{option: value})

    def test_the_configuration_is_plain_json(self, checkpoint):
        integers = ("dimensions", "max_length", "max_batch_tokens", "cache_max_bytes")
        numbers = {name: np.int64(16) for name in integers}
        encoder = F2LLM(str(checkpoint), **numbers, token="hf_secret")
        config = json.loads(json.dumps(encoder.config))
        assert {name: config[name] for name in integers} == numbers
        assert "token" not in config
        assert F2LLM(**config).config == encoder.config

    async def test_warnings_point_at_the_caller_of_an_adapter(self, checkpoint):
        adapter = F2LLMEmbeddings(model=str(checkpoint), max_length=8)
        with pytest.warns(TruncationWarning) as caught:
            adapter.embed_documents(["1" * 50])
        assert caught[0].filename == __file__


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.9999), ("int8", 0.99)])
def test_fewer_bits_stay_near_float32(checkpoint, encoder, dtype, least):
    other = F2LLM(checkpoint, dtype=dtype)
    for rows, exact in (
        (other.encode_document(TEXTS), encoder.encode_document(TEXTS)),
        (other.encode_query(TEXTS), encoder.encode_query(TEXTS)),
    ):
        assert (rows * exact).sum(axis=1).min() >= least
        assert not np.array_equal(rows, exact)
