"""Every check of `doctor`: passing on a right model, and red on one broken in just that way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from f2llm_core import F2LLM, ConfigurationError, ModelLoadError, configured, pipeline
from f2llm_core.backends.local import LocalBackend
from f2llm_core.cli import main
from f2llm_core.doctor import Check, Report, doctor
from f2llm_core.doctor.checks import CHECKS, check_files
from f2llm_core.doctor.published import PASSAGES, PUBLISHED, compare_published
from f2llm_core.engine.hub import identify
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.indexing import index
from f2llm_core.instructions import Prompts
from f2llm_core.jobs import Prompt
from f2llm_core.matryoshka import truncate
from f2llm_core.models import MODELS
from f2llm_core.pipeline import Pipeline
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from store_kinds import MemoryStore
from support import copy_model

SKIPPED = {"files", "precision", "model card"}  # of a plain folder in float32


@pytest.fixture
def model(checkpoint: Path) -> F2LLM:
    return F2LLM(checkpoint, dtype="float32")


def statuses(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def failed(model: object) -> dict[str, Check]:
    report = doctor(model)
    assert report.healthy == all(check.status != "failed" for check in report.checks)
    return {check.name: check for check in report.checks if check.status == "failed"}


class TestHealthy:
    def test_every_check_is_made_and_passes(self, model: F2LLM):
        report = doctor(model)
        assert report.healthy
        assert list(statuses(report)) == ["files", *CHECKS]
        assert {n for n, status in statuses(report).items() if status != "passed"} == SKIPPED
        assert all(not check.advice for check in report.checks)
        assert str(report).count("✓") == len(CHECKS) - 2

    @pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
    def test_the_demo_model_in_fewer_bits(self, demo_model: Path, dtype: Any):
        report = doctor(F2LLM(demo_model, dtype=dtype))
        assert report.healthy, report
        assert statuses(report)["precision"] == "passed"

    @pytest.mark.parametrize(
        "options",
        [
            {"dimensions": 16},
            {"task": "sts"},
            {"instruction": ""},
            {"document_instruction": "Represent it."},
            {"max_length": 90, "on_truncate": "error"},
            {"max_batch_tokens": 8},
            {"backend": "sentence-transformers"},
        ],
        ids=str,
    )
    def test_with_options_of_every_kind(self, checkpoint: Path, options: dict[str, Any]):
        report = doctor(F2LLM(checkpoint, dtype="float32", **options))
        assert report.healthy, report

    def test_adapters_are_taken(self, model: F2LLM):
        for adapter in (F2LLMEmbeddings.from_encoder(model), F2LLMEmbedding.from_encoder(model)):
            assert doctor(adapter).healthy
        for other in ("80M", object()):
            with pytest.raises(ConfigurationError, match="one of its adapters"):
                doctor(other)

    def test_the_model_is_left_as_it_was(self, model: F2LLM):
        before = dict(model.config)
        doctor(model)
        assert model.config == before
        assert model.encode_query("still open").shape == (64,)


Run = Callable[[LocalBackend, list[Prompt]], Any]


def mean_of_states(run: Run) -> Run:
    def broken(self: LocalBackend, prompts: list[Prompt]) -> Any:
        ends = [[Prompt(p.ids[: i + 1]) for i in range(len(p.ids))] for p in prompts]
        return np.stack([run(self, states).mean(axis=0) for states in ends])

    return broken


def first_token(run: Run) -> Run:
    return lambda self, prompts: run(self, [Prompt(prompt.ids[:1]) for prompt in prompts])


def token_before_the_last(run: Run) -> Run:
    return lambda self, prompts: run(self, [Prompt(p.ids[:-1] or p.ids) for p in prompts])


def leaking(run: Run) -> Run:
    """Rows of one batch get something of each other."""

    def broken(self: LocalBackend, prompts: list[Prompt]) -> Any:
        rows = run(self, prompts)
        return rows + 0.2 * rows[:1]

    return broken


def padded(run: Run) -> Run:
    """Shorter texts are filled up in front, and attend to it."""

    def broken(self: LocalBackend, prompts: list[Prompt]) -> Any:
        longest = max(len(prompt.ids) for prompt in prompts)
        full = [Prompt((0,) * (longest - len(p.ids)) + p.ids) for p in prompts]
        return run(self, full)

    return broken


class TestBrokenEngine:
    @pytest.mark.parametrize(
        ("broken", "names"),
        [
            (mean_of_states, {"pooling"}),
            (first_token, {"pooling"}),
            (token_before_the_last, {"pooling"}),
            (leaking, {"batches", "neighbours"}),
            (padded, {"batches", "neighbours"}),
        ],
    )
    def test_is_told_by_the_check_of_its_kind(
        self, model: F2LLM, monkeypatch: pytest.MonkeyPatch, broken: Any, names: set[str]
    ):
        monkeypatch.setattr(LocalBackend, "run", broken(LocalBackend.run))
        found = failed(model)
        assert names <= found.keys()
        assert all(check.advice for check in found.values())

    def test_a_warm_cache_does_not_hide_it(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        model = F2LLM(checkpoint, dtype="float32", cache=tmp_path)
        assert doctor(model).healthy
        monkeypatch.setattr(LocalBackend, "run", mean_of_states(LocalBackend.run))
        assert "pooling" in failed(model)

    def test_drift_is_told(self, demo_model: Path, monkeypatch: pytest.MonkeyPatch):
        run = LocalBackend.run

        def broken(self: LocalBackend, prompts: list[Prompt]) -> Any:
            rows = run(self, prompts)
            return rows + (0.2 * np.roll(rows, 1, 1) if self._options.dtype == "bfloat16" else 0)

        monkeypatch.setattr(LocalBackend, "run", broken)
        found = failed(F2LLM(demo_model, dtype="bfloat16"))
        assert found.keys() == {"precision"}
        assert "float32" in found["precision"].advice

    def test_no_second_copy_where_memory_is_short(
        self, demo_model: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("f2llm_core.doctor.checks._free_memory", lambda: 1000)
        report = doctor(F2LLM(demo_model, dtype="bfloat16"))
        assert statuses(report)["precision"] == "skipped"

    def test_what_an_engine_raises_is_a_finding(
        self, model: F2LLM, monkeypatch: pytest.MonkeyPatch
    ):
        def broken(*_: Any) -> Any:
            raise ZeroDivisionError(1)

        monkeypatch.setattr(LocalBackend, "run", broken)
        found = failed(model)
        assert {"EOS", "pooling", "batches"} <= found.keys()
        assert found["EOS"].found.startswith("ZeroDivisionError")


class TestBrokenTokens:
    @pytest.mark.parametrize(
        ("finish", "said"),
        [
            (lambda self, ids, n: tuple(ids[:n]) or (self.eos_id,), "without EOS"),
            (lambda self, ids, n: (*ids[: n - 1], self.eos_id, self.eos_id), "with two EOS"),
            (lambda self, ids, n: (*ids, self.eos_id)[:n], "not those of the text and one EOS"),
            (lambda self, ids, n: (self.eos_id, *ids)[:n], "not those of the text and one EOS"),
        ],
        ids=["none", "two", "cut off", "first"],
    )
    def test_eos(self, model: F2LLM, monkeypatch: pytest.MonkeyPatch, finish: Any, said: str):
        monkeypatch.setattr(Tokenizer, "finish", finish)
        assert said in failed(model)["EOS"].found

    def test_control_tokens_in_a_text(self, model: F2LLM):
        model._backend.checkpoint.tokenizer._tokenizer.encode_special_tokens = False
        assert "is read as if it ended there" in failed(model)["EOS"].found


class TestBrokenPrompts:
    def test_queries_without_it(self, model: F2LLM, monkeypatch: pytest.MonkeyPatch):
        submit = Pipeline.submit
        bare = lambda self, *a: submit(Pipeline(self.backend, "", *_rest(self)), *a)  # noqa: E731
        monkeypatch.setattr(Pipeline, "submit", bare)
        assert failed(model)["prompt"].found == "queries are embedded without the prompt"

    def test_queries_with_their_own_altered(self, model: F2LLM, monkeypatch: pytest.MonkeyPatch):
        submit = Pipeline.submit
        loud = lambda self, texts, *a: submit(self, [t.upper() for t in texts], *a)  # noqa: E731
        monkeypatch.setattr(Pipeline, "submit", loud)
        assert "queries are embedded otherwise" in failed(model)["prompt"].found

    def test_another_than_the_checkpoints(self, model: F2LLM, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(configured, "choose_prompts", lambda *_, **__: Prompts("Find: ", ""))
        found = failed(model)
        assert found.keys() == {"prompt"}
        assert "'Find: '" in found["prompt"].found


def _rest(self: Pipeline) -> tuple[Any, ...]:
    return self.max_length, self.dimensions, self.on_truncate


class TestBrokenVectors:
    @pytest.mark.parametrize(
        ("cut", "names", "said"),
        [
            (lambda rows, d: rows[:, :d], {"unit length", "widths"}, "not the first ones"),
            (lambda rows, d: truncate(rows)[:, :d], {"widths"}, "not the first ones"),
            (lambda rows, d: truncate(rows[:, ::-1], d), {"EOS", "prompt"}, ""),
            (lambda rows, _: truncate(rows), {"widths"}, "asked for 8 dimensions"),
            (lambda rows, d: 1.001 * truncate(rows, d), {"unit length"}, ""),
        ],
        ids=["raw", "not renormalised", "the last ones", "not cut", "too long"],
    )
    def test_is_told(
        self, model: F2LLM, monkeypatch: pytest.MonkeyPatch, cut: Any, names: set[str], said: str
    ):
        monkeypatch.setattr(pipeline, "truncate", cut)
        found = failed(model)
        assert names <= found.keys()
        assert said in str(found.get("widths"))


def snapshot(folder: Path) -> Any:
    """A patient in a hub cache: `config.json` linked to a blob that is named by its checksum."""
    content = b"{}"
    name = hashlib.sha256(content).hexdigest()
    blob = folder / "blobs" / name
    blob.parent.mkdir()
    blob.write_bytes(content)
    place = folder / "snapshots" / "commit"
    place.mkdir(parents=True)
    (place / "config.json").symlink_to(f"../../blobs/{name}")
    return SimpleNamespace(checkpoint=SimpleNamespace(folder=place)), blob


class TestFiles:
    def test_checksums_of_a_hub_cache(self, tmp_path: Path):
        patient, blob = snapshot(tmp_path)
        assert check_files(patient, "files").status == "passed"
        blob.write_bytes(b"{ ")
        with pytest.raises(ModelLoadError, match="not what was downloaded"):
            check_files(patient, "files")

    def test_a_model_that_does_not_load_is_a_finding(self, tmp_path: Path):
        folder = copy_model(tmp_path / "model")
        (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
        found = failed(F2LLM(folder))
        assert found.keys() == {"loading"}
        assert "git lfs pull" in found["loading"].found


class Card:
    """An encoder with given cosines between the card's texts."""

    def __init__(self, cosines: tuple[float, ...]) -> None:
        self._cosines = np.array(cosines)

    def with_options(self, **_: Any) -> Card:
        return self

    def encode_query(self, _: str) -> Any:
        return np.array([1.0, 0.0])

    def encode_document(self, texts: Any) -> Any:
        assert list(texts) == list(PASSAGES)
        return np.stack([self._cosines, np.sqrt(1 - self._cosines**2)], axis=1)


class TestModelCard:
    @pytest.mark.parametrize("size", PUBLISHED)
    def test_cosines_are_compared(self, size: str):
        source = identify(size)
        right = PUBLISHED[size]
        near = tuple(cosine - 0.005 for cosine in right)
        far = (*right[:3], right[3] - 0.02)
        for cosines, status in ((right, "passed"), (near, "passed"), (far, "failed")):
            check = compare_published(Card(cosines), source, "bfloat16", "card")  # type: ignore[arg-type]
            assert check.status == status
        assert check.advice
        nan = compare_published(Card((np.nan,) * 4), source, "bfloat16", "card")  # type: ignore[arg-type]
        assert nan.status == "failed"

    @pytest.mark.parametrize(
        ("source", "dtype"),
        [
            (identify("80M"), "bfloat16"),
            (identify("4B", "main"), "bfloat16"),
            (identify("someone/else"), "bfloat16"),
            (identify("4B"), "int8"),
        ],
    )
    def test_is_skipped_where_nothing_is_published(self, source: Any, dtype: str):
        assert compare_published(Card((0,) * 4), source, dtype, "card").status == "skipped"  # type: ignore[arg-type]

    def test_is_of_released_sizes(self):
        assert PUBLISHED.keys() <= MODELS.keys()


class TestCollection:
    @pytest.fixture
    def store(self, model: F2LLM) -> MemoryStore:
        store = MemoryStore()
        index(store, model, [(str(i), f"Text number {i}.") for i in range(20)])
        return store

    def test_is_audited(self, model: F2LLM, store: MemoryStore):
        report = doctor(model, store=store)
        assert (report.healthy, report.checks[-1].name) == (True, store.name)
        store.rows = {i: (row[::-1], d, m) for i, (row, d, m) in store.rows.items()}
        report = doctor(model, store=store)
        assert not report.healthy
        assert report.checks[-1].status == "failed"

    def test_what_cannot_be_audited_is_refused_before_anything_is_tried(
        self, checkpoint: Path, model: F2LLM, store: MemoryStore
    ):
        passes = model.stats.passes
        with pytest.raises(ConfigurationError, match="is no store"):
            doctor(model, store="papers")
        assert model.stats.passes == passes
        served = F2LLM(checkpoint, base_url="http://127.0.0.1:9")
        with pytest.raises(ConfigurationError, match="without base_url"):
            doctor(served, store=store)

    def test_is_not_blamed_for_the_model(
        self, model: F2LLM, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(LocalBackend, "run", first_token(LocalBackend.run))
        report = doctor(model, store=store)
        assert store.name not in statuses(report)


class TestCommand:
    def run(self, *args: object, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["doctor", *map(str, args)])
        assert result.exit_code == code, result.output
        return result

    def test_prints_a_line_for_each_check(self, checkpoint: Path):
        lines = self.run(checkpoint, "--dtype", "float32").stdout.splitlines()
        assert lines[0] == str(checkpoint)
        assert [line.strip()[0] for line in lines[1:]] == list("–✓✓✓✓✓✓✓––")

    def test_exit_code_and_colours(self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(LocalBackend, "run", first_token(LocalBackend.run))
        args = ["doctor", str(checkpoint), "--dtype", "float32"]
        result = CliRunner().invoke(main, args, color=True)
        assert result.exit_code == 1
        assert "\x1b[31m✗ pooling" in result.stdout
        assert "\x1b[32m✓" in result.stdout
        assert "\x1b[90m–" in result.stdout

    def test_json(self, checkpoint: Path):
        found = json.loads(self.run(checkpoint, "--dtype", "float32", "--json").stdout)
        assert found["healthy"] is True
        assert [check["name"] for check in found["checks"]] == ["files", *CHECKS]

    def test_a_collection(self, tmp_path: Path, model: F2LLM, checkpoint: Path):
        from store_kinds import chroma

        with chroma(tmp_path, None, 64) as collection:
            index(collection, model, [("a", "One text."), ("b", "Another.")])
        where = ["--chroma", tmp_path, "--collection"]
        text = self.run(checkpoint, "--dtype", "float32", *where, "papers").stdout
        assert "✓ Chroma collection 'papers'" in text
        assert "has no collection" in self.run(checkpoint, *where, "other", code=1).output
        assert "need each other" in self.run(checkpoint, *where[:2], code=2).output
