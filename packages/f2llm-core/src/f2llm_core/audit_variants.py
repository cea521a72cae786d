"""Ways in which a document's vector is commonly made, right and wrong, made again for an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError
from f2llm_core.instructions import TASKS, format_prompt
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores.base import Metadata

_LIMITS = (64, 128, 256, 384, 512, 1024, 2048, 4096)  # tokens; where others cut by default
_MEANS = 2  # documents on which costly means are tried
_MEAN_TOKENS = 128  # and the tokens of each that are looked at, at most


#: What can be wrong with a collection.
Kind = Literal[
    "nothing to compare",
    "other width",
    "not searchable",
    "not normalised",
    "cut without renormalising",
    "newlines rewritten",
    "ends stripped",
    "without EOS",
    "mean-pooled",
    "query instruction on documents",
    "other instruction",
    "without instruction",
    "truncated",
    "mixed up",
    "text changed",
    "other model",
]


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make a document's vector.

    Attributes:
        prompt: What was put before the text.
        text: What was done to it: nothing, line breaks made spaces, or its ends stripped.
        eos: Whether the EOS was put at the end.
        pooling: Of the last token, or the mean over all.
        max_length: Tokens that were kept, EOS included.
        eos_cut: Whether longer texts lost their EOS, too, as where it was put before they were cut.
    """

    prompt: str
    text: Literal["kept", "newlines", "stripped"] = "kept"
    eos: bool = True
    pooling: Literal["last", "mean"] = "last"
    max_length: int = 8192
    eos_cut: bool = False


class Workshop:
    """Makes vectors in any way, with one model."""

    def __init__(self, encoder: F2LLM) -> None:
        """Use an encoder's weights.

        Raises:
            ConfigurationError: It does not run in this process, where alone ids can be chosen.
        """
        backend: Any = encoder._backend
        self._backend = getattr(backend, "inner", backend)  # a cache stands before another
        if not hasattr(self._backend, "checkpoint"):
            msg = (
                "An audit needs a model that runs in this process: pass backend='local'; from a "
                "shell, unset F2LLM_BASE_URL."
            )
            raise ConfigurationError(msg)
        self._prompts = encoder.prompts
        self.right = Variant(encoder.prompts.document, max_length=encoder.max_length)

    def ids(self, documents: Sequence[str], variant: Variant) -> list[tuple[int, ...]]:
        """Return the tokens that a variant makes of documents."""
        if variant.text == "newlines":
            documents = [text.replace("\n", " ") for text in documents]
        if variant.text == "stripped":
            documents = [text.strip() for text in documents]
        tokenizer = self._backend.checkpoint.tokenizer
        whole = tokenizer.encode([variant.prompt + text for text in documents])
        if variant.eos and not variant.eos_cut:
            return [tokenizer.finish(ids, variant.max_length) for ids in whole]
        end = [tokenizer.eos_id] if variant.eos else []
        return [tuple([*ids, *end][: variant.max_length]) for ids in whole]

    def rows(self, documents: Sequence[str], variant: Variant) -> Vectors:
        """Return what a variant makes of documents.

        Returns:
            `(n, width)` float32, not normalised; NaN where there are no tokens, and of all means
            but the first, which cost as many forward passes as there are tokens.
        """
        sequences = self.ids(documents, variant)
        result = np.full((len(sequences), self._backend.width), np.nan, dtype=np.float32)
        if variant.pooling == "mean":
            for row, ids in zip(result[:_MEANS], sequences, strict=False):
                if 0 < len(ids) <= _MEAN_TOKENS:
                    # In a causal model a token's state is that of the text up to it.
                    ends = range(1, len(ids) + 1)
                    states = self.embed_ids([ids[:end] for end in ends])
                    row[:] = states.mean(axis=0)
            return result
        filled = [i for i, ids in enumerate(sequences) if ids]
        if filled:
            result[filled] = self.embed_ids([sequences[i] for i in filled])
        return result

    @property
    def width(self) -> int:
        """Full embedding width of the model."""
        return int(self._backend.width)

    def embed_ids(self, sequences: Sequence[tuple[int, ...]]) -> Vectors:
        """Return the rows of whole sequences, `(n, width)`, as the model leaves them."""
        rows: Vectors = self._backend.embed_ids(sequences)
        return rows

    def suspects(self, documents: Sequence[str]) -> Iterator[list[Variant]]:
        """Yield what else may have been done to documents, in groups from likely to far-fetched.

        Variants that make the same tokens of all of them come once.
        """
        right, prompts = self.right, self._prompts
        fronts = dict.fromkeys([prompts.document, prompts.query, ""])
        texts = ("kept", "newlines", "stripped")
        mixed = [
            replace(right, prompt=prompt, text=text, eos=eos)
            for prompt, text, eos in product(fronts, texts, (True, False))
        ]
        cut = [
            replace(one, max_length=limit, eos_cut=eos_cut)
            for limit in _LIMITS
            for one, eos_cut in product(mixed, (False, True))
            if limit < right.max_length and one.text != "stripped" and one.prompt == right.prompt
        ]
        mean = [replace(one, pooling="mean") for one in mixed if one.text != "stripped" and one.eos]
        tasks = [replace(right, prompt=format_prompt(task.instruction)) for task in TASKS.values()]
        seen = {(right.pooling, *self.ids(documents, right))}
        for group in (mixed, cut, tasks, mean):
            new = []
            for variant in group:
                key = (variant.pooling, *self.ids(documents, variant))
                if key not in seen:
                    seen.add(key)
                    new.append(variant)
            yield new


def embedded_text(document: str, metadata: Metadata) -> str:
    """Return what was embedded of a row: LlamaIndex puts a node's metadata before its text.

    Args:
        document: The row's text.
        metadata: What is kept beside it; a LlamaIndex node describes itself there.

    Raises:
        ConfigurationError: The row is a node, and LlamaIndex is not installed.
    """
    if "_node_content" not in metadata:
        return document
    try:
        from llama_index.core.schema import MetadataMode
        from llama_index.core.vector_stores.utils import metadata_dict_to_node
    except ImportError as error:
        msg = "These rows are LlamaIndex nodes; to audit them: pip install llama-index-core."
        raise ConfigurationError(msg) from error
    try:
        node = metadata_dict_to_node(dict(metadata), document)
    except Exception:  # something else has that key, or a class that is not installed wrote it
        return document
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def differences(found: Variant, right: Variant, query_prompt: str) -> list[tuple[Kind, str]]:
    """Return how a variant departs from the right way, in a word and in a sentence's predicate."""
    said: list[tuple[Kind, str]] = []
    if found.text == "newlines":
        said.append(("newlines rewritten", "are of texts whose line breaks were made spaces"))
    if found.text == "stripped":
        said.append(("ends stripped", "are of texts whose white space at the ends was removed"))
    if not found.eos:
        said.append(("without EOS", "were made without the EOS token at the end"))
    if found.pooling == "mean":
        said.append(("mean-pooled", "are the mean over all tokens, not the last token's"))
    if found.max_length != right.max_length:
        lost = ", which lost their EOS" if found.eos_cut else ""
        said.append(("truncated", f"are of texts cut at {found.max_length} tokens{lost}"))
    if found.prompt == right.prompt:
        return said
    before = f"have {found.prompt!r} before the text"
    if not found.prompt:
        said.append(("without instruction", f"lack the document instruction {right.prompt!r}"))
    elif found.prompt == query_prompt:
        said.append(("query instruction on documents", f"{before}, which is for queries"))
    else:
        said.append(("other instruction", before))
    return said
