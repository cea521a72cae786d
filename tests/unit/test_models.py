import pytest

from f2llm_core import DEFAULT_MODEL, MODELS
from f2llm_core.models import find_model, trained_dimensions

VOCABULARY = 151_936
HEAD, KV_HEADS = 128, 8


def test_there_are_eight_sizes_smallest_first():
    assert list(MODELS) == ["80M", "160M", "330M", "0.6B", "1.7B", "4B", "8B", "14B"]
    assert MODELS["80M"].repo_id == DEFAULT_MODEL


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_published_parameter_count_follows_from_the_shape(spec):
    attention = 2 * spec.width * spec.attention_heads * HEAD + 2 * spec.width * KV_HEADS * HEAD
    layer = attention + 2 * HEAD + 3 * spec.width * spec.intermediate_size + 2 * spec.width
    assert spec.parameters == VOCABULARY * spec.width + spec.layers * layer + spec.width


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_every_size_is_pinned_to_its_own_commit(spec):
    assert len(spec.revision) == 40
    assert int(spec.revision, 16)
    assert [s.revision for s in MODELS.values()].count(spec.revision) == 1


def test_found_by_short_name_and_hub_id_whatever_the_case():
    assert find_model("0.6B") is find_model("codefuse-ai/F2LLM-v2-0.6b") is MODELS["0.6B"]
    assert find_model("codefuse-ai/F2LLM-v2-4B-Preview") is None
    assert find_model("7B") is None


def test_trained_dimensions_are_powers_of_two_and_the_width():
    assert trained_dimensions(320) == (8, 16, 32, 64, 128, 256, 320)
    assert trained_dimensions(256) == (8, 16, 32, 64, 128, 256)
    assert MODELS["14B"].trained_dimensions[-2:] == (4096, 5120)


def test_bf16_size_is_two_bytes_a_parameter():
    assert round(MODELS["80M"].bf16_bytes / 2**20) == 153
