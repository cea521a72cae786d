"""Parallel texts as cross-lingual tasks, and queries of mixed languages."""

from __future__ import annotations

import json
from itertools import product

import pytest

from f2llm_core import DataError
from f2llm_core.evaluation import read_dataset
from f2llm_core.evaluation.code_switch import CodeSwitcher

WORDS = {
    "red": ("rotes", "赤い"),
    "old": ("altes", "古い"),
    "house": ("Haus", "家"),
    "boat": ("Boot", "船"),
    "horse": ("Pferd", "馬"),
    "Linux": ("Linux", "Linux"),
}


def rows(*, title=False):
    """Every pair of words, in three languages."""
    for place, (first, second) in enumerate(product(list(WORDS)[:2], list(WORDS)[2:])):
        for index, language in enumerate(("en", "de", "ja")):
            words = (
                [first, second] if index == 0 else [WORDS[w][index - 1] for w in (first, second)]
            )
            text = ("" if language == "ja" else " ").join(words)
            line = {"id": f"t{place}", "lang": language, "text": text}
            yield line | ({"text": f"Text: {text}", "query": text} if title else {})


@pytest.fixture
def file(tmp_path):
    def file(lines):
        path = tmp_path / "texts.jsonl"
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        return path

    return file


def test_each_language_asks_for_each_other(file):
    data = read_dataset(file(rows()))
    assert len(data.passages) == 8 * 3
    assert len(data.queries) == 8 * 3 * 2  # a text that asks for itself would find itself
    assert {(q.language, q.pool) for q in data.queries} == {
        (a, b) for a, b in product(("en", "de", "ja"), repeat=2) if a != b
    }
    assert data.document_languages == tuple(q.pool for q in data.queries)
    assert data.judgements["t0:en:ja"] == {"t0:ja": 1}
    assert {q.group for q in data.queries if q.id.startswith("t3:")} == {"t3"}


def test_queries_of_their_own_are_asked_in_their_own_language_too(file):
    data = read_dataset(file(rows(title=True)), format="parallel")
    assert len(data.queries) == 8 * 3 * 3
    [query] = [q for q in data.queries if q.id == "t0:de:de"]
    assert query.text == "rotes Haus"
    with pytest.raises(DataError, match=r":2: the id 't0' was used before.*--format parallel"):
        read_dataset(file(rows(title=True)))  # looks like pairs


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "t0", "lang": "en", "text": "x"}, "DATA:25: 't0' was in 'en' before, at DATA:1."),
        ({"id": "x", "lang": "", "text": "x"}, "DATA:25: the language is ''; parallel texts need"),
        ({"id": "x", "text": "x"}, "DATA:25: the language is None; parallel"),
        ({"id": [], "lang": "en", "text": "x"}, "DATA:25: an id is a string, not []"),
        ({"lang": "en", "text": "x"}, "DATA:25: no field 'id'"),
        ({"id": "x", "lang": "en", "text": 3}, "DATA:25: the text is a int, not a str"),
    ],
)
def test_a_broken_line_is_named(file, line, message):
    path = file([*rows(), line])
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert message in str(caught.value).replace(str(path), "DATA")


def test_code_switched_queries(file):
    path = file(rows(title=True))
    data = read_dataset(path, format="parallel", code_switch="en")
    mixed = {q.id: q for q in data.queries if "+" in q.language}
    assert {q.language for q in mixed.values()} == {"de+en", "ja+en"}
    query = mixed["t0:de+en:ja"]
    assert query.text in {"red Haus", "rotes house"}
    assert (query.pool, query.group) == ("ja", "t0")
    assert data.judgements[query.id] == {"t0:ja": 1}
    # A shared word is no translation: with one word left to swap, that one is swapped.
    assert mixed["t3:de+en:de"].text == "red Linux"
    again = read_dataset(path, format="parallel", code_switch="en")
    assert again == data
    texts = {
        tuple(
            q.text for q in read_dataset(path, format="parallel", code_switch="en", seed=s).queries
        )
        for s in range(5)
    }
    assert len(texts) > 1
    only = read_dataset(path, format="parallel", code_switch="en", languages=["de", "en"])
    assert {q.language for q in only.queries} == {"de", "en", "de+en"}


def test_scripts_without_spaces_have_words():
    switcher = CodeSwitcher(
        {
            "a": {"ja": "テキストの編集", "en": "text editing"},
            "b": {"ja": "テキストの検索", "en": "text search"},
            "c": {"ja": "画像の編集", "en": "image editing"},
        },
        seed=1,
    )
    assert switcher.mix("a", ("ja", "テキストの編集"), ("en", "text editing")) in {
        "text の編集",
        "テキストの editing",
    }


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("hi", ("पुस्तकालय कहाँ", "पुस्तकालय बंद", "दुकान कहाँ")),
        ("ar", ("مَكْتَبَةٌ هُنَا", "مَكْتَبَةٌ مُغْلَقَة", "دُكَّانٌ هُنَا")),
        ("de", ("u\u0308ber Bu\u0308cher", "drei Bu\u0308cher", "u\u0308ber Ha\u0308user")),
        ("fa", ("کتاب\u200cخانه کجاست", "کتاب\u200cخانه بسته", "مغازه کجاست")),
    ],
)
def test_words_are_swapped_whole(language, texts):
    english = ("library where", "library closed", "shop where")
    ids = "abc"
    switcher = CodeSwitcher(
        {i: {language: t, "en": e} for i, t, e in zip(ids, texts, english, strict=True)}, seed=0
    )
    first, second = texts[0].split()
    found = switcher.mix("a", (language, texts[0]), ("en", english[0]))
    assert found in {
        f"{one} {two}"
        for one, two in [
            ("library", second),
            ("where", second),
            (first, "library"),
            (first, "where"),
        ]
    }


def test_words_of_scripts_that_do_not_show_them_stay():
    thai = {"a": {"th": "ห้องสมุด อยู่ที่ไหน", "en": "library where"}}
    switcher = CodeSwitcher(thai, seed=0)
    assert switcher.mix("a", ("th", thai["a"]["th"]), ("en", "library where")) is None


def test_nothing_to_swap_in_is_said(file):
    with pytest.raises(DataError, match="nothing is in 'fr' to swap in; it has de, en, ja"):
        read_dataset(file(rows()), code_switch="fr")


@pytest.mark.parametrize(("first", "second"), [("Haus", "house"), ("Haus 1", "?"), ("?", "house")])
def test_a_query_with_nothing_to_keep_or_to_swap_is_left_out(first, second):
    switcher = CodeSwitcher({"a": {"de": first, "en": second}}, seed=0)
    assert switcher.mix("a", ("de", first), ("en", second)) is None
