"""The only door for user text: what is a text, what is a list of texts, and what is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from f2llm_core.errors import ConfigurationError, InputError, TruncationWarning, warn

#: What happens to a text of more than `max_length` tokens: the head is embedded and one warning
#: per call says so, the head is embedded silently, or an `InputError` before anything is computed.
OnTruncate = Literal["warn", "ignore", "error"]

_NAMED_IN_WARNING = 5


def check_text(text: object, index: int | None = None) -> str:
    """Return `text` if it can be embedded.

    Args:
        text: Anything; only a `str` without lone surrogates is accepted. The empty string is valid.
        index: Position in the call, for the message.

    Returns:
        Its characters, untouched, as a plain `str`: a subclass of it may add to a prompt otherwise
        (markupsafe's `Markup` escapes what it is added to).

    Raises:
        InputError: Not a `str`, or a lone surrogate inside; names the index and the type.
    """
    where = "the text" if index is None else f"texts[{index}]"
    if not isinstance(text, str):
        msg = f"{where} is {_describe(text)}, not a str. {_way_out(text)}"
        raise InputError(msg, index=index)
    try:
        str.encode(text, "utf-8")  # not what a subclass of str may answer
    except UnicodeEncodeError as error:
        msg = (
            f"{where} holds a lone surrogate ({text[error.start]!a} at character {error.start}), "
            "which is no valid Unicode. Repair it where the text was decoded, or replace it: "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        )
        raise InputError(msg, index=index) from None
    return str.__str__(text)


def check_texts(texts: object) -> list[str]:
    """Return the texts of any iterable as a list, each checked before anything is computed.

    Args:
        texts: List, tuple, generator, numpy array or pandas Series of `str`; read once.

    Returns:
        The same strings in the same order.

    Raises:
        InputError: Not an iterable of texts (a bare `str`, bytes, a mapping, a set, which has no
            order), or an item that cannot be embedded.
    """
    return [check_text(text, index) for index, text in enumerate(iterate_texts(texts))]


def iterate_texts(texts: object) -> Iterable[Any]:
    """Return `texts` as it is, its items unchecked; refuses what only looks like a list."""
    if isinstance(texts, str):
        msg = "Pass a list of texts, not a bare str, whose characters would be embedded: [text]."
        raise InputError(msg)
    unordered = (bytes, bytearray, memoryview, Mapping, AbstractSet)
    # A table iterates over the names of its columns, a 0-dimensional array not at all.
    table_or_scalar = hasattr(texts, "columns") or getattr(texts, "ndim", 1) != 1
    if isinstance(texts, unordered) or table_or_scalar or not isinstance(texts, Iterable):
        msg = f"Pass a list of texts, not {_describe(texts)}."
        raise InputError(msg)
    return texts


class TruncationReport:
    """Collects the texts of one call that are too long, and tells the caller once."""

    def __init__(
        self,
        max_length: int,
        policy: OnTruncate,
        name: Callable[[int], str] = "texts[{}]".format,
    ) -> None:
        """Begin with none.

        Args:
            max_length: Tokens kept of each text.
            policy: What to do with longer ones.
            name: What a text is called, given its position in the call.
        """
        self._max_length = max_length
        self._policy = policy
        self._name = name
        self._count = 0
        self._named: list[str] = []  # only the first few: a stream may be of any length

    @property
    def refuses(self) -> bool:
        """Whether `add` may raise."""
        return self._policy == "error"

    def add(self, lengths: Sequence[int], offset: int = 0) -> None:
        """Record the untruncated token counts of a block of texts.

        Args:
            lengths: Tokens of each text, prompt and EOS included; 0 if they could not be counted.
            offset: Position in the call of the block's first text.

        Raises:
            InputError: A text is too long and the policy is `"error"`.
            ConfigurationError: The policy is `"error"`, and there is no telling.
        """
        if self._policy == "error" and 0 in lengths:
            msg = (
                "on_truncate='error' needs the model's tokenizer, which is not on this machine: "
                "texts cannot be counted. Download it (`hf download`), or leave the option out."
            )
            raise ConfigurationError(msg)
        found = [(offset + i, n) for i, n in enumerate(lengths) if n > self._max_length]
        if found and self._policy == "error":
            others = [self._refusal(index, length) for index, length in found[1:]]
            more = f" ({len(others)} more are too long, too)" if others else ""
            raise self._refusal(*found[0], more, others)
        self._count += len(found)
        room = _NAMED_IN_WARNING - len(self._named)
        self._named += [f"{self._name(index)} ({length} tokens)" for index, length in found[:room]]

    def _refusal(
        self, index: int, length: int, more: str = "", others: Sequence[InputError] = ()
    ) -> InputError:
        msg = (
            f"{self._name(index)} has {length} tokens, max_length is {self._max_length}{more}. "
            "Split it, raise max_length, or pass on_truncate='warn' to embed its head."
        )
        return InputError(msg, index=index, others=others)

    def close(self) -> None:
        """Issue the call's one `TruncationWarning`, if there is anything to say."""
        if not self._count or self._policy == "ignore":
            return
        rest = self._count - len(self._named)
        named = ", ".join(self._named) + (f" and {rest} more" if rest else "")
        subject = "1 text was" if self._count == 1 else f"{self._count} texts were"
        warn(
            f"{subject} longer than max_length={self._max_length} tokens and only the head was "
            f"embedded: {named}. Split long texts, raise max_length, or choose "
            "on_truncate='error' or 'ignore'.",
            TruncationWarning,
        )


def _describe(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, float) and value != value:
        return "NaN (float)"
    return f"a {type(value).__name__}"


def _way_out(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "Drop missing values first, for example series.dropna()."
    if isinstance(value, (bytes, bytearray)):
        return "Decode it first: .decode('utf-8')."
    if isinstance(value, (tuple, list)):
        return "Texts are embedded one by one: flatten the list."
    return "Convert it to str if that is what it means."
