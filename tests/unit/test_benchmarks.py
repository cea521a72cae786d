"""The parts of the speed harness that decide what counts."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from benchmarks import precision, run
from benchmarks.checking import WrongVectorsError, call_at_once, check, count_served
from benchmarks.engines import ENGINES
from benchmarks.flops import attention_flops, linear_flops, text_flops
from benchmarks.llama_cpp import model_file
from benchmarks.picture import draw
from benchmarks.report import markdown, put_summary
from benchmarks.summary import percentile, spread
from benchmarks.targets import table_of_targets
from f2llm_core import MODELS
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.options import DTypeName
from support import copy_model

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results.json"
RIGHT = np.random.default_rng(0).normal(size=(20, 32)).astype(np.float32)


def config(spec):
    return Qwen3Config(
        vocab_size=151_936,
        width=spec.width,
        layers=spec.layers,
        heads=spec.attention_heads,
        kv_heads=8,
        head_dim=128,
        intermediate_size=spec.intermediate_size,
        norm_eps=1e-6,
        rope_theta=1e6,
        max_position=40_960,
        eos_ids=(151_645,),
    )


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_a_token_costs_twice_the_matrices_of_the_model(spec):
    gains = spec.layers * (2 * spec.width + 2 * 128) + spec.width
    matrices = spec.parameters - 151_936 * spec.width - gains
    assert linear_flops(config(spec)) == 2 * matrices


def test_attention_counts_each_pair_once():
    small = config(MODELS["80M"])
    pairs = sum(1 for i in range(7) for j in range(7) if j <= i)
    assert attention_flops(small, 7) == 8 * pairs * 16 * 128 * 2 * 2
    assert text_flops(small, [7, 7]) == 2 * (7 * linear_flops(small) + attention_flops(small, 7))


def test_right_vectors_pass_whatever_their_length():
    assert check(RIGHT * 3, RIGHT, "float32") == pytest.approx(1)


@pytest.mark.parametrize("wrong", ["shape", "nan", "order", "noise"])
def test_wrong_vectors_do_not_count(wrong):
    rows = {
        "shape": RIGHT[:-1],
        "nan": np.where(RIGHT > 2, np.nan, RIGHT),
        "order": RIGHT[::-1],
        "noise": RIGHT + 0.01 * RIGHT[::-1],
    }[wrong]
    with pytest.raises(WrongVectorsError):
        check(rows, RIGHT, "float32")


def test_a_call_that_fails_or_comes_back_wrong_is_not_served():
    def call(text):
        index = int(text)
        if index == 3:
            raise ConnectionError("busy")
        return RIGHT[0] if index == 5 else RIGHT[index]

    _, calls = call_at_once(call, [str(i) for i in range(20)], threads=4)
    served = count_served(calls, RIGHT, "float32")
    assert len(served.seconds) == 18
    assert len(served.failed) == 2
    assert "ConnectionError: busy" in served.failed


def test_each_engine_is_looked_for_in_the_interpreter_given_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(run, "missing_modules", lambda needs, python: asked.append(python) or [])
    names = ["st-fp32", "st-openvino-bf16", "llama-cpp-f16"]
    pythons, absent = run._available(names, {"openvino": "/ov", "llama-cpp": "/lc"})
    assert asked == ["", "/ov", "/lc"]
    assert (list(pythons), absent) == (names, {})


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16", "q8_0"])
def test_the_model_file_of_llama_cpp_is_written_beside_the_checkpoint(precision, tmp_path):
    folder = copy_model(tmp_path / "model")
    before = sorted(folder.iterdir())
    ENGINES[f"llama-cpp-{precision}"].prepare(folder)
    assert model_file(folder, precision).read_bytes()[:4] == b"GGUF"
    assert sorted(folder.iterdir()) == before


def test_percentiles_and_spread():
    assert percentile([1, 2, 3, 4, 5], 50) == 3
    assert percentile(range(101), 95) == 95
    assert spread([3, 1, 2]) == {"median": 2, "low": 1, "high": 3}


@pytest.mark.parametrize(
    "file", sorted(RESULTS.parent.rglob("results.json")), ids=lambda file: file.parent.name
)
def test_the_committed_table_is_what_the_committed_results_say(file, tmp_path):
    results = json.loads(file.read_text(encoding="utf-8"))
    shown = file.with_suffix(".md").read_text(encoding="utf-8")
    assert markdown(results).strip() == shown.strip()
    draw(results, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.parametrize("folder", [".", "0.6B", "with_llama_cpp"])
def test_aims_are_compared_with_what_the_table_says(folder):
    file = RESULTS.parent / folder / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    said = {line[0]: line[1::2] for line in table_of_targets(results)}
    for place, engine in enumerate(("f2llm-fp32", "f2llm-bf16")):
        [row] = [r for r in results["rows"] if r["engine"] == engine]
        shown = said["D, times sentence-transformers float32"][place].split()[0]
        assert shown == f"{row['D']['times']:.2f}"


def test_a_figure_just_below_its_aim_does_not_look_like_it():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    [row] = [r for r in results["rows"] if r["engine"] == "f2llm-fp32"]
    row["C"]["times"] = 7.996
    said = {line[0]: line[1] for line in table_of_targets(results)}
    assert said["C, times sentence-transformers float32"] == "7.9960 ✗"


def test_the_readme_shows_the_committed_results():
    readme = RESULTS.parents[1].joinpath("README.md").read_text(encoding="utf-8")
    assert readme.count("<!-- speed:") == 2
    assert put_summary(readme, json.loads(RESULTS.read_text(encoding="utf-8"))) == readme


PRECISION = json.loads(RESULTS.with_name("precision.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("dtype", [name for name in get_args(DTypeName) if name != "auto"])
@pytest.mark.parametrize("kind", precision.KINDS)
def test_every_precision_that_is_offered_was_measured_to_be_harmless(dtype, kind):
    assert precision.loss(PRECISION, dtype, kind) < precision.MOST_LOSS


def test_the_committed_page_on_precision_is_what_was_measured():
    shown = RESULTS.with_name("precision.md").read_text(encoding="utf-8")
    assert precision.markdown(PRECISION) == shown
