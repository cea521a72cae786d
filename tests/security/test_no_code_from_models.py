"""Nothing in a model folder can run: pickles stay closed, custom code stays text."""

from __future__ import annotations

import pickle

import pytest

from f2llm_core import F2LLM, ModelLoadError
from faults.damage import Canary
from support import copy_model, edit_json


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    payload = pickle.dumps(Canary(str(path)))
    pickle.loads(payload).close()
    assert path.exists()  # it sings when opened
    path.unlink()
    return path, payload


@pytest.mark.parametrize("backend", ["local", "sentence-transformers"])
@pytest.mark.parametrize("beside_safetensors", [False, True], ids=["alone", "beside"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl"])
def test_a_pickle_is_never_opened(tmp_path, canary, name, beside_safetensors, backend):
    path, payload = canary
    folder = copy_model(tmp_path / "model")
    (folder / name).write_bytes(payload)
    if beside_safetensors:
        F2LLM(folder, backend=backend).encode_document("a")
    else:
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelLoadError, match="refused"):
            F2LLM(folder, backend=backend).encode_document("a")
    assert not path.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pickle_under_another_name_is_never_opened(tmp_path, canary, name):
    path, payload = canary
    folder = copy_model(tmp_path / "model")
    (folder / name).write_bytes(payload)
    with pytest.raises(ModelLoadError):
        F2LLM(folder).encode_document("a")
    assert not path.exists()


@pytest.mark.parametrize("backend", ["local", "sentence-transformers"])
def test_custom_code_is_never_imported(tmp_path, backend):
    folder = copy_model(tmp_path / "model")
    ran = tmp_path / "ran"
    (folder / "custom.py").write_text(f"open({str(ran)!r}, 'w')\nclass M: pass\n")
    auto_map = {"AutoModel": "custom.M", "AutoConfig": "custom.M", "AutoTokenizer": "custom.M"}
    edit_json(folder / "config.json", auto_map=auto_map, trust_remote_code=True)
    edit_json(folder / "tokenizer_config.json", auto_map=auto_map)
    F2LLM(folder, backend=backend).encode_document("a")
    modules = '[{"idx": 0, "name": "0", "path": "", "type": "custom.M"}]'
    (folder / "modules.json").write_text(modules)
    with pytest.raises(ModelLoadError, match=r"custom\.M"):
        F2LLM(folder, backend=backend).encode_document("a")
    assert not ran.exists()
    assert not list(folder.glob("__pycache__"))
