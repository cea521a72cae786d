"""llama.cpp's server gives the vectors of the model in this process, in float16, everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from texts import SCRIPTS, many_texts

from e2e.server import Served, serve
from f2llm_core import F2LLM
from f2llm_core.cli import main
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding

LEAST = 0.999  # cosine with float32
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "multilingual_rag" / "main.py"
TEXTS = [t for t in many_texts() if len(t) < 100]
QUERIES = list(SCRIPTS.values())


def worst(found: object, right: object) -> float:
    """Return the least cosine of rows with the right ones, all of unit length."""
    rows, others = np.asarray(found), np.asarray(right)
    assert rows.shape == others.shape
    return float((rows * others).sum(-1).min())


@pytest.mark.parametrize("name", ["demo", "size_80m"])
def test_documents_and_queries_of_many_scripts(name, request):
    served: Served = request.getfixturevalue(name)
    assert len(TEXTS) >= 100
    remote = F2LLM(served.folder, base_url=served.url, timeout=600)
    assert worst(remote.encode_document(TEXTS), served.local.encode_document(TEXTS)) >= LEAST
    assert worst(remote.encode_query(QUERIES), served.local.encode_query(QUERIES)) >= LEAST


async def test_without_blocking(demo):
    remote = F2LLM(demo.folder, base_url=demo.url, dimensions=64)
    local = demo.local.with_options(dimensions=64)
    assert worst(await remote.aencode_document(TEXTS), local.encode_document(TEXTS)) >= LEAST
    assert worst(await remote.aencode_query(QUERIES), local.encode_query(QUERIES)) >= LEAST


async def test_langchain(demo):
    remote = F2LLMEmbeddings(model=str(demo.folder), base_url=demo.url)
    right, asked = demo.local.encode_document(TEXTS), demo.local.encode_query(QUERIES[0])
    assert worst(remote.embed_documents(TEXTS), right) >= LEAST
    assert worst(await remote.aembed_documents(TEXTS), right) >= LEAST
    assert worst(remote.embed_query(QUERIES[0]), asked) >= LEAST
    assert worst(await remote.aembed_query(QUERIES[0]), asked) >= LEAST


async def test_llama_index(demo):
    remote = F2LLMEmbedding(model_name=str(demo.folder), base_url=demo.url)
    right, asked = demo.local.encode_document(TEXTS), demo.local.encode_query(QUERIES[0])
    assert worst(remote.get_text_embedding_batch(TEXTS), right) >= LEAST
    assert worst(await remote.aget_text_embedding_batch(TEXTS), right) >= LEAST
    assert worst(remote.get_query_embedding(QUERIES[0]), asked) >= LEAST
    assert worst(await remote.aget_query_embedding(QUERIES[0]), asked) >= LEAST


def test_a_text_cut_to_max_length_keeps_its_eos(demo):
    text = ["word " * 600]
    remote = F2LLM(demo.folder, base_url=demo.url, max_length=500, on_truncate="ignore")
    local = demo.local.with_options(max_length=500, on_truncate="ignore")
    assert worst(remote.encode_document(text), local.encode_document(text)) >= LEAST


def test_the_example_runs_through_it_unchanged(demo, tmp_path):
    def run(index: str, **variables: str) -> str:
        command = [sys.executable, EXAMPLE, "--model", demo.folder, "--persist", tmp_path / index]
        command += ["--no-table"]  # which embeds as much again
        done = subprocess.run(
            command,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    through, alone = run("server", F2LLM_BASE_URL=demo.url), run("local")
    found = [re.findall(r"came first: (\d+) of (\d+)", text) for text in (through, alone)]
    assert found[0] == found[1] != []


def test_the_doctor_finds_it_right(demo):
    done = CliRunner().invoke(main, ["doctor", str(demo.folder), "--base-url", demo.url])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("overrides", "context", "word"),
    [
        (["qwen3.pooling_type=int:1"], 4096, "mean-pooled"),
        (["tokenizer.ggml.add_eos_token=bool:false"], 4096, "without EOS"),
        ([], 512, "2 of 7 vectors"),  # the two texts that do not fit lose their EOS
    ],
    ids=["mean pooling", "no EOS", "short batch"],
)
def test_the_doctor_names_what_a_wrong_start_does(demo, overrides, context, word):
    with serve(demo.gguf, *overrides, context=context) as url:
        done = CliRunner().invoke(main, ["doctor", str(demo.folder), "--base-url", url])
    assert done.exit_code == 1
    assert word in done.output
