"""What an audit says of collections that were built in many ways, mostly by other libraries."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from f2llm_core import F2LLM, TASKS, ConfigurationError, truncate
from f2llm_core.audit_variants import Workshop
from f2llm_core.auditing import audit
from f2llm_core.instructions import format_prompt
from f2llm_core.testing import tiny_checkpoint
from store_kinds import MemoryStore
from support import edit_json

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "f2llm-demo"
CORPUS = ROOT / "examples" / "multilingual_rag" / "data" / "debian.jsonl"


@cache
def texts(n=24):
    """Passages as they come: lines, indented lists, white space at the end, one of 700 tokens."""
    lines = CORPUS.read_text(encoding="utf-8").splitlines()
    passages = [json.loads(lines[i * 97 % len(lines)]) for i in range(n)]
    found = [f"{p['title']}\n\n * {p['text']}\n" for p in passages]
    found[3] = " ".join(p["text"] for p in passages[:9])
    return tuple(found)


@pytest.fixture(scope="module")
def model():
    return F2LLM(DEMO, dtype="float32")


@pytest.fixture(scope="module")
def reference():
    """The same checkpoint in sentence-transformers."""
    return SentenceTransformer(str(DEMO), device="cpu", model_kwargs={"dtype": "float32"})


def collection(vectors, documents=None):
    store = MemoryStore()
    documents = documents or texts()
    ids = [f"id{i}" for i in range(len(documents))]
    store.upsert(ids, np.asarray(vectors, np.float32), documents, [{}] * len(ids))
    store.writes = 0
    return store


def kinds(store, model, **options):
    report = audit(store, model, **options)
    assert store.writes == 0
    assert store.read_stamp() is None
    assert report.right == (not report.causes)
    return [cause.kind for cause in report.causes]


def without_eos(folder):
    """A checkpoint whose tokenizer.json lost its post-processor, as some exports do."""
    shutil.copytree(DEMO, folder)
    edit_json(folder / "tokenizer.json", post_processor=None)
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})


class TestWronglyBuilt:
    """Built with sentence-transformers, so that the audit cannot agree with itself only."""

    def test_right(self, model, reference):
        store = collection(reference.encode(list(texts())))
        report = audit(store, model)
        assert report.right
        assert report.checked == len(texts())
        assert report.cosine > 0.9999
        assert "They are this model's" in str(report)

    def test_line_breaks_made_spaces(self, model, reference):
        store = collection(reference.encode([t.replace("\n", " ") for t in texts()]))
        assert kinds(store, model) == ["newlines rewritten"]
        assert "line breaks were made spaces" in str(audit(store, model))

    def test_white_space_stripped(self, model, reference):
        assert kinds(collection(reference.encode([t.strip() for t in texts()])), model) == [
            "ends stripped"
        ]

    def test_without_eos(self, model, tmp_path):
        store = collection(without_eos(tmp_path / "model").encode(list(texts())))
        assert kinds(store, model) == ["without EOS"]

    def test_mean_pooled(self, model, reference):
        wrong = SentenceTransformer(
            modules=[reference[0], Pooling(model.width, pooling_mode="mean"), Normalize()]
        )
        short = [t[:120] for t in texts()]
        assert kinds(collection(wrong.encode(short), short), model) == ["mean-pooled"]

    def test_query_instruction(self, model, reference):
        store = collection(reference.encode_query(list(texts())))
        assert kinds(store, model) == ["query instruction on documents"]

    @pytest.mark.parametrize("task", ["sts", "code", "clustering"])
    def test_another_instruction(self, model, reference, task):
        prompt = format_prompt(TASKS[task].instruction)
        store = collection(reference.encode(list(texts()), prompt=prompt))
        assert kinds(store, model) == ["other instruction"]
        assert TASKS[task].instruction in str(audit(store, model))

    def test_instruction_left_out(self, model, reference):
        store = collection(reference.encode(list(texts())))
        assert kinds(store, model.with_options(task="sts")) == ["without instruction"]

    @pytest.mark.parametrize("tokens", [64, 512])
    def test_cut(self, model, tokens):
        reference = SentenceTransformer(str(DEMO), device="cpu", model_kwargs={"dtype": "float32"})
        reference.max_seq_length = tokens
        store = collection(reference.encode(list(texts())))
        assert kinds(store, model) == ["truncated"]
        assert f"cut at {tokens} tokens" in str(audit(store, model))
        assert "lost" not in str(audit(store, model))

    def test_cut_with_the_eos(self, model):
        """A plain slice of the ids: short texts are right."""
        workshop = Workshop(model)
        variant = replace(workshop.right, max_length=64, eos_cut=True)
        store = collection(truncate(workshop.rows(list(texts()), variant)))
        # A text that is hardly longer may have lost nothing else.
        assert set(kinds(store, model)) <= {"truncated", "without EOS"}
        assert "18 of 24 vectors are of texts cut at 64 tokens, which lost their EOS" in str(
            audit(store, model)
        )

    def test_not_normalised(self, model, reference):
        wrong = SentenceTransformer(modules=[reference[0], reference[1]])
        report = audit(collection(wrong.encode(list(texts()))), model)
        assert [cause.kind for cause in report.causes] == ["not normalised"]
        assert "f2llm_core.truncate mends" in str(report)

    def test_cut_without_renormalising(self, model, reference):
        store = collection(reference.encode(list(texts()), truncate_dim=64))
        assert kinds(store, model.with_options(dimensions=64)) == ["cut without renormalising"]

    def test_another_width(self, model, reference):
        vectors = truncate(reference.encode(list(texts())), 64)
        assert kinds(collection(vectors), model) == ["other width"]
        assert kinds(collection(vectors), model.with_options(dimensions=64)) == []
        assert kinds(collection(np.ones((len(texts()), 300))), model) == ["other width"]

    def test_another_model_and_chance(self, model, tmp_path):
        other = F2LLM(tiny_checkpoint(tmp_path / "m", width=256), dtype="float32")
        chance = truncate(np.random.default_rng(0).standard_normal((len(texts()), 256)))
        for vectors in (other.encode_document(texts()), chance):
            assert kinds(collection(vectors), model) == ["other model"]

    def test_changed_since(self, model, reference):
        store = collection(reference.encode(list(texts())))
        for i in (5, 17, 20):
            vector, _, metadata = store.rows[f"id{i}"]
            store.rows[f"id{i}"] = vector, f"Something else altogether, {i}.", metadata
        report = audit(store, model)
        assert [(c.kind, c.rows) for c in report.causes] == [("text changed", 3)]

    def test_mixed_up(self, model, reference):
        store = collection(np.roll(reference.encode(list(texts())), 1, axis=0))
        assert kinds(store, model) == ["mixed up"]

    def test_several_things_at_once(self, model, tmp_path):
        reference = without_eos(tmp_path / "model")
        vectors = reference.encode([t.replace("\n", " ") for t in texts()], truncate_dim=64)
        found = kinds(collection(vectors), model.with_options(dimensions=64))
        assert found == ["cut without renormalising", "newlines rewritten", "without EOS"]

    def test_only_some_rows(self, model, reference):
        right = reference.encode(list(texts()))
        right[::2] = reference.encode_query(list(texts()))[::2]
        report = audit(collection(right), model)
        assert [(c.kind, c.rows) for c in report.causes] == [("query instruction on documents", 12)]


def test_no_false_alarm():
    """50 right collections: three precisions, widths, instructions, models, texts."""
    alarms, tried = [], 0
    used = {"demo": F2LLM(DEMO, dtype="float32"), "tiny": F2LLM(tiny(), dtype="float32")}
    sizes = {"demo": [8, 64, 128, 256], "tiny": [16, 64]}
    for dtype in ("float32", "bfloat16", "int8"):
        for name, path in (("demo", DEMO), ("tiny", tiny())):
            built = F2LLM(path, dtype=dtype)
            for width in sizes[name]:
                for task in (None, "sts", "clustering"):
                    options = {"dimensions": width, "task": task}
                    some = [text[:200] for text in texts()[tried % 16 :][:8]]
                    store = collection(built.with_options(**options).encode_document(some), some)
                    report = audit(store, used[name].with_options(**options), seed=tried)
                    tried += 1
                    if not report.right:
                        alarms.append((dtype, name, width, task, str(report)))
    assert tried >= 50
    assert alarms == []


@cache
def tiny():
    from support import tiny_model

    return tiny_model()


def test_nothing_to_compare(encoder):
    assert kinds(MemoryStore(), encoder) == ["nothing to compare"]
    assert str(audit(MemoryStore(), encoder)) == f"{MemoryStore.name}: It holds no rows."
    store = collection(encoder.encode_document(["a", "b"]), ["a", "b"])
    store.rows = {i: (v, None, m) for i, (v, _, m) in store.rows.items()}
    assert kinds(store, encoder) == ["nothing to compare"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_what_is_no_vector_is_said_and_the_others_are_examined(encoder, value):
    documents = [f"Text {i}." for i in range(10)]
    store = collection(encoder.encode_document(documents), documents)
    store.rows["id3"] = (np.full(64, value, np.float32), *store.rows["id3"][1:])
    report = audit(store, encoder)
    assert [(cause.kind, cause.rows) for cause in report.causes] == [("not searchable", 1)]
    assert "'id3'" in str(report)
    assert report.checked == 10
    assert report.cosine > 0.9999
    store.rows = {i: (np.full(64, value, np.float32), d, m) for i, (_, d, m) in store.rows.items()}
    assert kinds(store, encoder) == ["not searchable"]


def test_a_few_wrong_rows_are_not_blamed_on_chance(encoder):
    store = collection(encoder.encode_document(["a"]), ["Another text."])
    assert kinds(store, encoder) == ["other model"]
    assert "or of other texts; they are too few to tell" in str(audit(store, encoder))


def test_a_sample_is_enough(model):
    store = collection(model.encode_document([t.replace("\n", " ") for t in texts()]))
    report = audit(store, model, sample=6)
    assert (report.checked, [c.kind for c in report.causes]) == (6, ["newlines rewritten"])


@pytest.mark.parametrize("sample", [0, -1, "5", True])
def test_a_sample_is_a_number_of_rows(encoder, sample):
    with pytest.raises(ConfigurationError, match="sample="):
        audit(collection(encoder.encode_document(["a"]), ["a"]), encoder, sample=sample)


@pytest.mark.parametrize("node", ["not JSON", "[1]", 7, '{"class_name": "Unknown"}'])
def test_metadata_that_only_looks_like_a_node_is_metadata(encoder, node):
    store = collection(encoder.encode_document(["a"]), ["a"])
    store.rows = {i: (v, d, {"_node_content": node}) for i, (v, d, _) in store.rows.items()}
    assert kinds(store, encoder) == []


def test_what_is_no_model_is_refused(encoder):
    store = collection(encoder.encode_document(["a"]), ["a"])
    with pytest.raises(ConfigurationError, match="got a str"):
        audit(store, "80M")
    with pytest.raises(ConfigurationError, match=r"dict is no store"):
        audit({}, encoder)
