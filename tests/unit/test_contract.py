import json

import pytest

from f2llm_core import F2LLM, ModelLoadError
from support import copy_model, edit_json


def test_another_pooling_is_refused(tmp_path):
    folder = copy_model(tmp_path / "m")
    path = folder / "1_Pooling" / "config.json"
    edit_json(path, pooling_mode_mean_tokens=True, pooling_mode_lasttoken=False)
    with pytest.raises(ModelLoadError, match=r"pooling_mode_mean_tokens.*last token only"):
        F2LLM(folder)


def test_a_pooling_that_is_kept_elsewhere_is_refused_rather_than_not_read(tmp_path):
    folder = copy_model(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelLoadError, match=r"pooling in 'pooling', expected '1_Pooling'"):
        F2LLM(folder)


def test_a_pooling_without_a_path_is_where_it_always_is(tmp_path):
    folder = copy_model(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    del modules[1]["path"]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert F2LLM(folder).dimensions == 64


def test_the_newer_notation_of_pooling_is_read(tmp_path):
    folder = copy_model(tmp_path / "m")
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({"pooling_mode": "lasttoken", "embedding_dimension": 64}))
    F2LLM(folder)
    path.write_text(json.dumps({"pooling_mode": "mean", "embedding_dimension": 64}))
    with pytest.raises(ModelLoadError, match="pooling_mode_mean"):
        F2LLM(folder)


def test_the_width_is_never_read_from_the_pooling(tmp_path):
    folder = copy_model(tmp_path / "m")
    edit_json(folder / "1_Pooling" / "config.json", word_embedding_dimension=1024)
    assert F2LLM(folder).dimensions == 64


def test_another_module_is_refused(tmp_path):
    folder = copy_model(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append(
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    )
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelLoadError, match="Dense"):
        F2LLM(folder)


@pytest.mark.parametrize("content", ["{}", "[3]", "[", "3", "[" * 100_000])
def test_damaged_modules_are_named(tmp_path, content):
    folder = copy_model(tmp_path / "m")
    (folder / "modules.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"modules\.json"):
        F2LLM(folder)


def test_without_declarations_nothing_is_refused(tmp_path, encoder):
    folder = copy_model(tmp_path / "m")
    (folder / "modules.json").unlink()
    (folder / "1_Pooling" / "config.json").unlink()
    ours = F2LLM(folder, dtype="float32")
    assert (ours.encode_document("a") == encoder.encode_document("a")).all()
