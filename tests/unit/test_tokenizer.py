import json
import warnings

import pytest
from texts import many_texts

from f2llm_core import ContractWarning, ModelLoadError
from f2llm_core.engine.config import read_config
from f2llm_core.engine.tokenizer import EOS_TOKEN, PAD_TOKEN, Tokenizer
from support import copy_model, edit_json


def open_tokenizer(folder):
    return Tokenizer(folder, read_config(folder / "config.json"))


def edit_tokenizer(folder, edit):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return open_tokenizer(checkpoint)


def test_ids_and_prompts_come_from_the_checkpoint(tokenizer):
    assert tokenizer._tokenizer.id_to_token(tokenizer.eos_id) == EOS_TOKEN
    assert tokenizer._tokenizer.id_to_token(tokenizer.pad_id) == PAD_TOKEN
    assert tokenizer.prompts.query.startswith("Instruct: Given a question")
    assert tokenizer.prompts.document == ""


@pytest.mark.parametrize("max_length", [1, 2, 5, 100])
def test_the_eos_is_last_and_there_is_exactly_one(tokenizer, max_length):
    for ids in tokenizer.encode(many_texts()):
        finished = tokenizer.finish(ids, max_length)
        assert finished[-1] == tokenizer.eos_id
        assert finished.count(tokenizer.eos_id) == 1
        assert len(finished) == min(len(ids) + 1, max_length)


@pytest.mark.parametrize("tokens", [9, 10, 11])
def test_the_eos_survives_around_the_limit(tokenizer, tokens):
    [ids] = tokenizer.encode(["1" * (tokens - 1)])
    finished = tokenizer.finish(ids, 10)
    assert finished == (*ids[:9], tokenizer.eos_id)


@pytest.mark.parametrize(
    "setting",
    [
        {
            "truncation": {
                "direction": "Right",
                "max_length": 4,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        },
        {
            "padding": {
                "direction": "Right",
                "strategy": "BatchLongest",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": PAD_TOKEN,
            }
        },
    ],
    ids=["truncation", "padding"],
)
def test_a_file_that_was_saved_cutting_or_padding_gives_the_same_ids(tmp_path, tokenizer, setting):
    folder = copy_model(tmp_path / "m")
    edit_tokenizer(folder, lambda t: t.update(setting))
    ours = open_tokenizer(folder)
    assert ours.eos_id == tokenizer.eos_id
    assert ours.encode(many_texts()) == tokenizer.encode(many_texts())


@pytest.mark.parametrize("place", ["{}", "{} after", "before {}", "in {} between", "{}{}"])
@pytest.mark.parametrize("special", [EOS_TOKEN, PAD_TOKEN, "<|im_start|>"])
def test_control_tokens_inside_a_text_are_plain_text(tokenizer, special, place):
    text = place.format(special, special)
    [ids] = tokenizer.encode([text])
    assert not {tokenizer.eos_id, tokenizer.pad_id} & set(ids)
    assert tokenizer._tokenizer.decode(ids, skip_special_tokens=False) == text


def test_texts_reach_the_model_byte_for_byte_up_to_nfc(tokenizer):
    for text in ("a\nb", "a\r\nb", "a\tb", "  a  ", "A", "a\x00b"):
        assert tokenizer._tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_a_checkpoint_that_lost_its_template_still_gets_its_eos(tmp_path, tokenizer):
    folder = copy_model(tmp_path / "m")
    edit_tokenizer(folder, lambda t: t.update(post_processor=None))
    assert open_tokenizer(folder).eos_id == tokenizer.eos_id


def test_contradicting_files_are_refused_rather_than_guessed(tmp_path, tokenizer):
    folder = copy_model(tmp_path / "m", eos_token_id=tokenizer.pad_id)
    with pytest.raises(ModelLoadError, match="cannot be guessed"):
        open_tokenizer(folder)


def test_no_eos_anywhere_is_refused(tmp_path):
    folder = copy_model(tmp_path / "m", eos_token_id=...)
    edit_tokenizer(folder, lambda t: t.update(post_processor=None))
    with pytest.raises(ModelLoadError, match="appends no EOS"):
        open_tokenizer(folder)


def test_a_tokenizer_that_adds_more_than_an_eos_is_refused(tmp_path):
    def add_bos(content):
        template = content["post_processor"]
        template["single"].insert(0, {"SpecialToken": {"id": EOS_TOKEN, "type_id": 0}})

    folder = copy_model(tmp_path / "m")
    edit_tokenizer(folder, add_bos)
    with pytest.raises(ModelLoadError, match="expected one EOS"):
        open_tokenizer(folder)


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path):
    folder = copy_model(tmp_path / "m", vocab_size=300)
    with pytest.raises(ModelLoadError, match="not of one model"):
        open_tokenizer(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"\xff"])
def test_a_damaged_tokenizer_is_named(tmp_path, content):
    folder = copy_model(tmp_path / "m")
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        open_tokenizer(folder)


def test_a_released_layout_warns_of_nothing(checkpoint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_tokenizer(checkpoint)


def test_departures_from_the_contract_are_used_and_said(tmp_path):
    folder = copy_model(tmp_path / "m")
    prompts = {"query": "query: ", "document": "passage: "}
    edit_json(folder / "config_sentence_transformers.json", prompts=prompts)
    with pytest.warns(ContractWarning, match=r"'query: '.*before documents") as caught:
        tokenizer = open_tokenizer(folder)
    assert len(caught) == 1
    assert (tokenizer.prompts.query, tokenizer.prompts.document) == ("query: ", "passage: ")


def test_a_model_that_ends_its_texts_otherwise_is_followed(tmp_path, tokenizer):
    def end_with_pad(content):
        content["post_processor"] = json.loads(
            json.dumps(content["post_processor"])
            .replace(EOS_TOKEN, PAD_TOKEN)
            .replace(str(tokenizer.eos_id), str(tokenizer.pad_id))
        )

    folder = copy_model(tmp_path / "m", eos_token_id=tokenizer.pad_id)
    edit_tokenizer(folder, end_with_pad)
    with pytest.warns(ContractWarning, match=r"ends texts with '<\|endoftext\|>'"):
        assert open_tokenizer(folder).eos_id == tokenizer.pad_id


def test_without_the_optional_files_there_are_no_prompts(tmp_path):
    folder = copy_model(tmp_path / "m")
    (folder / "config_sentence_transformers.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    tokenizer = open_tokenizer(folder)
    assert (tokenizer.prompts.query, tokenizer.pad_id) == ("", None)


def test_a_pad_token_that_is_an_object_is_read(tmp_path, tokenizer):
    folder = copy_model(tmp_path / "m")
    edit_json(folder / "tokenizer_config.json", pad_token={"content": PAD_TOKEN, "special": True})
    assert open_tokenizer(folder).pad_id == tokenizer.pad_id


@pytest.mark.parametrize("pad", [3, ["a"], {"content": 3}, ""])
def test_a_pad_token_that_is_no_text_is_none(tmp_path, pad):
    folder = copy_model(tmp_path / "m")
    edit_json(folder / "tokenizer_config.json", pad_token=pad)
    assert open_tokenizer(folder).pad_id is None


@pytest.mark.parametrize("prompts", [{"query": 3}, {"query": None}, ["query"], "query", 3])
def test_prompts_that_are_no_strings_are_refused(tmp_path, prompts):
    folder = copy_model(tmp_path / "m")
    edit_json(folder / "config_sentence_transformers.json", prompts=prompts)
    with pytest.raises(ModelLoadError, match="prompts must be strings"):
        open_tokenizer(folder)
