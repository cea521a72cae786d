"""A damaged model folder is an error that names it, never a model with other vectors."""

from __future__ import annotations

import json
import pickle
import shutil
import sys

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from f2llm_core import F2LLM, ModelError, NonFiniteError
from f2llm_core.engine import hub, weights
from faults.damage import Case, all_cases, foreign_shards, hostile_cases, lay_out, truncated
from faults.figures import Tally
from faults.stubs import loading
from faults.watching import watching
from support import copy_model

TEXT = "A telescope shows galaxies."


def load_model(folder):
    """Load the product's way and return a vector."""
    return F2LLM(folder, dtype="float32").encode_document(TEXT)


def check_folders(load, cases, root, right, canary=None):
    """Load every folder: a `ModelError` that names it or, where it is whole, the right vector.

    Args:
        load: Folder to vector; under test.
        cases: What is wrong with each folder.
        root: Where to write them.
        right: The whole model's vector.
        canary: A file that appears if something of a folder is run.
    """
    tally = Tally("folders")
    for case in cases:
        tally.tried += 1
        here = root / "case"
        folder = lay_out(case, here)
        with watching(here) as seen:
            try:
                vector = load(folder)
            except Exception as error:
                if not isinstance(error, ModelError) or str(here) not in str(error):
                    tally.fault("untyped errors", f"{case.name}: {error!r}")
            else:
                if not case.harmless or (vector != right).any():
                    tally.fault("silent loads", case.name)
        if canary is not None and canary.exists():
            seen.executed.append("left its canary")
            canary.unlink()
        count(seen, case, tally)
        shutil.rmtree(here)
    return tally


def count(seen, case, tally):
    """Count at most one fault of each kind per folder."""
    happened = {
        "files opened outside": seen.outside,
        "code executed": seen.executed,
        "pickles opened": seen.pickles,
    }
    for name, details in happened.items():
        if details:
            tally.fault(name, f"{case.name}: {details}")


@pytest.fixture(scope="module")
def right(checkpoint):
    return load_model(checkpoint)


@pytest.fixture
def outside(tmp_path, checkpoint):
    """A valid shard that belongs to no model."""
    folder = tmp_path / "outside"
    folder.mkdir()
    norm = load_file(checkpoint / "model.safetensors")["norm.weight"]
    save_file({"norm.weight": norm}, folder / "norm.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _opened_by_safetensors(monkeypatch):
    """Report what safetensors opens, too, which it does outside Python's sight."""

    def open_and_tell(path, *args, **options):
        sys.audit("open", str(path), "r", 0)
        return safe_open(path, *args, **options)

    monkeypatch.setattr(weights, "safe_open", open_and_tell)


def test_damaged_folders(tmp_path, outside, right, amount, prove):
    cases = list(all_cases(outside))[:: amount(1, 12)]
    prove(check_folders(load_model, cases, tmp_path, right))


def test_hostile_folders(tmp_path, right, prove):
    canary = tmp_path / "canary"
    cases = hostile_cases(canary)
    prove(check_folders(load_model, cases, tmp_path, right, canary))


def test_the_whole_model_loads_from_the_cache_as_from_a_folder(tmp_path, right):
    whole = [Case("whole", {}, harmless=True, cached=cached) for cached in (False, True)]
    assert not check_folders(load_model, whole, tmp_path, right).missed()
    folder = lay_out(whole[1], tmp_path / "case")
    assert (load_model(folder) == right).all()  # it did load
    assert (folder / "config.json").is_symlink()


def found_by(*args):
    return {name for name, count in check_folders(*args).found.items() if count}


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (loading.load_whatever_there_is, "silent loads"),
        (loading.load_with_untyped_errors, "untyped errors"),
        (loading.load_with_errors_that_name_nothing, "untyped errors"),
    ],
)
def test_a_careless_loader_is_found(tmp_path, right, broken, found):
    cases = list(truncated())[::50]
    assert found_by(broken(load_model), cases, tmp_path, right) == {found}


def test_a_loader_without_checksums_is_found(tmp_path, outside, right, monkeypatch):
    monkeypatch.setattr(hub, "verify", lambda _: None)
    monkeypatch.setattr(weights, "verify", lambda _: None)
    cases = [case for case in all_cases(outside) if case.cached][::10]
    assert "silent loads" in found_by(load_model, cases, tmp_path, right)


def test_a_loader_that_follows_an_index_anywhere_is_found(tmp_path, outside, right):
    broken = loading.load_after_opening_every_shard(load_model)
    cases = list(foreign_shards(outside))
    assert "files opened outside" in found_by(broken, cases, tmp_path, right)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (loading.load_after_unpickling, {"code executed", "pickles opened"}),
        (loading.load_after_running_code, {"code executed", "files opened outside"}),
    ],
)
def test_a_loader_that_runs_what_it_finds_is_found(tmp_path, right, broken, found):
    canary = tmp_path / "canary"
    args = (list(hostile_cases(canary)), tmp_path, right, canary)
    assert found <= found_by(broken(load_model), *args)


def test_weights_that_give_no_finite_vector_are_never_returned(tmp_path):
    folder = copy_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    damaged = tensors | {"norm.weight": tensors["norm.weight"] * float("nan")}
    save_file(damaged, folder / "model.safetensors")
    with pytest.raises(NonFiniteError) as caught:
        F2LLM(folder).encode_document(["a", "b"])
    assert caught.value.rows == (0, 1)


def test_a_directory_in_place_of_a_file(tmp_path):
    folder = copy_model(tmp_path / "model")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(ModelError, match="model"):
        load_model(folder)


def test_a_tokenizer_of_another_model(tmp_path):
    folder = copy_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["a"] = 10_000_000
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="not of one model"):
        load_model(folder)


def test_the_canary_sings(tmp_path):
    canary = tmp_path / "canary"
    [case] = [case for case in hostile_cases(canary) if case.name == "model.pkl alone"]
    pickle.loads(case.files["model.pkl"]).close()
    assert canary.exists()
