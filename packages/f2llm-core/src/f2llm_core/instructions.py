"""Task instructions, and the one template that puts them before a text.

All strings are verbatim the ones the models are evaluated with (`mteb` 2.26.24,
`mteb/models/model_implementations/codefuse_models.py`); the default is the query prompt shipped in
the released repositories.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal, get_args

from f2llm_core.errors import ConfigurationError

#: The side of a retrieval pair that a text stands on.
Side = Literal["query", "document"]

_TEMPLATE = "Instruct: {instruction}\nQuery: "
_FULL_PROMPT = re.compile(
    r"\A\s*Instruct:\s*(?P<instruction>.*?)\s*(?:\n\s*Query:\s*)?\Z", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Task:
    """A named instruction.

    Attributes:
        name: The preset's name, as taken by the `task` option.
        instruction: The bare instruction, without the template.
        symmetric: True if the instruction goes before every text, False if before queries only.
    """

    name: str
    instruction: str
    symmetric: bool


@dataclass(frozen=True, slots=True)
class Prompts:
    r"""What is put before texts, character for character.

    Attributes:
        query: Prefix of a query, for example `"Instruct: …\nQuery: "`.
        document: Prefix of a document; empty unless the task is symmetric.
    """

    query: str
    document: str

    def of(self, side: Side) -> str:
        """Return the prefix of one side of a retrieval pair."""
        if side not in get_args(Side):
            msg = f"side={side!r}: allowed are {', '.join(map(repr, get_args(Side)))}."
            raise ConfigurationError(msg)
        return self.query if side == "query" else self.document


_QUERY_ONLY = {
    "retrieval": "Given a question, retrieve passages that can help answer the question.",
    "qa": "Given a question, retrieve passages that answer the question.",
    "answer": "Given a question, retrieve the answer.",
    "multi-hop": "Given a multi-hop question, retrieve passages that answer the question.",
    "code": "Retrieve the most relevant code snippet for the given query.",
    "code-to-code": "Retrieve the most relevant code snippet for the given code snippet.",
    "code-to-text": "Retrieve the most relevant code summary for the given code snippet.",
    "code-edit": "Retrieve the most relevant code edit.",
    "similar-code": "Retrieve similar code to the given source code.",
    "text-to-sql": "Retrieve the most relevant sql code snippet for the given query.",
    "response": "Retrieve the most relevant response for the given query.",
    "fact-verification": "Given a claim, retrieve documents that support or refute the claim.",
    "climate-fact-verification": (
        "Given a claim about climate change, retrieve documents that support or refute the claim."
    ),
    "scientific-fact-verification": (
        "Given a scientific claim, retrieve passages that support or refute the claim."
    ),
    "counter-argument": "Given a claim, find documents that refute the claim.",
    "duplicates": "Given a question, retrieve questions that are semantically equivalent.",
    "citation": (
        "Given a scientific paper title, retrieve paper abstracts that are cited by the given "
        "paper."
    ),
    "entity": "Given a query, retrieve relevant entity descriptions.",
    "finance": "Given a financial question, retrieve passages that answer the question.",
    "product": ("Given a product name query, retrieve the corresponding product description."),
    "news": "Given a news title, retrieve the original article.",
    "summary": "Given a summary, retrieve the original article.",
    "legal": "Retrieve relevant legal documents.",
    "statutes": "Identify the most relevant statutes for the given situation.",
}

_BOTH_SIDES = {
    "sts": "Retrieve semantically similar text.",
    "bitext": "Retrieve translations of the following text.",
    "classification": "Classify the topic of the given text.",
    "clustering": "Classify the topic of the given text.",
    "pair-classification": "Retrieve semantically entailed text.",
    "paraphrase": "Retrieve paraphrases of the given sentence.",
    "forum-duplicates": "Retrieve duplicate questions from StackOverflow forum.",
    "sentiment": "Classify the sentiment of the given text.",
    "intent": "Given a user utterance as query, find the user intents.",
    "language-identification": "Classify the text into its language.",
    "toxicity": "Classify the given comments as either toxic or not toxic.",
    "acceptability": (
        "Classify the given sentence as linguistically acceptable or not acceptable."
    ),
    "news-clustering": "Identify the topic or theme of the given news articles.",
    "summary-similarity": ("Given a news summary, retrieve other semantically similar summaries."),
}

#: The task presets by name.
TASKS: Mapping[str, Task] = MappingProxyType(
    {name: Task(name, text, symmetric=False) for name, text in _QUERY_ONLY.items()}
    | {name: Task(name, text, symmetric=True) for name, text in _BOTH_SIDES.items()}
)

#: What the released models use when nothing is asked for.
DEFAULT_TASK = TASKS["retrieval"]


def find_task(name: str) -> Task:
    """Look a preset up; underscores and case do not matter.

    Args:
        name: For example `"retrieval"` or `"text_to_sql"`.

    Returns:
        The preset.

    Raises:
        ConfigurationError: Unknown name; the message holds the known ones and the nearest.
    """
    key = name.lower().replace("_", "-") if isinstance(name, str) else name
    if isinstance(key, str) and key in TASKS:
        return TASKS[key]
    near = get_close_matches(str(key), TASKS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(TASKS)
    msg = f"Unknown task {name!r}.{hint} Known: {known}. For anything else, pass `instruction`."
    raise ConfigurationError(msg)


def format_prompt(instruction: str) -> str:
    r"""Return what is put before a text.

    Args:
        instruction: A bare instruction, or the whole `"Instruct: …\nQuery: "` string, which is
            never wrapped a second time. An empty string means no prompt.

    Returns:
        The prefix, ending in one space; empty for an empty instruction.
    """
    bare = parse_prompt(instruction)
    return _TEMPLATE.format(instruction=bare) if bare else ""


def parse_prompt(prompt: str) -> str:
    """Return the bare instruction inside a full prompt string; any other string unchanged."""
    match = _FULL_PROMPT.match(prompt)
    return match["instruction"] if match else prompt


def choose_prompts(
    declared: Prompts,
    *,
    task: str | None,
    instruction: str | None,
    document_instruction: str | None,
) -> Prompts:
    """Return what goes before queries and before documents.

    Args:
        declared: The checkpoint's own prompts, used where nothing else is asked for.
        task: A preset's name; a symmetric one puts its instruction on both sides.
        instruction: Replaces the task's instruction.
        document_instruction: Replaces what goes before documents.
    """
    preset = None if task is None else find_task(task)
    query = declared.query or format_prompt(DEFAULT_TASK.instruction)
    document = declared.document
    if preset is not None:
        query, document = format_prompt(preset.instruction), ""
    if instruction is not None:
        query = format_prompt(instruction)
    if preset is not None and preset.symmetric:
        document = query
    if document_instruction is not None:
        document = format_prompt(document_instruction)
    return Prompts(query=query, document=document)
