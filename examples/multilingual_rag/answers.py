"""Answers from passages: written by a language model, or quoted where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from corpus import DemoError
from rich.cells import cell_len

from f2llm_core import F2LLM

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from llama_index.core.llms import LLM

QUOTES = 2  # sentences in an extractive answer
NEARLY = 0.9  # of the first passage's score: what scores less is no longer to the point
EXTRACTIVE = "(extractive: no language model was asked)"

SYSTEM = (
    "Answer the question in its own language, from the numbered passages only, whatever language "
    "they are in. Cite the passages you used as [1], [2]. If they do not hold the answer, say so."
)
HUMAN = "Passages:\n\n{passages}\n\nQuestion: {question}"

# A sentence ends after its mark, which needs a space behind it unless it is a Chinese or Japanese
# one. A single letter before the dot makes an abbreviation ("e.g.", "z. B."). Blank lines and the
# items of lists end a sentence, too; other line ends only wrap it.
_SENTENCE_END = re.compile(r"(?<=[.!?…।॥؟۔።։])(?<!\b\w\.)\s+|(?<=[。！？])|\n\s*\n|\n(?=\s*[-*•])")


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        id: The passage's id in the index.
        content: Its text as it is stored, title first.
        metadata: Its `lang`, `title`, `source` and `parallel`.
        score: Cosine of question and passage.
        also_in: Languages in which the same passage was found, too, but further down.
    """

    id: str
    content: str
    metadata: dict[str, Any]
    score: float
    also_in: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """The passage without its title."""
        return self.content.removeprefix(self.metadata["title"]).strip()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: The question.
        lang: Its language, or "" where it is not known.
        expects: The `parallel` of the passage that it was written for, or "".
    """

    text: str
    lang: str = ""
    expects: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one framework found, best first, and what it answered; its text cites by position."""

    hits: list[Hit]
    text: str

    @property
    def ids(self) -> list[str]:
        """The ids of the passages, in their order."""
        return [hit.id for hit in self.hits]


def distinct(hits: Iterable[Hit], count: int) -> list[Hit]:
    """Return the best passages, each in the best of its languages.

    Args:
        hits: Best first.
        count: How many to return at most.

    Returns:
        The best `count` passages that say different things, best first.
    """
    chosen: dict[str, Hit] = {}
    for hit in hits:
        key = hit.metadata["parallel"] or hit.id
        if key in chosen:
            first = chosen[key]
            chosen[key] = replace(first, also_in=(*first.also_in, hit.metadata["lang"]))
        elif len(chosen) < count:
            chosen[key] = hit
    return list(chosen.values())


def quote(encoder: F2LLM, question: str, hits: Sequence[Hit]) -> str:
    """Answer with the sentences that are nearest to the question, one of a passage.

    Args:
        encoder: Compares the question with every sentence, across languages.
        question: In any language.
        hits: The passages, best first, which are cited by their position, counted from 1.

    Returns:
        Quoted sentences with citations, and the note that nobody wrote this answer.
    """
    if not hits:
        return f"No passage was found. {EXTRACTIVE}"
    near = [hit for hit in hits if hit.score >= NEARLY * hits[0].score] or hits[:1]
    vector = encoder.encode_query(question)
    quotes = []
    for number, hit in enumerate(near[:QUOTES], 1):
        sentences = split_sentences(hit.text or hit.content)
        best = int((encoder.encode_document(sentences) @ vector).argmax())
        quotes.append(f"“{sentences[best]}” [{number}]")
    return " ".join([*quotes, EXTRACTIVE])


def split_sentences(text: str) -> list[str]:
    """Cut a text into sentences; scraps of a few characters stay with what follows them."""
    sentences, held = [], ""
    for part in filter(None, _SENTENCE_END.split(text)):
        held = f"{held} {' '.join(part.split()).lstrip('-*• ')}".strip()
        if cell_len(held) >= 12:  # characters, of which Chinese and the like count twice
            sentences.append(held)
            held = ""
    return [*sentences, held] if held else sentences


def number_passages(hits: Sequence[Hit]) -> str:
    """Return the passages as a language model gets to see them."""
    return "\n\n".join(
        f"[{number}] ({hit.metadata['source']})\n{hit.content}"
        for number, hit in enumerate(hits, 1)
    )


def langchain_llm(name: str) -> BaseChatModel:
    """Return LangChain's chat model of a name like `ollama:llama3.2`.

    Raises:
        DemoError: A package is missing, or there is no such provider.
    """
    try:
        chat_models = import_module("langchain.chat_models")
        model: BaseChatModel = chat_models.init_chat_model(name)
    except ModuleNotFoundError as error:
        msg = (
            f"--llm {name} needs LangChain's package: pip install langchain ({error}). "
            "Or leave LangChain out with --framework llama-index."
        )
        raise DemoError(msg) from error
    except Exception as error:  # providers raise what they like: no key, no such provider …
        msg = f"--llm {name}: {error}"
        raise DemoError(msg) from error
    return model


def llama_index_llm(name: str) -> LLM:
    """Return LlamaIndex's language model of a name like `ollama:llama3.2`.

    Raises:
        DemoError: A package is missing, or there is no such provider.
    """
    provider, _, model = name.partition(":")
    module = f"llama_index.llms.{provider}"
    try:
        found = vars(import_module(module))
    except ModuleNotFoundError as error:
        package = f"llama-index-llms-{provider.replace('_', '-')}"
        msg = (
            f"--llm {name} needs LlamaIndex's package: pip install {package} ({error}). "
            "Or leave LlamaIndex out with --framework langchain."
        )
        raise DemoError(msg) from error
    wanted = provider.replace("_", "")
    classes = [c for n, c in found.items() if n.lower() == wanted and isinstance(c, type)]
    if not classes:
        msg = f"--llm {name}: {module} has no class of that name."
        raise DemoError(msg)
    try:
        llm: LLM = classes[0](model=model)
    except Exception as error:  # see above
        msg = f"--llm {name}: {error}"
        raise DemoError(msg) from error
    return llm
