"""Training pairs: tokenised parallel texts, and the batches drawn from them."""

import collections
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .data import Row, read_rows
from .tokenizer import EOS, QUERY_PROMPT

# What a pair is made of, and how often.
KINDS = ("title-text", "title-title", "paragraphs", "crop-text")
CHUNK = 20000  # strings tokenised at once
CROP = (6, 24)  # tokens of a passage that stand in for a query
ENGLISH_QUERY = 0.5  # share of queries in English where there is a choice


@dataclass(frozen=True)
class Batch:
    """Token ids of n pairs (EOS last in each), and the packages they are of."""

    queries: list[np.ndarray]  # n arrays of int32
    passages: list[np.ndarray]  # n arrays of int32
    packages: np.ndarray  # (n,) int64


class Texts:
    """All strings of the corpus as token ids in one flat array."""

    def __init__(self, strings: list[str], tokenizer: Tokenizer, cache: Path) -> None:
        """Tokenises without special tokens, or reads what was tokenised before."""
        if not cache.exists():
            parts: list[np.ndarray] = []
            for start in range(0, len(strings), CHUNK):
                made = tokenizer.encode_batch_fast(
                    strings[start : start + CHUNK], add_special_tokens=False
                )
                parts += [np.array(one.ids, np.int32) for one in made]
            np.savez(cache, flat=np.concatenate(parts), ends=np.cumsum([len(p) for p in parts]))
        with np.load(cache) as saved:
            self.flat, self.ends = saved["flat"], saved["ends"]
        if len(self.ends) != len(strings):
            msg = f"{cache} is of another corpus: delete it"
            raise ValueError(msg)

    def __getitem__(self, index: int) -> np.ndarray:
        """Token ids of one string, (tokens,) int32."""
        return self.flat[self.ends[index - 1] if index else 0 : self.ends[index]]


class _Strings:
    """Numbers strings; one of a single line is followed by itself with a space before it.

    After "Query:" a text's first word is tokenised together with the space between them, so what
    may be a query is kept both as it stands alone and as it stands there.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        """The number of a text; that of its spaced form is one more."""
        number = self.numbers.setdefault(text, len(self.numbers))
        if "\n" not in text:
            self.numbers.setdefault(" " + text, len(self.numbers))
        return number


class Pairs:
    """Draws batches in which every pair is of another group, so that no negative is a copy.

    All passages of a batch are in one language: the wrong answers are then as hard as where the
    model is used, and can't be told by their language. Languages come in proportion to the
    square root of their size.
    """

    def __init__(
        self,
        rows: list[Row],
        tokenizer: Tokenizer,
        cache: Path,
        *,
        seed: int = 0,
        max_tokens: int = 128,
        prompt_share: float = 0.85,
        meaning_share: float = 0.2,
        kinds: tuple[float, ...] = (0.55, 0.1, 0.15, 0.2),
    ) -> None:
        """Tokenises the corpus and indexes it by package, language and group."""
        self.rng = np.random.default_rng(seed)
        self.max_tokens = max_tokens
        self.prompt_share = prompt_share
        self.meaning_share = meaning_share
        self.kinds = np.array(kinds) / sum(kinds)
        # The prompt's last space belongs to the text's first token: see `_Strings`.
        prompt = tokenizer.encode(QUERY_PROMPT.rstrip(" "), add_special_tokens=False)
        self.prompt = np.array(prompt.ids, np.int32)
        self.eos = np.array([tokenizer.token_to_id(EOS)], np.int32)
        self.ids = sorted({row["id"] for row in rows if row["lang"] == "en"})
        place = {key: i for i, key in enumerate(self.ids)}
        strings = _Strings()
        self.entry: list[dict[str, tuple[int, int, list[int]]]] = [{} for _ in self.ids]
        groups: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
        for row in rows:
            if row["id"] not in place:
                continue
            package = place[row["id"]]
            paragraphs = [strings.add(part) for part in row["text"].split("\n")]
            self.entry[package][row["lang"]] = (
                strings.add(row["title"]),
                strings.add(row["text"]),
                paragraphs,
            )
            groups[row["lang"]].setdefault(row["group"], []).append(package)
        self.texts = Texts(list(strings.numbers), tokenizer, cache)
        self.groups = {lang: list(own.values()) for lang, own in groups.items()}
        self.langs = sorted(self.groups)
        sizes = np.sqrt([sum(map(len, self.groups[lang])) for lang in self.langs])
        self.lang_share = sizes / sizes.sum()

    def batch(self, size: int) -> Batch:
        """Draws up to ``size`` pairs; fewer where a language has not as many groups."""
        members: list[list[int]] = []
        lang = ""
        while len(members) < min(size, 64):  # languages of a few rows: seen as queries only
            lang = self.langs[self.rng.choice(len(self.langs), p=self.lang_share)]
            members = self.groups[lang]
        chosen = self.rng.choice(len(members), min(size, len(members)), replace=False)
        packages = [members[i][self.rng.integers(len(members[i]))] for i in chosen]
        kinds = self.rng.choice(len(KINDS), len(packages), p=self.kinds)
        made = [self._pair(p, lang, KINDS[k]) for p, k in zip(packages, kinds, strict=True)]
        queries, passages = zip(*made, strict=True)
        return Batch(list(queries), list(passages), np.array(packages))

    def _pair(self, package: int, lang: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """One query and its passage in ``lang``, each with its EOS."""
        entry = self.entry[package]
        others = [other for other in entry if other != lang]
        asked = lang
        if others and (kind != "title-text" or self.rng.random() < 0.9):
            english = "en" in others and self.rng.random() < ENGLISH_QUERY
            asked = "en" if english else others[self.rng.integers(len(others))]
        source, target = entry[asked], entry[lang]
        prompt = int(self.rng.random() < self.prompt_share)
        query, passage = self.texts[source[0] + prompt], self.texts[target[1]]
        if kind == "title-title" and asked != lang:
            passage = self.texts[target[0]]
        elif kind == "paragraphs" and asked != lang and len(source[2]) == len(target[2]):
            number = self.rng.integers(len(source[2]))
            query = self.texts[source[2][number] + prompt]
            passage = self.texts[target[2][number]]
        elif kind == "crop-text" and asked != lang:
            query = self._crop(self.texts[source[1]])
        if self.rng.random() < self.meaning_share:
            rest = query[~np.isin(query, passage)]
            query = rest if len(rest) >= 2 else query
        parts = [self.prompt] * prompt + [query[: self.max_tokens - 1], self.eos]
        return np.concatenate(parts), np.concatenate([passage[: self.max_tokens - 1], self.eos])

    def _crop(self, ids: np.ndarray) -> np.ndarray:
        """A run of tokens of a passage, as a query somebody might have typed."""
        length = int(self.rng.integers(*CROP))
        start = int(self.rng.integers(max(1, len(ids) - length)))
        return ids[start : start + length]


def load(work: Path, **options: object) -> Pairs:
    """Reads the training rows and the tokenizer of a work folder."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    rows = read_rows(work / "train.jsonl.gz")
    return Pairs(rows, tokenizer, work / "tokens.npz", **options)  # type: ignore[arg-type]
