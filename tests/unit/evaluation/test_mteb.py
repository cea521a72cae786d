"""MTEB: the same scores as its own loader of the same weights, with the official instructions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from f2llm_core import F2LLM
from f2llm_core.errors import ConfigurationError, MissingExtraError

CORPUS = Path(__file__).parents[3] / "examples/multilingual_rag/data/debian.jsonl"
LANGUAGES = ("de", "fr", "ja", "ru")
NAMES = 80  # packages, each in English and in one of the languages
# Importing mteb and sentence-transformers takes seconds, on a busy machine more than a minute.
pytestmark = pytest.mark.timeout(300)
COMMON = {
    "description": "Made of the corpus that this repository ships.",
    "dataset": {"path": "local/none", "revision": "1"},  # never asked for
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
}


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb", reason="the extra [mteb] is not installed")


@pytest.fixture(scope="module")
def ours(mteb):
    """The module under test, which needs the extra."""
    return importlib.import_module("f2llm_core.evaluation.mteb")


@pytest.fixture(scope="module")
def pairs():
    """`(id, English record, the same package in another language)`."""
    records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    by_key = {(record["parallel"], record["lang"]): record for record in records}
    names = sorted({record["parallel"] for record in records})
    found = []
    for name in names:
        language = LANGUAGES[len(found) % len(LANGUAGES)]
        if {(name, "en"), (name, language)} <= by_key.keys():
            found.append((name, by_key[name, "en"], by_key[name, language]))
    return found[:NAMES]


@pytest.fixture(scope="module")
def retrieval(mteb, pairs):
    from datasets import Dataset

    class DebianRetrieval(mteb.abstasks.AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="DebianRetrieval", type="Retrieval", main_score="ndcg_at_10", **COMMON
        )

        def load_data(self, num_proc=None, **_):
            queries = [{"id": name, "text": other["title"]} for name, _, other in pairs]
            corpus = [
                {"id": name, "title": english["title"], "text": english["text"]}
                for name, english, _ in pairs
            ]
            split = {
                "queries": Dataset.from_list(queries),
                "corpus": Dataset.from_list(corpus),
                "relevant_docs": {name: {name: 1} for name, _, _ in pairs},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return DebianRetrieval()


@pytest.fixture(scope="module")
def similarity(mteb, pairs):
    from datasets import Dataset, DatasetDict

    class DebianSTS(mteb.abstasks.AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            name="DebianSTS", type="STS", main_score="cosine_spearman", **COMMON
        )

        def load_data(self, num_proc=None, **_):
            rows = []
            for i, (_, english, other) in enumerate(pairs):
                stranger = pairs[(i + 7) % len(pairs)][2]
                rows += [
                    (english["text"], other["text"], 5.0),
                    (english["title"], other["text"], 3.0),
                    (english["text"], stranger["text"], 0.0),
                ]
            columns = zip(("sentence1", "sentence2", "score"), zip(*rows, strict=True), strict=True)
            self.dataset = DatasetDict({"test": Dataset.from_dict(dict(columns))})
            self.data_loaded = True

    return DebianSTS()


@pytest.fixture(scope="module")
def wrapped(ours, demo_model):
    return ours.F2LLMEncoder(demo_model, dtype="float32")


@pytest.fixture(scope="module")
def reference(mteb, demo_model):
    """What `mteb` itself makes of F2LLM-v2, on the demo model's weights."""
    import torch

    meta = mteb.get_model_meta("codefuse-ai/F2LLM-v2-80M")
    arguments = meta.loader_kwargs | {"model_kwargs": {"dtype": torch.float32}}
    return meta.loader(str(demo_model), revision=None, device="cpu", **arguments)


def score(mteb, model, task):
    """All figures of one task."""
    found = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
    return found.task_results[0].scores["test"][0]


def figures(scores):
    return {name: value for name, value in scores.items() if isinstance(value, float)}


@pytest.mark.parametrize("kind", ["retrieval", "similarity"])
def test_scores_are_those_of_mtebs_own_loader(kind, request, mteb, wrapped, reference):
    task = request.getfixturevalue(kind)
    mine, theirs = score(mteb, wrapped, task), score(mteb, reference, task)
    assert 0.2 < mine["main_score"] < 0.99  # a score at either end would agree by chance
    assert figures(mine) == pytest.approx(figures(theirs), abs=1e-3, nan_ok=True)


class Batches(list):
    """As much of a `DataLoader` as an encoder uses."""


def asked(wrapped, monkeypatch, task, prompt_type, **kwargs):
    """The prompt that a text of a task got."""
    prompts = []

    def encode(model, side):
        def record(texts, *, show_progress):
            prompts.append(model.prompts.of(side))

        return record

    monkeypatch.setattr(F2LLM, "encode_query", lambda m, *a, **k: encode(m, "query")(*a, **k))
    monkeypatch.setattr(F2LLM, "encode_document", lambda m, *a, **k: encode(m, "document")(*a, **k))
    wrapped.encode(
        Batches([{"text": ["a"]}]),
        task_metadata=task,
        hf_split="test",
        hf_subset="default",
        prompt_type=prompt_type,
        **kwargs,
    )
    return prompts.pop()


@pytest.mark.parametrize(
    ("name", "side", "instruction"),
    [
        ("FiQA2018", "query", "Given a financial question, retrieve passages that answer the "),
        ("FiQA2018", "document", ""),
        ("SprintDuplicateQuestions", None, "Retrieve duplicate questions from Sprint forum."),
        ("STSES", None, "Retrieve semantically similar text."),  # by its type
        ("BUCC.v2", None, "Retrieve translations of the following text."),
        ("BelebeleRetrieval", "query", "Given a question, retrieve passages that can help answer "),
        ("BelebeleRetrieval", "document", ""),
    ],
)
def test_instruction_by_name_then_type_then_side(
    name, side, instruction, mteb, wrapped, monkeypatch
):
    task = mteb.get_task(name).metadata
    prompt = asked(wrapped, monkeypatch, task, side and mteb.types.PromptType(side))
    assert prompt.startswith(f"Instruct: {instruction}" if instruction else "")
    assert bool(prompt) == bool(instruction)


def test_prompts_of_ones_own_go_first(ours, demo_model, retrieval, mteb, monkeypatch):
    mine = ours.F2LLMEncoder(demo_model, prompts={"DebianRetrieval": "Find the package."})
    query = mteb.types.PromptType.query
    prompt = asked(mine, monkeypatch, retrieval.metadata, query)
    assert prompt == "Instruct: Find the package.\nQuery: "
    other = mteb.get_task("STS17").metadata
    assert "semantically similar" in asked(mine, monkeypatch, other, None)


def test_kept_results_are_told_apart(ours, demo_model):
    """`mteb` finds results again by name, revision and experiment."""

    def key(**options):
        meta = ours.F2LLMEncoder(demo_model, **options).mteb_model_meta
        return meta.name, meta.revision, meta.experiment_name

    variants = [
        {"dtype": "float32"},
        {"dtype": "bfloat16"},
        {"dtype": "float32", "dimensions": 64},
        {"dtype": "float32", "max_length": 100},
        {"dtype": "float32", "prompts": {"STS": "Find what means the same."}},
    ]
    keys = [key(**options) for options in variants]
    assert len(set(keys)) == len(variants)
    assert keys[0] == key(dtype="float32")
    assert keys[0][0] == "local/f2llm-demo"
    assert len(keys[0][1]) == 64  # the folder's checksum


def test_metadata_makes_the_same_encoder_again(ours, demo_model):
    meta = ours.F2LLMEncoder(demo_model, dtype="float32", dimensions=64).mteb_model_meta
    again = meta.loader(str(demo_model), **meta.experiment_kwargs)
    assert again.mteb_model_meta == meta
    assert meta.embed_dim == 64


def test_an_encoder_shares_its_weights(ours, demo_model):
    encoder = F2LLM(demo_model, dtype="float32")
    mine = ours.F2LLMEncoder(encoder, dimensions=32)
    assert mine.model._backend is encoder._backend
    assert mine.model.dimensions == 32


@pytest.mark.parametrize(
    "options", [{"task": "sts"}, {"instruction": "Find."}, {"document_instruction": ""}]
)
def test_an_instruction_for_all_tasks_is_refused(options, ours, demo_model):
    (name,) = options
    with pytest.raises(ConfigurationError, match=rf"leave out {name}\..*prompts="):
        ours.F2LLMEncoder(demo_model, **options)


def test_other_precisions_of_vectors_are_refused(wrapped, retrieval, monkeypatch):
    with pytest.raises(ConfigurationError, match="precision='int8'"):
        asked(wrapped, monkeypatch, retrieval.metadata, None, precision="int8")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.delitem(sys.modules, "f2llm_core.evaluation.mteb", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'f2llm-core\[mteb\]'"):
        importlib.import_module("f2llm_core.evaluation.mteb")
