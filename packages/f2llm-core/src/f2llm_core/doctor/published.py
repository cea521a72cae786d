"""The example of the model cards: the only vectors of the released models that are published."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from f2llm_core.doctor import Check
from f2llm_core.encoder import F2LLM
from f2llm_core.engine.hub import ModelSource

#: Cosines of the example query with the example passages, by size, computed in bfloat16.
PUBLISHED: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "1.7B": (0.6735, 0.8418, 0.7513, 0.8602),
        "4B": (0.6348, 0.8547, 0.7168, 0.8356),
        "14B": (0.5773, 0.8323, 0.7229, 0.8062),
    }
)
_WITHIN = 0.01  # the cards' own two ways to compute them differ by 0.004

# Quoted from the cards (Apache-2.0): of other texts, nothing is published.
QUERY = "What is F2LLM used for?"
PASSAGES = (
    (
        "We present F2LLM, a family of fully open embedding LLMs that achieve a strong balance "
        "between model size, training data, and embedding performance."
    ),
    (
        "F2LLM is a model for computing text embeddings that can be used for various NLP tasks "
        "such as information retrieval, semantic search, and text classification."
    ),
    "F2LLM 是 CodeFuse 开源的系列嵌入模型。",
    (
        "F2LLM — это модель вычисления встраивания текста, которую можно использовать для "
        "различных задач НЛП, таких как поиск информации, семантический поиск и классификация "
        "текста."
    ),
)


def compare_published(encoder: F2LLM, source: ModelSource, dtype: str, name: str) -> Check:
    """Compare a model's cosines with those of its card.

    Args:
        encoder: The model, with whatever options.
        source: Which it is.
        dtype: In which it computes.
        name: Of the check.
    """
    spec = source.spec
    if spec is None or source.revision != spec.revision:
        return Check(name, "skipped", "it is no released size at its pinned revision")
    if spec.name not in PUBLISHED:
        return Check(name, "skipped", f"the card of {spec.name} has no cosines")
    if dtype == "int8":
        return Check(name, "skipped", "the card's cosines are of bfloat16, int8 is rounded coarser")
    plain = encoder.with_options(task=None, dimensions=None, max_length=None)
    cosines = plain.encode_document(PASSAGES) @ plain.encode_query(QUERY)
    off = float(np.abs(cosines - PUBLISHED[spec.name]).max())
    shown = ", ".join(f"{cosine:.4f}" for cosine in cosines)
    if not off <= _WITHIN:
        right = ", ".join(f"{cosine:.4f}" for cosine in PUBLISHED[spec.name])
        said = f"its example gives {shown}; the card has {right}"
        advice = "Files or engine are not what they should be: delete the cached model, load again."
        return Check(name, "failed", said, advice)
    return Check(name, "passed", f"its example gives {shown}, the card's within {off:.4f}")
