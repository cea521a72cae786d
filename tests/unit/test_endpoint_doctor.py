"""What is wrong with a server, told in words: by the weights at hand, or by a golden file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from f2llm_core import F2LLM, ConfigurationError, EndpointModelError, ModelError, truncate
from f2llm_core.audit_variants import Workshop
from f2llm_core.backends.local import LocalBackend
from f2llm_core.cli import main
from f2llm_core.doctor import doctor
from f2llm_core.doctor.golden import TEXTS, make_golden, name_of, read_golden, write_golden
from f2llm_core.doctor.server import ADVICE
from faults.faulty_server import answer, reply, running
from support import copy_model

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def workshop(encoder):
    return Workshop(encoder)


@pytest.fixture(scope="module")
def golden(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "golden.jsonl"
    write_golden(path, make_golden(encoder))
    return path


def made(how):
    """A server whose vectors are made in some way."""

    def script(request):
        data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(how(request.texts))]
        return reply({"data": data})

    return running(script)


def variant(workshop, **changes):
    return lambda texts: workshop.rows(texts, replace(workshop.right, **changes))


def mean(workshop):
    """Every text's mean; of a long one not of all tokens, which would take minutes."""

    def rows(texts):
        made = []
        for ids in workshop.ids(texts, workshop.right):
            ends = range(1, len(ids) + 1) if len(ids) < 100 else (5, 50, 100)
            made.append(workshop.embed_ids([ids[:end] for end in ends]).mean(axis=0))
        return np.array(made)

    return rows


def two_eos(workshop):
    def rows(texts):
        sequences = workshop.ids(texts, workshop.right)
        return workshop.embed_ids([(*ids, ids[-1]) for ids in sequences])

    return rows


def quantised(workshop, steps):
    def rows(texts):
        right = truncate(workshop.rows(texts, workshop.right))
        step = np.abs(right).max(axis=1, keepdims=True) / steps
        return np.round(right / step) * step

    return rows


def turned(workshop):
    """Another model of the same width."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0]
    return lambda texts: workshop.rows(texts, workshop.right) @ turn.astype(np.float32)


WRONG = {
    "without EOS": lambda w: variant(w, eos=False),
    "with two EOS": two_eos,
    "mean-pooled": mean,
    "query instruction on documents": lambda w: variant(
        w,
        prompt="Instruct: Given a question, retrieve passages that can help answer the question."
        "\nQuery: ",
    ),
    "newlines rewritten": lambda w: variant(w, text="newlines"),
    "ends stripped": lambda w: variant(w, text="stripped"),
    "truncated": lambda w: variant(w, max_length=512),
    "precision": lambda w: quantised(w, 3),
    "model": turned,
}


def failures(report):
    return {check.name: check for check in report.checks if check.status == "failed"}


@pytest.mark.parametrize("kind", WRONG)
def test_each_way_to_be_wrong_is_named(checkpoint, workshop, golden, kind):
    with made(WRONG[kind](workshop)) as server:
        report = doctor(F2LLM(checkpoint, base_url=server.url), golden=golden)
    found = failures(report)
    assert set(found) == {kind}, report
    assert found[kind].advice == ADVICE.get(kind, found[kind].advice) != ""


def test_a_cut_is_told_with_its_length(checkpoint, workshop, golden):
    for limit in (256, 1024):
        with made(variant(workshop, max_length=limit)) as server:
            report = doctor(F2LLM(checkpoint, base_url=server.url), golden=golden)
        assert failures(report)["truncated"].found.endswith(f"cut at {limit} tokens")


def test_a_cut_that_takes_the_eos_is_told(checkpoint, workshop, golden):
    """As llama.cpp's binding cuts at its batch."""
    with made(variant(workshop, max_length=512, eos_cut=True)) as server:
        report = doctor(F2LLM(checkpoint, base_url=server.url), golden=golden)
    assert failures(report)["truncated"].found.endswith("cut at 512 tokens, which lost their EOS")


@pytest.mark.parametrize("how", ["right", "in 8 bits"])
def test_a_right_server_passes(checkpoint, workshop, golden, how):
    rows = variant(workshop) if how == "right" else quantised(workshop, 127)
    with made(rows) as server:
        remote = F2LLM(checkpoint, base_url=server.url, dimensions=16, task="code")
        report = doctor(remote, golden=golden)
        assert report.healthy
        assert [check.name for check in report.checks] == ["server", "batches", "vectors"]
        remote.verify(golden)


def test_the_weights_at_hand_serve_as_well(checkpoint, workshop, tmp_path):
    with made(WRONG["without EOS"](workshop)) as server:
        remote = F2LLM(checkpoint, base_url=server.url, cache=tmp_path, on_truncate="ignore")
        remote.encode_document(list(TEXTS))  # the cache does not answer for the server
        assert "without EOS" in failures(doctor(remote))
        with pytest.raises(EndpointModelError, match="made without the EOS token"):
            remote.verify()


def test_with_nothing_to_compare_with(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with running(lambda r: answer(r)) as server:
        remote = F2LLM("someone/their-model", base_url=server.url)
        with pytest.warns(match="prompts"):
            report = doctor(remote)
    assert [check.status for check in report.checks] == ["passed", "passed", "skipped"]
    assert "--write-golden" in report.checks[-1].found


def test_a_server_that_mixes_texts(checkpoint, workshop, golden):
    def mixing(texts):
        rows = workshop.rows(texts, workshop.right)
        return rows + 0.3 * rows.mean(axis=0) if len(texts) > 1 else rows

    with made(mixing) as server:
        report = doctor(F2LLM(checkpoint, base_url=server.url), golden=golden)
    assert "batches" in failures(report)


def test_a_server_that_refuses_long_texts(checkpoint, workshop, golden):
    right = variant(workshop)

    def script(request):
        if max(map(len, request.texts)) > 1000:
            return reply({"error": "input is too large to process"}, 400)
        rows = right(request.texts)
        return reply({"data": [{"index": i, "embedding": r.tolist()} for i, r in enumerate(rows)]})

    with running(script) as server:
        report = doctor(F2LLM(checkpoint, base_url=server.url), golden=golden)
    found = failures(report)
    assert set(found) == {"long texts"}
    assert "too large to process" in found["long texts"].found


def test_a_server_that_is_not_there(checkpoint, golden):
    remote = F2LLM(checkpoint, base_url="http://127.0.0.1:9", max_retries=0)
    report = doctor(remote, golden=golden)
    assert [(check.name, check.status) for check in report.checks] == [("server", "failed")]
    with pytest.raises(EndpointModelError, match="gave no answer"):
        remote.verify()


class TestGolden:
    def test_is_read_as_it_was_written(self, encoder, golden):
        written, read = make_golden(encoder), read_golden(golden)
        assert (read.model, read.width) == (written.model, written.width) == ("model", 64)
        for one, other in zip(written.ways, read.ways, strict=True):
            assert (one.kind, one.said) == (other.kind, other.said)
            assert np.allclose(one.rows, other.rows, atol=1e-5, equal_nan=True)

    def test_shows_each_way_somewhere(self, encoder):
        """Or a server that goes it would pass."""
        right, *wrong = make_golden(encoder).ways
        for way in wrong:
            cosines = (way.rows * right.rows).sum(axis=1)
            assert np.nanmin(cosines) < 0.98, way.said

    @pytest.mark.parametrize(
        "damage",
        [
            lambda lines: [],
            lambda lines: ["no JSON", *lines[1:]],
            lambda lines: lines[:1],
            lambda lines: [lines[0], *lines[2:]],
            lambda lines: [lines[0], "{}", *lines[2:]],
            lambda lines: [lines[0].replace('"width": 64', '"width": 65'), *lines[1:]],
            lambda lines: [lines[0].replace('"format": 1', '"format": 2'), *lines[1:]],
            lambda lines: [lines[0].replace("telescope", "microscope"), *lines[1:]],
            lambda lines: ["[]", *lines[1:]],
        ],
    )
    def test_that_is_damaged_is_refused(self, golden, tmp_path, damage):
        path = tmp_path / "golden.jsonl"
        lines = golden.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(damage(lines)), encoding="utf-8")
        with pytest.raises(ConfigurationError, match="Make it again"):
            read_golden(path)
        with pytest.raises(ConfigurationError, match="Make it again"):
            read_golden(tmp_path / "missing")

    def test_of_another_model_is_refused(self, golden):
        remote = F2LLM("80M", base_url="http://127.0.0.1:9")
        with pytest.raises(ConfigurationError, match="are of model, not of codefuse-ai"):
            doctor(remote, golden=golden)

    def test_is_for_servers(self, checkpoint, golden):
        with pytest.raises(ConfigurationError, match="for a model on a server"):
            doctor(F2LLM(checkpoint), golden=golden)
        with pytest.raises(ConfigurationError, match="runs in this process"):
            make_golden(F2LLM(checkpoint, base_url="http://127.0.0.1:9"))

    def test_names_a_folder_by_its_own_name(self, tmp_path):
        assert name_of(F2LLM(copy_model(tmp_path / "mine"))) == "mine"


def test_verify_a_model_in_this_process(checkpoint, monkeypatch):
    model = F2LLM(checkpoint, dtype="float32")
    model.verify()
    run = LocalBackend.run
    monkeypatch.setattr(LocalBackend, "run", lambda self, prompts: run(self, prompts)[::-1].copy())
    with pytest.raises(ModelError, match="is not what it should be"):
        model.verify()


class TestCommand:
    def invoke(self, *arguments):
        return CliRunner().invoke(main, ["doctor", *map(str, arguments)])

    def test_golden_written_here_and_used_there(self, checkpoint, workshop, tmp_path, monkeypatch):
        path = tmp_path / "golden.jsonl"
        monkeypatch.setenv("F2LLM_BASE_URL", "http://127.0.0.1:9")
        written = self.invoke(checkpoint, "--dtype", "float32", "--write-golden", path)
        assert written.exit_code == 0, written.output
        assert "right and wrong" in written.output
        monkeypatch.delenv("F2LLM_BASE_URL")
        with made(WRONG["without EOS"](workshop)) as server:
            arguments = (checkpoint, "--base-url", server.url, "--golden", path)
            found = self.invoke(*arguments)
            assert found.exit_code == 1
            assert "✗ without EOS: 7 of 7 vectors were made without the EOS" in found.output
            report = json.loads(self.invoke(*arguments, "--json").output)
            assert not report["healthy"]
        with made(variant(workshop)) as server:
            found = self.invoke(checkpoint, "--base-url", server.url, "--golden", path)
            assert found.exit_code == 0
            assert "✓ vectors" in found.output

    def test_what_does_not_go_together(self, checkpoint, tmp_path):
        url = ("--base-url", "http://127.0.0.1:9")
        assert self.invoke(checkpoint, *url, "--write-golden", tmp_path / "g").exit_code == 2
        assert self.invoke(checkpoint, "--golden", __file__, "--write-golden", "g").exit_code == 2
        assert self.invoke(checkpoint, *url, "--dtype", "float32").exit_code == 1
        assert self.invoke(checkpoint, "--server-model", "name").exit_code == 1
