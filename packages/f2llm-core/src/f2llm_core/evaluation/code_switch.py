"""Code-switched queries: some words of a query in a second language, from parallel texts."""

from __future__ import annotations

import math
import random
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from itertools import product

#: Share of the words with a known counterpart that are swapped.
SHARE = 0.5
#: Dice coefficient over texts from which two words are taken for translations of each other.
LEAST_DICE = 0.3

# Japanese and Chinese are split where the script changes, as in テキスト|形式|の. Runs of
# ideographs longer than a compound are no words, nor is any run of Thai, Lao, Burmese or Khmer.
_WITHOUT_SPACES = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff"


@cache
def _word() -> re.Pattern[str]:
    # Vowel signs and accents of their own are no letters to `re`: without them a word of Hindi,
    # and one in decomposed form, would fall to pieces. Nor are the joiners, as in Persian.
    marks = "".join(
        re.escape(chr(c))
        for c in range(sys.maxunicode + 1)
        if unicodedata.category(chr(c)) in {"Mn", "Mc"}
    )
    letter = rf"[^\W\d_{_WITHOUT_SPACES}]"
    return re.compile(
        r"[\u3040-\u309f]+"  # hiragana
        r"|[\u30a0-\u30ff]+"  # katakana
        r"|(?<![\u4e00-\u9fff])[\u4e00-\u9fff]{1,4}(?![\u4e00-\u9fff])"  # ideographs
        rf"|(?:{letter}[{marks}\u200c\u200d]*){{2,}}"  # letters of scripts with spaces
    )


class CodeSwitcher:
    """Swaps words between parallel queries.

    Two words are linked if they occur in the texts of the same ids (Dice's coefficient), each with
    one partner only, the strongest links first.
    """

    def __init__(self, texts: Mapping[str, Mapping[str, str]], *, seed: int) -> None:
        """Learn where words occur.

        Args:
            texts: By id and language.
            seed: Chooses the words.
        """
        self._seed = seed
        self._ids: dict[tuple[str, str], set[str]] = defaultdict(set)  # by language and word
        for id_, by_language in texts.items():
            for language, text in by_language.items():
                for word in {match.group().casefold() for match in _word().finditer(text)}:
                    self._ids[language, word].add(id_)

    def mix(self, id_: str, first: tuple[str, str], second: tuple[str, str]) -> str | None:
        """Return a query with some words in a second language.

        Args:
            id_: Of the parallel text.
            first: The query's language and text; its order of words is kept.
            second: The same for the language of the words swapped in.

        Returns:
            The mixed query; None if no word could be swapped, or all would have to be.
        """
        words, others = (list(_word().finditer(text)) for _, text in (first, second))
        links = self._links(first[0], _fold(words), second[0], _fold(others))
        chooser = random.Random(f"{self._seed}:{id_}:{first[0]}:{second[0]}")  # noqa: S311
        count = min(math.ceil(len(links) * SHARE), len(words) - 1)
        chosen = chooser.sample(sorted(links.items()), max(0, count))
        mixed = first[1]
        for here, there in sorted(chosen, reverse=True):  # from the end: places stay as they are
            before, after = mixed[: words[here].start()], mixed[words[here].end() :]
            mixed = _spaced(_spaced(before, others[there].group()), after)
        return mixed if chosen else None

    def _links(
        self, language: str, words: tuple[str, ...], second: str, others: tuple[str, ...]
    ) -> dict[int, int]:
        """Return places of words and of their counterparts, without words that both share."""
        found = []
        for here, there in product(range(len(words)), range(len(others))):
            if words[here] in others or others[there] in words:
                continue
            ours, theirs = self._ids[language, words[here]], self._ids[second, others[there]]
            dice = 2 * len(ours & theirs) / (len(ours) + len(theirs))
            if dice >= LEAST_DICE:
                apart = abs(here / len(words) - there / len(others))
                found.append((-dice, apart, here, there))
        links: dict[int, int] = {}
        for _, _, here, there in sorted(found):
            if here not in links and there not in links.values():
                links[here] = there
        return links


def _fold(words: list[re.Match[str]]) -> tuple[str, ...]:
    return tuple(match.group().casefold() for match in words)


def _spaced(before: str, after: str) -> str:
    """Join two pieces, words of which would otherwise run together."""
    touching = before[-1:].isalnum() and after[:1].isalnum()
    return f"{before} {after}" if touching else before + after
