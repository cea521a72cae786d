"""How a collection was made, found out from what it holds: a sample is embedded again and compared.

Works on collections that somebody else built, with no stamp and no memory of how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from f2llm_core.audit_variants import Kind, Variant, Workshop, differences, embedded_text
from f2llm_core.encoder import F2LLM
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import check_positive
from f2llm_core.stores import VectorStore, open_store
from f2llm_core.stores.base import Records, searchable
from f2llm_core.stores.base import sample as draw
from f2llm_core.stores.guarding import encoder_of

_SAME = 1e-3  # 1 - cosine below which nobody asks further: bfloat16 is nearer than that
_NEAR = 0.02  # and beyond which no rounding is to blame: 8 bits are nearer than that
_CLEARER = 4  # times nearer must a variant be than the right way, to be the cause
_UNIT = 0.01  # by which the length of a unit vector may be off
_TRIED = 8  # documents on which variants are tried at once
_FAILURES = 2  # times that none fits before the search ends
_FEW = 8  # rows that tell little of which texts are alike to the model that made them
_KIN = 0.3  # correlation of that beyond which it was a relative of this model

_AGAIN = "Index the documents again"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong with some rows.

    Attributes:
        kind: What, in a word or two.
        rows: How many of the sample.
        message: What, and what to do, in a sentence or two.
    """

    kind: Kind
    rows: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found.

    Attributes:
        store: Which collection.
        checked: Rows that were looked at; 0 if there was nothing to compare.
        cosine: Of the least similar row with its text embedded again the right way, at the stored
            width; NaN if nothing could be compared.
        causes: What is wrong; empty if nothing is.
    """

    store: str
    checked: int
    cosine: float
    causes: tuple[Cause, ...]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.causes

    def __str__(self) -> str:
        said = [f"{self.store}:"]
        if not np.isnan(self.cosine):
            said.append(f"{self.checked} rows embedded again, least cosine {self.cosine:.4f}.")
        said += [cause.message for cause in self.causes] or ["They are this model's."]
        return " ".join(said)


def audit(store: object, model: object, sample: int = 50, seed: int = 0) -> Report:
    """Embed some of a collection's documents again and tell how its vectors were made.

    Args:
        store: What `open_store` takes.
        model: An `F2LLM`, or the adapter of a framework around one, as the collection is to be
            used with; a model that runs in this process.
        sample: Rows to look at; all of them if there are no more.
        seed: Of their choice.

    Returns:
        What was found; nothing is written.

    Raises:
        StoreError: The store failed.
        ConfigurationError: `store` or `model` is of no known kind, or `sample` no positive integer.
        ModelError: The model cannot be loaded.
    """
    sample = check_positive("sample", sample)
    opened, encoder = open_store(store), encoder_of(model)
    records = draw(opened, sample, seed)
    kept = [i for i, document in enumerate(records.documents) if document is not None]
    if not kept:
        said = "It holds no texts to embed again."
        if not records.ids:
            count = opened.count()
            said = f"None of its {count:,} rows has a vector." if count else "It holds no rows."
        return Report(opened.name, 0, float("nan"), (Cause("nothing to compare", 0, said),))
    width = records.vectors.shape[1]
    if width > encoder.width:
        said = (
            f"The vectors have {width} dimensions, more than {encoder.model} makes "
            f"({encoder.width}): they are of another model. Use that one, or index again."
        )
        return Report(opened.name, 0, float("nan"), (Cause("other width", len(kept), said),))
    return _compare(opened, encoder, records, kept)


def _compare(store: VectorStore, encoder: F2LLM, records: Records, kept: list[int]) -> Report:
    """Report on the records that are kept, those with a text; of a width that this model makes."""
    found = searchable(records.vectors)
    lost, sound = [i for i in kept if not found[i]], [i for i in kept if found[i]]
    report = Report(store.name, 0, float("nan"), ())
    if sound:
        texts = [embedded_text(records.documents[i] or "", records.metadatas[i]) for i in sound]
        ids = [records.ids[i] for i in sound]
        report = _Audit(store, encoder, ids, texts, records.vectors[sound]).report()
    if not lost:
        return report
    said = (
        f"{len(lost)} of {len(kept)} vectors are NaN, infinite or zero, which no search finds: "
        f"what made them failed. Index them again; the first is of id {records.ids[lost[0]]!r}."
    )
    cause = Cause("not searchable", len(lost), said)
    return replace(report, checked=len(kept), causes=(cause, *report.causes))


class _Audit:
    """One sample under examination; n rows of the stored width w."""

    def __init__(
        self,
        store: VectorStore,
        encoder: F2LLM,
        ids: list[str],
        documents: list[str],
        stored: Vectors,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._ids = ids
        self._documents = documents
        self._stored = stored
        self._width = stored.shape[1]
        self._workshop = Workshop(encoder)
        self._made = self._workshop.rows(self._documents, self._workshop.right)  # (n, full width)
        self._errors = self._errors_of(self._made, list(range(len(self._ids))))  # (n,) 1 - cosine
        self._variants: dict[int, Variant] = {}  # what explains a row better than the right way

    def report(self) -> Report:
        self._explain()
        far = np.flatnonzero(self._errors > _NEAR).tolist()
        wrong = [i for i in far if i not in self._variants]
        causes = [*self._size(), *self._ways(), *self._unexplained(wrong)]
        cosine = float(1 - self._errors.max())
        return Report(self._store.name, len(self._ids), cosine, tuple(causes))

    def _errors_of(self, made: Vectors, rows: list[int]) -> Vectors:
        """Return 1 - cosine of rows, made otherwise, with what is stored; 2 where there is none."""
        products = _unit(made[:, : self._width]) * _unit(self._stored[rows])
        errors: Vectors = np.nan_to_num(1 - products.sum(axis=1), nan=2.0)
        return errors

    def _explain(self) -> None:
        """Find out, cause by cause, what the rows that do not fit were made like."""
        lengths = [len(ids) for ids in self._workshop.ids(self._documents, self._workshop.right)]
        unlike = np.flatnonzero(self._errors > _SAME).tolist()
        left: list[int] = sorted(unlike, key=lengths.__getitem__)
        failures = 0
        while left and failures < _FAILURES:
            tried = left[:_TRIED]  # the shortest, which are the cheapest
            best = self._best(tried)
            if best is None:
                failures += 1
                left = left[_TRIED:]
                continue
            if best.pooling == "mean":  # too costly to be made of all
                self._variants.update(dict.fromkeys(left, best))
                return
            made = self._workshop.rows([self._documents[i] for i in left], best)
            errors = self._errors_of(made, left)
            for row, error, one in zip(left, errors, made, strict=True):
                if self._is_explained(row, error):
                    self._variants[row] = best
                    self._made[row] = one
            rest = [row for row in left if row not in self._variants]
            failures += len(rest) == len(left)
            left = rest

    def _best(self, rows: list[int]) -> Variant | None:
        """Return the variant that explains most of the rows, if one explains any."""
        documents = [self._documents[i] for i in rows]
        for group in self._workshop.suspects(documents):
            scores: list[tuple[int, float, Variant]] = []
            for variant in group:
                errors = self._errors_of(self._workshop.rows(documents, variant), rows)
                found = [e for i, e in zip(rows, errors, strict=True) if self._is_explained(i, e)]
                if found:
                    scores.append((len(found), -float(np.mean(found)), variant))
            if scores:
                return max(scores, key=lambda score: score[:2])[2]
        return None

    def _is_explained(self, row: int, error: float) -> bool:
        return bool(error <= min(_NEAR, self._errors[row] / _CLEARER))

    def _size(self) -> list[Cause]:
        """Say what is wrong with width and length of the vectors."""
        causes = []
        if self._width != self._encoder.dimensions:
            said = (
                f"The vectors have {self._width} dimensions, this encoder makes "
                f"{self._encoder.dimensions}. Pass dimensions={self._width}, or index again."
            )
            causes.append(Cause("other width", len(self._ids), said))
        norms = np.linalg.norm(self._stored, axis=1)
        odd = np.abs(norms - 1) > _UNIT
        if odd.any():
            cut = np.linalg.norm(_unit(self._made)[:, : self._width], axis=1)
            is_cut = self._width < self._made.shape[1] and np.median(np.abs(norms - cut)) < _UNIT
            kind: Kind = "cut without renormalising" if is_cut else "not normalised"
            how = f"were cut to {self._width} dimensions and" if is_cut else "were"
            said = (
                f"{odd.sum()} vectors {how} not normalised: their lengths are {norms.min():.2f} to "
                f"{norms.max():.2f}. f2llm_core.truncate mends stored vectors without the model."
            )
            causes.append(Cause(kind, int(odd.sum()), said))
        return causes

    def _ways(self) -> list[Cause]:
        """Say how the explained rows differ from the right way, each difference once."""
        counts: dict[tuple[Kind, str], int] = {}
        query = self._encoder.prompts.query
        for variant in self._variants.values():
            for difference in differences(variant, self._workshop.right, query):
                counts[difference] = counts.get(difference, 0) + 1
        total = len(self._ids)
        return [
            Cause(kind, rows, f"{rows} of {total} vectors {said}. {_AGAIN}.")
            for (kind, said), rows in counts.items()
        ]

    def _unexplained(self, wrong: list[int]) -> list[Cause]:
        """Say what may be with rows that no way of making them explains."""
        if not wrong:
            return []
        total = len(self._ids)
        if moved := self._moved(wrong[:_TRIED]):
            said = (
                f"{len(wrong)} of {total} vectors are not those of their texts; {moved} of "
                f"{len(wrong[:_TRIED])} looked for stand at another id: ids and vectors were mixed "
                f"up. {_AGAIN}."
            )
            return [Cause("mixed up", len(wrong), said)]
        if len(wrong) <= total / 2:
            said = (
                f"{len(wrong)} of {total} vectors do not fit their texts, while the others do: "
                "those texts were changed after they were embedded. Index them again; the first "
                f"is of id {self._ids[wrong[0]]!r}."
            )
            return [Cause("text changed", len(wrong), said)]
        who = _kinship(self._stored[wrong], self._made[wrong, : self._width])
        said = f"{len(wrong)} of {total} vectors are of {who}. Use that one, or index again."
        return [Cause("other model", len(wrong), said)]

    def _moved(self, rows: list[int]) -> int:
        """Count the rows whose right vector stands at another id, if it stands anywhere."""
        moved = 0
        for row in rows:
            found = self._store.search(_unit(self._made[row : row + 1, : self._width])[0], 1)
            moved += any(m.id != self._ids[row] and 1 - m.similarity <= _NEAR for m in found)
        return moved if moved > len(rows) / 2 else 0


def _unit(rows: Vectors) -> Vectors:
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _kinship(theirs: Vectors, ours: Vectors) -> str:
    """Say what model made vectors, by whether the same texts are alike to both."""
    if len(theirs) < _FEW:
        return "another model, or of other texts; they are too few to tell"
    above = np.triu_indices(len(theirs), 1)
    one, other = ((_unit(rows) @ _unit(rows).T)[above] for rows in (theirs, ours))
    if np.nan_to_num(np.corrcoef(one, other)[0, 1]) > _KIN:
        return "another model, or another revision of this one"
    return "a model that has nothing in common with this one, or random"
