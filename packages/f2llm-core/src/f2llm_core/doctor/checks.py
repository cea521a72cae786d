"""What `doctor` tries. What is right is made here once more, from tokens and in numpy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from f2llm_core.doctor import Check
from f2llm_core.doctor.published import compare_published
from f2llm_core.encoder import F2LLM
from f2llm_core.engine.checksum import _checksum, verify
from f2llm_core.engine.contract import read_prompts
from f2llm_core.engine.hub import weight_files
from f2llm_core.engine.tokenizer import EOS_TOKEN
from f2llm_core.fingerprint import precision
from f2llm_core.info import _local
from f2llm_core.instructions import Prompts, choose_prompts
from f2llm_core.matryoshka import Vectors
from f2llm_core.models import trained_dimensions

_SHORT = (
    "What does the telescope see?",
    "고래는 노래로 서로를 찾는다.",
    "def add(a, b):\n    return a + b\n",
    "",
    f"A text may hold {EOS_TOKEN} and means no end by it.",
)
_LONG = "The river floods every spring, and the farmers wait for it. " * 6
_TEXTS = (*_SHORT, _LONG)
_KEPT = 24  # tokens kept of the long text, to see it cut

# 1 - cosine. Two ways to make one vector differ by rounding only; precisions differ by more.
_SAME = {"float32": 1e-5, "bfloat16": 1e-3, "int8": 1e-3}
_DRIFT = {"bfloat16": 0.005, "int8": 0.03}  # a few times what benchmarks/precision.md found
_UNIT = 1e-4  # by which a length may be off 1
_STATE = 2e-3  # by which the length of one token's state may be off that of the final gain
_OTHER = 1e-4  # 1 - cosine from which on a change of tokens has made itself felt

_ENGINE = (
    "Run f2llm info for what computes here; try device='cpu' and dtype='float32', and report it."
)


class Patient:
    """A model under examination, past its cache, which would answer for it.

    Attributes:
        encoder: With its own options, but that long texts are cut without a word.
        backend: What runs it.
        checkpoint: Its files.
        own: Whether its prompts were chosen by the caller.
    """

    def __init__(self, encoder: F2LLM) -> None:
        """Take a model; loads nothing.

        Raises:
            ConfigurationError: It does not run in this process.
        """
        self.backend: Any = _local(encoder)
        self.checkpoint = self.backend.checkpoint
        self.encoder = encoder.with_options(on_truncate="ignore")
        self.encoder._backend = self.backend
        chosen = ("task", "instruction", "document_instruction")
        self.own = any(encoder.config[option] is not None for option in chosen)

    @property
    def dtype(self) -> str:
        """Of the weights: `"float32"`, `"bfloat16"` or `"int8"`."""
        device = self.backend._engine.device
        return precision(self.encoder.config["dtype"], device).partition("/")[0]

    @property
    def same(self) -> float:
        """1 - cosine that rounding alone can make."""
        return _SAME[self.dtype]

    def ids(self, texts: Sequence[str], limit: int | None = None) -> list[tuple[int, ...]]:
        """Return the tokens of whole prompts, up to a limit, without EOS."""
        return [tuple(ids[:limit]) for ids in self.checkpoint.tokenizer.encode(list(texts))]

    def far(self, vectors: Vectors, sequences: Sequence[tuple[int, ...]]) -> float:
        """Return 1 - cosine of the farthest of vectors and what the tokens make; inf for none."""
        if not all(sequences):
            return np.inf
        return _far(vectors, self.states(sequences))

    def states(self, sequences: Sequence[tuple[int, ...]]) -> Vectors:
        """Return the rows of whole sequences, `(n, width)`, as the model leaves them."""
        rows: Vectors = self.backend.embed_ids(sequences)
        return rows


def check_files(patient: Patient, name: str) -> Check:
    """Compare files with the checksums that the hub's cache names them by."""
    folder = patient.checkpoint.folder
    known = [path for path in sorted(folder.rglob("*")) if _checksum(path)]
    for path in known:
        verify(path)
    if not known:
        return Check(name, "skipped", f"{folder} is a plain folder, which has no checksums")
    return Check(name, "passed", f"all {len(known)} are what was downloaded")


def check_eos(patient: Patient, name: str) -> Check:
    """See that a text is embedded as its tokens and then one EOS, whatever it holds."""
    tokenizer = patient.checkpoint.tokenizer
    eos, token = tokenizer.eos_id, tokenizer._tokenizer.id_to_token(tokenizer.eos_id)
    prompt = patient.encoder.prompts.document
    limit = min(patient.encoder.max_length, _KEPT + len(patient.ids([prompt])[0]))
    ids = patient.ids([prompt + text for text in _TEXTS], limit - 1)
    if any(eos in one for one in ids):
        said = f"a text that holds {token!r} is read as if it ended there"
        return Check(
            name, "failed", said, "Install the tokenizers version that f2llm-core asks for."
        )
    made = patient.encoder.with_options(max_length=limit).encode_document(_TEXTS)
    far = patient.far(made, [(*one, eos) for one in ids])
    if far <= patient.same:
        note = "" if token == EOS_TOKEN else f", where F2LLM-v2 has {EOS_TOKEN!r}"
        return Check(name, "passed", f"{token!r} is last, once, also where a text is cut{note}")
    some = [place for place, one in enumerate(ids) if 0 < len(one) < limit - 1]
    for how, end in (("without EOS", ()), ("with two EOS", (eos, eos))):
        if patient.far(made[some], [ids[place] + end for place in some]) <= patient.same:
            return Check(name, "failed", f"texts are embedded {how}", _ENGINE)
    said = f"vectors are not those of the text and one EOS (cosine {1 - far:.5f})"
    return Check(name, "failed", said, _ENGINE)


def check_pooling(patient: Patient, name: str) -> Check:
    """See that a vector is the state of one token, and of the last one."""
    eos = patient.checkpoint.tokenizer.eos_id
    [one] = patient.ids([_LONG], _KEPT)
    rows = patient.states([(*one, eos), (*one, one[0])])
    if _far(rows[:1], rows[1:]) < _OTHER:
        return Check(name, "failed", "the last token makes no difference to the vector", _ENGINE)
    norm = getattr(patient.backend._engine, "_final_norm", None)  # another library's is unknown
    gain = np.zeros(1) if norm is None else norm.cpu().numpy()
    # A state is a unit vector times the gain of the last norm; a mean of states is shorter. What a
    # gain of zero hides cannot be counted.
    length = float(np.linalg.norm(rows[0] / gain)) if gain.all() else 1.0
    if not abs(length - 1) <= _STATE:
        said = f"vectors are not one token's state but several together (length {length:.3f})"
        return Check(name, "failed", said, _ENGINE)
    return Check(name, "passed", "a vector is the last token's state")


def check_prompts(patient: Patient, name: str) -> Check:
    """See that queries are embedded with the checkpoint's prompt."""
    declared = read_prompts(patient.checkpoint.folder)
    right = choose_prompts(declared, task=None, instruction=None, document_instruction=None)
    used: Prompts = patient.encoder.prompts
    if used != right and not patient.own:
        said = f"{used.query!r} and {used.document!r}; the checkpoint has {declared}"
        return Check(name, "failed", said, "Download config_sentence_transformers.json again.")
    end = (patient.checkpoint.tokenizer.eos_id,)
    made = patient.encoder.encode_query(list(_SHORT))
    whole = patient.ids([used.query + text for text in _SHORT], patient.encoder.max_length - 1)
    far = patient.far(made, [ids + end for ids in whole])
    if far > patient.same:
        bare = patient.far(made, [ids + end for ids in patient.ids(_SHORT)]) <= patient.same
        how = "without the prompt" if bare else f"otherwise (cosine {1 - far:.5f})"
        return Check(name, "failed", f"queries are embedded {how}", _ENGINE)
    whose = "your own" if patient.own else "the checkpoint's"
    return Check(name, "passed", f"queries have {whose}: {used.query!r}")


def check_norm(patient: Patient, name: str) -> Check:
    """See that vectors have unit length."""
    sides = (patient.encoder.encode_query(_TEXTS), patient.encoder.encode_document(_TEXTS))
    norms = np.linalg.norm(np.concatenate(sides), axis=1)
    off = float(np.abs(norms - 1).max())
    if not off <= _UNIT:
        said = f"lengths are {norms.min():.4f} to {norms.max():.4f}"
        return Check(name, "failed", said, _ENGINE)
    return Check(name, "passed", f"lengths are 1 within {max(off, 1e-7):.0e}")


def check_batches(patient: Patient, name: str) -> Check:
    """See that a vector does not depend on what else is in its batch, or where."""
    embed = patient.encoder.encode_document
    alone = np.concatenate([embed([text]) for text in _TEXTS])
    twice = [*range(len(_TEXTS)), *reversed(range(len(_TEXTS)))]
    mixed = embed([_TEXTS[place] for place in twice])
    far = _far(mixed, alone[twice])
    if far > patient.same:
        said = f"the same text alone and in a batch: cosine {1 - far:.5f}"
        return Check(name, "failed", said, _ENGINE)
    return Check(name, "passed", f"alone as in a batch, in any order (cosine {1 - far:.7f})")


def check_neighbours(patient: Patient, name: str) -> Check:
    """See that nothing of longer texts, or of padding up to them, gets into a vector."""
    embed = patient.encoder.encode_document
    alone = np.concatenate([embed([text]) for text in _SHORT])
    beside = np.concatenate([embed([_LONG, text, _LONG + text])[1:2] for text in _SHORT])
    far = _far(beside, alone)
    if far > patient.same:
        said = f"the same text alone and between longer ones: cosine {1 - far:.5f}"
        return Check(name, "failed", said, _ENGINE)
    return Check(name, "passed", f"longer texts beside it leave a vector as it is ({1 - far:.7f})")


def check_widths(patient: Patient, name: str) -> Check:
    """See that a narrow vector is the start of the wide one, made unit length again."""
    encoder = patient.encoder
    trained = trained_dimensions(encoder.width)
    whole = encoder.with_options(dimensions=None).encode_document(_TEXTS)
    asked = sorted({trained[0], trained[len(trained) // 2], encoder.dimensions, encoder.width})
    for width in asked:
        made = encoder.with_options(dimensions=width).encode_document(_TEXTS)
        right = whole[:, :width] / np.linalg.norm(whole[:, :width], axis=1, keepdims=True)
        if made.shape != right.shape:
            said = f"asked for {width} dimensions, vectors have {made.shape[1]}"
            return Check(name, "failed", said, _ENGINE)
        if np.abs(made - right).max() > _UNIT + 2 * patient.same**0.5:
            length = float(np.linalg.norm(made, axis=1).min())
            said = f"at {width} dimensions they are not the first ones, renormalised ({length:.3f})"
            return Check(name, "failed", said, _ENGINE)
    said = f"{', '.join(map(str, asked))}: the first dimensions of {encoder.width}, unit length"
    return Check(name, "passed", said)


def check_drift(patient: Patient, name: str) -> Check:
    """Compare with the same weights in float32, on the CPU."""
    dtype = patient.dtype
    if dtype not in _DRIFT:
        return Check(name, "skipped", "it computes in float32")
    folder = patient.checkpoint.folder
    need = 2 * sum((folder / file).stat().st_size for file in weight_files(folder))
    if need > (free := _free_memory()):
        said = f"float32 would take {need / 2**30:.1f} GiB of the {free / 2**30:.1f} that are free"
        return Check(name, "skipped", said)
    options = {"model": str(folder), "revision": None, "backend": "local", "cache": None}
    changed = {**options, "dtype": "float32", "device": "cpu", "max_batch_tokens": None}
    with F2LLM(**{**patient.encoder.config, **changed}) as reference:
        far = _far(patient.encoder.encode_document(_TEXTS), reference.encode_document(_TEXTS))
    if far > _DRIFT[dtype]:
        said = f"{dtype} is at cosine {1 - far:.4f} from float32"
        return Check(name, "failed", said, "Use dtype='float32', and report it.")
    return Check(name, "passed", f"{dtype} is at cosine {1 - far:.5f} from float32 or nearer")


def check_published(patient: Patient, name: str) -> Check:
    """Compare with the cosines of the model card."""
    return compare_published(patient.encoder, patient.checkpoint.source, patient.dtype, name)


#: What is tried on a loaded model, by what it is called.
CHECKS: Mapping[str, Callable[[Patient, str], Check]] = MappingProxyType(
    {
        "EOS": check_eos,
        "pooling": check_pooling,
        "prompt": check_prompts,
        "unit length": check_norm,
        "batches": check_batches,
        "neighbours": check_neighbours,
        "widths": check_widths,
        "precision": check_drift,
        "model card": check_published,
    }
)


def _far(vectors: Vectors, right: Vectors) -> float:
    """Return 1 - cosine of the farthest rows; `right` is cut to the width of the others."""
    cut = right[:, : vectors.shape[1]]
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(cut, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (vectors.astype(np.float64) * cut).sum(axis=1) / lengths
    return float(np.nan_to_num(1 - cosines, nan=2.0).max())


def _free_memory() -> float:
    """Return the bytes of memory that are free; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return np.inf
