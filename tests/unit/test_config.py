import pytest
from transformers import Qwen3Config

from f2llm_core import ModelLoadError
from f2llm_core.engine.config import read_config
from support import copy_model


def test_reads_the_shape(checkpoint):
    config = read_config(checkpoint / "config.json")
    assert (config.width, config.heads, config.kv_heads, config.head_dim) == (64, 4, 2, 32)
    assert config.heads * config.head_dim != config.width
    assert config.rope_theta == 1e6
    assert config.max_position == 4096


def test_reads_the_rotary_base_as_transformers_5_writes_it(tmp_path):
    rope = {"rope_theta": 5e5, "rope_type": "default"}
    folder = copy_model(tmp_path / "m", rope_theta=..., rope_parameters=rope)
    assert read_config(folder / "config.json").rope_theta == 5e5


def test_the_newer_notation_of_the_rotary_base_wins(tmp_path):
    folder = copy_model(tmp_path / "m", rope_theta=3e4, rope_parameters={"rope_theta": 5e5})
    assert read_config(folder / "config.json").rope_theta == 5e5
    folder = copy_model(tmp_path / "n", rope_theta=3e4, rope_parameters={"rope_type": "default"})
    assert read_config(folder / "config.json").rope_theta == 3e4


def test_absent_settings_have_the_defaults_of_transformers(tmp_path):
    folder = copy_model(tmp_path / "m", rms_norm_eps=..., rope_theta=..., hidden_act=...)
    reference, found = Qwen3Config(), read_config(folder / "config.json")
    assert found.norm_eps == reference.rms_norm_eps
    assert found.rope_theta == reference.rope_parameters["rope_theta"]
    assert reference.hidden_act == "silu"


def test_head_dim_is_never_derived_from_the_width(tmp_path):
    assert read_config(copy_model(tmp_path / "m", head_dim=...) / "config.json").head_dim == 128


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "bert"),
        ("model_type", ...),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("use_sliding_window", True),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("rope_scaling", {"type": "yarn", "factor": 4.0}),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e6}),
    ],
)
def test_another_architecture_is_refused(tmp_path, field, value):
    folder = copy_model(tmp_path / "m", **{field: value})
    with pytest.raises(ModelLoadError, match="not a dense Qwen3 embedding model"):
        read_config(folder / "config.json")


@pytest.mark.parametrize(
    "value", [..., None, 0, -1, "64", 1.5, True, float("inf"), float("nan"), 2**25, 10**400, [64]]
)
@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_an_impossible_number_is_named(tmp_path, field, value):
    folder = copy_model(tmp_path / "m", **{field: value})
    with pytest.raises(ModelLoadError, match=field):
        read_config(folder / "config.json")


@pytest.mark.parametrize("value", [True, 1, 1.5, "default", [1], [{"type": "default"}]])
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters", "layer_types"])
def test_a_setting_of_another_kind_is_refused(tmp_path, field, value):
    folder = copy_model(tmp_path / "m", **{field: value})
    with pytest.raises(ModelLoadError, match=f"not a dense Qwen3 .*{field}"):
        read_config(folder / "config.json")


def test_scaled_positions_are_refused_whichever_notation_says_so(tmp_path):
    folder = copy_model(
        tmp_path / "m", rope_scaling={"type": "default"}, rope_parameters={"rope_type": "yarn"}
    )
    with pytest.raises(ModelLoadError, match="rope_parameters is 'yarn'"):
        read_config(folder / "config.json")


@pytest.mark.parametrize("value", [-1, True, 1.5, "<|im_end|>", {}, [[3]], [3, "a"]])
def test_an_eos_that_is_no_token_id_is_refused(tmp_path, value):
    folder = copy_model(tmp_path / "m", eos_token_id=value)
    with pytest.raises(ModelLoadError, match=r"eos_token_id is .*expected a token id"):
        read_config(folder / "config.json")


def test_heads_must_share_the_key_value_heads_evenly(tmp_path):
    with pytest.raises(ModelLoadError, match="multiple"):
        read_config(copy_model(tmp_path / "m", num_key_value_heads=3) / "config.json")


def test_an_odd_head_cannot_be_turned_in_pairs(tmp_path):
    with pytest.raises(ModelLoadError, match="head_dim=33 even"):
        read_config(copy_model(tmp_path / "m", head_dim=33) / "config.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_a_file_that_is_no_json_object_is_named(tmp_path, content):
    folder = copy_model(tmp_path / "m")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        read_config(folder / "config.json")
