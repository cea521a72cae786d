"""`f2llm audit` on real Chroma folders."""

from __future__ import annotations

import json
import warnings

import pytest
from click.testing import CliRunner

from f2llm_core import F2LLM, guard
from f2llm_core.cli import main
from f2llm_core.stores.chroma import STAMP
from store_kinds import COSINE, chroma_client

TEXTS = [f"Line {i} of a passage.\nAnd another one, number {i * 7}." for i in range(12)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory, demo_model):
    model = F2LLM(demo_model, dtype="float32", dimensions=64)
    path = tmp_path_factory.mktemp("db")
    with chroma_client(path) as client:
        for name, rows in {
            "right": model.encode_document(TEXTS),
            "wrong": model.encode_document([t.replace("\n", " ") for t in TEXTS]),
        }.items():
            collection = client.create_collection(
                name, configuration=COSINE, embedding_function=None
            )
            if name == "right":
                guard(collection, model)
            collection.add(ids=TEXTS, embeddings=rows, documents=TEXTS)
    return path


def run(*args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CliRunner().invoke(main, ["audit", *map(str, args)])


def test_right(folder, demo_model):
    done = run(demo_model, "--chroma", folder, "--collection", "right", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    assert "✓ The vectors are this model's." in done.output
    assert "The stamp is this model's." in done.output
    assert "12 rows embedded again, least cosine 1.0000" in done.output


def test_wrong(folder, demo_model):
    done = run(demo_model, "--chroma", folder, "--collection", "wrong", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["right"] is False
    assert [cause["kind"] for cause in found["causes"]] == ["newlines rewritten"]
    assert found["stamp"] is None
    plain = run(demo_model, "--chroma", folder, "--collection", "wrong")
    assert "✗ newlines rewritten: 12 of 12 vectors" in plain.output
    assert "It has no stamp." in plain.output


def test_an_empty_collection_with_a_damaged_stamp_is_looked_at(demo_model, tmp_path):
    with chroma_client(tmp_path) as client:
        client.create_collection("empty", metadata={STAMP: "{}"}, embedding_function=None)
    given = (demo_model, "--chroma", tmp_path, "--collection", "empty")
    found = json.loads(run(*given, "--json").stdout)
    assert (found["cosine"], found["right"]) == (None, False)
    assert "not readable" in found["stamp"]
    plain = run(*given).output
    assert "0 rows embedded again\n" in plain
    assert "not readable" in plain


def test_the_width_can_be_said(folder, demo_model):
    done = run(demo_model, "--chroma", folder, "--collection", "right", "--dimensions", "128")
    assert done.exit_code == 1
    assert "✗ other width" in done.output
    assert "dimensions 64, this model has 128" in done.output


def test_what_is_not_there_is_said_and_not_made(folder, demo_model, tmp_path):
    done = run(demo_model, "--chroma", folder, "--collection", "none")
    assert done.exit_code == 1
    assert "It has: right, wrong." in done.output
    done = run(demo_model, "--chroma", tmp_path, "--collection", "none")
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "no Chroma database" in done.output
    done = run(demo_model, "--chroma", tmp_path / "x", "--collection", "none")
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "no Chroma database" in done.output
