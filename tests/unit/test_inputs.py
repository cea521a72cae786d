import decimal
import pathlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2llm_core import InputError, TruncationWarning
from f2llm_core.inputs import TruncationReport, check_text, check_texts

WRONG = [
    None,
    0,
    1.5,
    float("nan"),
    True,
    b"bytes",
    bytearray(b"bytes"),
    ("a", "b"),
    ["a"],
    {"text": "a"},
    {"a"},
    object(),
    str,
    decimal.Decimal(1),
    pathlib.Path("a"),
    np.float32("nan"),
    np.array("a"),
    Ellipsis,
    lambda: "a",
    iter("a"),
]


@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_text_is_named_with_index_and_type(wrong, position):
    texts = ["a", "b", "c", "d"]
    texts.insert(position, wrong)
    with pytest.raises(InputError, match=rf"texts\[{position}\] is .*not a str") as caught:
        check_texts(texts)
    assert caught.value.index == position
    assert isinstance(caught.value, ValueError)


def test_the_message_says_what_it_is_and_what_to_do():
    with pytest.raises(InputError, match=r"is None, .*dropna"):
        check_texts([None])
    with pytest.raises(InputError, match=r"is NaN \(float\), .*dropna"):
        check_texts([float("nan")])
    with pytest.raises(InputError, match=r"is a bytes, .*decode"):
        check_texts([b"x"])
    with pytest.raises(InputError, match=r"is a tuple, .*flatten"):
        check_texts([("a", "b")])


class Table:
    """As in pandas."""

    columns = ("a", "b")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    "container",
    [
        "text",
        b"text",
        bytearray(),
        memoryview(b""),
        {"a": "b"},
        {"a"},
        frozenset("a"),
        3,
        None,
        object(),
        np.array("text"),
        np.array([["a"], ["b"]]),
        Table(),
    ],
)
def test_what_is_no_list_is_refused(container):
    with pytest.raises(InputError, match="Pass a list of texts"):
        check_texts(container)


def generate():
    yield "a"
    yield "b"


@pytest.mark.parametrize(
    "container",
    [
        ["a", "b"],
        ("a", "b"),
        generate(),
        iter(["a", "b"]),
        np.array(["a", "b"]),
        {1: "a", 2: "b"}.values(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_any_ordered_iterable_of_texts_is_read_once(container):
    assert check_texts(container) == ["a", "b"]


def test_nothing_is_a_list_of_no_texts():
    assert check_texts([]) == []
    assert check_texts(iter(())) == []


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@pytest.mark.parametrize("place", ["{}bc", "a{}c", "ab{}"])
def test_a_lone_surrogate_is_named_with_its_place(code, place):
    text = place.format(chr(code))
    with pytest.raises(InputError, match=r"texts\[1\] holds a lone surrogate") as caught:
        check_texts(["fine", text])
    assert caught.value.index == 1
    assert f"character {text.index(chr(code))}" in str(caught.value)


def test_the_advice_on_surrogates_works():
    broken = "a\ud83e\uddea\ud800"
    repaired = broken.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert repaired == "a🧪\ufffd"
    check_text(repaired)


@given(st.text())
@settings(max_examples=500)
def test_every_valid_text_passes_untouched(text):
    assert check_text(text) is text


class Escaping(str):
    """As markupsafe's `Markup`, which templates render to."""

    __slots__ = ()

    def __radd__(self, other):
        return other.replace("'", "&#39;") + str(self)


def test_a_subclass_of_str_cannot_change_what_it_is_added_to():
    for texts in ([Escaping("a")], [np.str_("a")]):
        [text] = check_texts(texts)
        assert type(text) is str
        assert text == "a"


class TestTruncationReport:
    def test_says_how_many_and_which_once(self):
        report = TruncationReport(10, "warn")
        report.add([3, 11, 10], offset=0)
        report.add([12] * 7, offset=3)
        with pytest.warns(TruncationWarning) as caught:
            report.close()
        assert len(caught) == 1
        message = str(caught[0].message)
        assert message.startswith("8 texts were longer than max_length=10 tokens")
        assert "texts[1] (11 tokens), texts[3] (12 tokens)" in message
        assert "and 3 more" in message

    def test_is_silent_when_all_fit_or_asked_to_ignore(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for policy, lengths in (("warn", [10, 1]), ("ignore", [11])):
                report = TruncationReport(10, policy)
                report.add(lengths)
                report.close()

    def test_stops_the_call_if_asked_to(self):
        report = TruncationReport(10, "error")
        with pytest.raises(InputError, match=r"texts\[7\] has 11 tokens.*1 more") as caught:
            report.add([1, 1, 11, 12], offset=5)
        assert caught.value.index == 7
