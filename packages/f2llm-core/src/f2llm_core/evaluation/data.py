"""What is evaluated: passages, queries, and which passage answers which query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from f2llm_core.errors import DataError, InputError
from f2llm_core.evaluation.results import languages_of
from f2llm_core.inputs import check_text


@dataclass(frozen=True, slots=True)
class Passage:
    """A document that can be found.

    Attributes:
        id: Unique in its pool.
        text: What is embedded.
        language: None if the data names none.
        pool: Queries of the same pool search it.
    """

    id: str
    text: str
    language: str | None = None
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query, searched among the passages of its pool.

    Attributes:
        id: Unique among the queries.
        text: What is embedded.
        language: None if the data names none; such as `"de+en"` for a code-switched one.
        pool: Name of the passages to search.
        group: Queries of one group say the same, and are drawn together by the bootstrap.
    """

    id: str
    text: str
    language: str | None
    pool: str
    group: str


@dataclass(frozen=True)
class Dataset:
    """A retrieval task.

    Attributes:
        name: For people.
        passages: In the order of the data.
        queries: Those that have judgements.
        judgements: Grades by query id and passage id; above zero is relevant.
    """

    name: str
    passages: tuple[Passage, ...]
    queries: tuple[Query, ...]
    judgements: Mapping[str, Mapping[str, int]]

    @cached_property
    def pools(self) -> dict[str, list[Passage]]:
        """Passages by pool, each in the order in which trec_eval breaks ties: last id first."""
        pools: dict[str, list[Passage]] = {}
        for passage in self.passages:
            pools.setdefault(passage.pool, []).append(passage)
        for pool in pools.values():
            pool.sort(key=lambda passage: passage.id.encode(), reverse=True)
        return pools

    @cached_property
    def document_languages(self) -> tuple[str | None, ...]:
        """The language of each query's relevant passages; None if it is not exactly one."""
        known = {(p.pool, p.id): p.language for p in self.passages}
        found = []
        for query in self.queries:
            grades = self.judgements[query.id]
            languages = {known[query.pool, id_] for id_, grade in grades.items() if grade > 0}
            found.append(languages.pop() if len(languages) == 1 else None)
        return tuple(found)

    def only(self, languages: Collection[str]) -> Dataset:
        """Return the part in some languages; a code-switched query needs all of its own.

        Raises:
            DataError: Nothing is in one of the languages, or no query and its answers are.
        """
        known = {p.language for p in self.passages} | {q.language for q in self.queries}
        parts = {part for language in known for part in languages_of(language)}
        if unknown := sorted(set(languages) - parts):
            have = f"it has {', '.join(sorted(parts))}" if parts else "it names no languages"
            msg = f"{self.name}: nothing is in {', '.join(unknown)}; {have}."
            raise DataError(msg)
        # All passages have a language, or none has: then those of every language are kept.
        passages = tuple(p for p in self.passages if p.language in {None, *languages})
        kept = {(p.pool, p.id) for p in passages}
        queries, judgements = [], {}
        for query in self.queries:
            grades = {
                id_: grade
                for id_, grade in self.judgements[query.id].items()
                if (query.pool, id_) in kept
            }
            asked = languages_of(query.language)
            if any(grade > 0 for grade in grades.values()) and asked and {*asked} <= {*languages}:
                queries.append(query)
                judgements[query.id] = grades
        if not queries:
            msg = (
                f"{self.name}: no query in {', '.join(sorted(set(languages)))} has an answer in "
                "these languages; name those of the answers, too."
            )
            raise DataError(msg)
        return replace(self, passages=passages, queries=tuple(queries), judgements=judgements)


class DatasetBuilder:
    """Collects what readers read, and refuses by place what does not fit together."""

    def __init__(self, name: str) -> None:
        """Begin a dataset."""
        self.name = name
        self._passages: dict[tuple[str, str], Passage] = {}
        self._queries: dict[str, Query] = {}
        self._judgements: dict[str, dict[str, int]] = {}
        self._places: dict[tuple[str, str, str], str] = {}
        self._named: dict[str, tuple[bool, str]] = {}  # whether the first of a kind has a language

    def passage(
        self, place: str, id_: str, text: str, language: str | None = None, pool: str = ""
    ) -> None:
        """Add a passage; the place, such as `"corpus.jsonl:7"`, is for messages.

        Raises:
            DataError: Its id was there before, its text or language is of no use.
        """
        self._claim(place, "passage", pool, id_)
        language = self._language(place, "passages", language)
        self._passages[pool, id_] = Passage(id_, check_line(place, text), language, pool)

    def query(
        self,
        place: str,
        id_: str,
        text: str,
        language: str | None = None,
        pool: str = "",
        group: str | None = None,
    ) -> None:
        """Add a query; errors as in `passage`, and that its text is blank."""
        self._claim(place, "query", "", id_)
        if not check_line(place, text).strip():
            msg = f"{place}: the query {id_!r} has no text; write one, or remove the line."
            raise DataError(msg)
        language = self._language(place, "queries", language)
        self._queries[id_] = Query(id_, text, language, pool, id_ if group is None else group)

    def judge(self, place: str, query_id: str, passage_id: str, grade: int = 1) -> None:
        """Say how well a passage answers a query.

        Raises:
            DataError: One of them is unknown, or the pair was judged before, and otherwise.
        """
        query = self._queries.get(query_id)
        if query is None:
            msg = f"{place}: the query {query_id!r} is not among the queries."
            raise DataError(msg)
        if (query.pool, passage_id) not in self._passages:
            msg = f"{place}: the passage {passage_id!r} is not in the corpus."
            raise DataError(msg)
        grades = self._judgements.setdefault(query_id, {})
        if grades.setdefault(passage_id, grade) != grade:
            msg = (
                f"{place}: {query_id!r} and {passage_id!r} are judged a second time, {grade} after "
                f"{grades[passage_id]}; keep one."
            )
            raise DataError(msg)

    def build(self) -> Dataset:
        """Return the dataset, without the queries that nobody judged.

        Raises:
            DataError: No query is left.
        """
        queries = tuple(q for q in self._queries.values() if q.id in self._judgements)
        if not queries:
            msg = (
                f"{self.name}: none of its {len(self._queries)} queries has a judgement, so there "
                "is nothing to measure; a line of qrels names a query, a passage and a grade."
            )
            raise DataError(msg)
        return Dataset(self.name, tuple(self._passages.values()), queries, self._judgements)

    def _claim(self, place: str, kind: str, pool: str, id_: str) -> None:
        check_id(place, id_)
        first = self._places.setdefault((kind, pool, id_), place)
        if first is not place:
            msg = f"{place}: the {kind} id {id_!r} was used before, at {first}; ids are unique."
            raise DataError(msg)

    def _language(self, place: str, kind: str, language: str | None) -> str | None:
        if language is not None and not (isinstance(language, str) and language.strip()):
            msg = f"{place}: the language is {language!r}; name it, as in 'de', or leave it out."
            raise DataError(msg)
        if language is not None:
            check_line(place, language)
        named, first = self._named.setdefault(kind, (language is not None, place))
        if named != (language is not None):
            has, lacks = (first, place) if named else (place, first)
            msg = f"{lacks}: no language, though {has} has one; all {kind} have one, or none."
            raise DataError(msg)
        return language


def count_languages(languages: Collection[str | None]) -> dict[str, int]:
    """Return how often each language occurs, sorted; `""` stands for none."""
    return dict(sorted(Counter(language or "" for language in languages).items()))


def check_id(place: str, id_: object) -> str:
    """Return an id.

    Raises:
        DataError: It is no string, or an empty one; names the place.
    """
    if not isinstance(id_, str) or not id_:
        msg = f"{place}: an id is a string, not {id_!r}."
        raise DataError(msg)
    return check_line(place, id_)


def check_line(place: str, text: object) -> str:
    """Return a text that can be embedded.

    Raises:
        DataError: It cannot; names the place.
    """
    try:
        return check_text(text)
    except InputError as error:
        msg = f"{place}: {error}"
        raise DataError(msg) from None
