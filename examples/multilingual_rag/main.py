"""Ask a multilingual corpus in any language, through LangChain and LlamaIndex at once.

Indexes the shipped corpus (or your own files) into a Chroma folder, prints for each question the
best passages and an answer that cites them, and ends with the cross-language recall measured on
the corpus itself. The second run finds the index in place.

    python examples/multilingual_rag/main.py
    python examples/multilingual_rag/main.py --question "Чем открыть архив?"
    python examples/multilingual_rag/main.py --documents ~/notes --question "…"
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import report
from answers import Answer, Question, langchain_llm, llama_index_llm
from chains import langchain_chain, llama_index_engine
from corpus import SHIPPED, DemoError, read_documents
from index import Index
from langchain_core.language_models import BaseChatModel
from llama_index.core.llms import LLM
from model import describe, load_encoder
from recall import measure_recall

from f2llm_core import F2LLMError

HERE = Path(__file__).parent
Ask = Callable[[str], Answer]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    args = parse(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: complain(f"warning: {message}")
            run(args)
    except (DemoError, F2LLMError) as error:
        complain(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        complain("Stopped. What is in the index stays there: the next run goes on from there.")
        return 130
    return 0


def complain(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr)


def run(args: argparse.Namespace) -> None:
    """Index, ask, measure: the whole demo."""
    llms = choose_llms(args)
    passages = read_documents(args.documents or SHIPPED)
    languages = {p.lang for p in passages if p.lang}
    named = f" in {len(languages)} languages" if languages else ""
    report.say(f"Corpus: {len(passages):,} passages{named}.")

    encoder = load_encoder(args.model, args.dimensions, report.say)
    index = Index(args.persist, collection_name(args.documents), encoder, rebuild=args.rebuild)
    report.say(f"Model: {describe(encoder.fingerprint)}. Index: {report.shorten(args.persist)}")
    done = index.update(passages, show_progress=sys.stderr.isatty())
    report.say(report.describe_changes(done))

    frameworks = connect(index, args, *llms)
    asked = []
    for question in choose_questions(args):
        answers = ask_all(question, frameworks, args.llm)
        report.show_answers(question, answers)
        asked.append((question, answers))
    if asked:
        report.show_totals(asked)

    if args.table and (rows := measure_recall(index)):
        report.show_recall(rows, encoder.fingerprint)


def choose_questions(args: argparse.Namespace) -> list[Question]:
    """Return one's own questions, or those written for the shipped corpus."""
    if args.question:
        return [Question(text) for text in args.question]
    if args.documents:
        report.say('Ask something with --question "…".')
        return []
    shipped = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    return [Question(q["question"], q["lang"], q["expects"]) for q in shipped]


def ask_all(
    question: Question, frameworks: Mapping[str, Ask], llm: str | None
) -> dict[str, Answer]:
    """Return each framework's answer; what a language model raises becomes one line."""
    try:
        return {name: ask(question.text) for name, ask in frameworks.items()}
    except F2LLMError:
        raise
    except Exception as error:
        if llm is None:
            raise
        msg = f"--llm {llm} gave no answer: {error}"
        raise DemoError(msg) from error


def choose_llms(args: argparse.Namespace) -> tuple[BaseChatModel | None, LLM | None]:
    """Return the language model in the words of the frameworks asked for, if any was asked for."""
    if args.llm is None:
        return None, None
    return (
        langchain_llm(args.llm) if args.framework != "llama-index" else None,
        llama_index_llm(args.llm) if args.framework != "langchain" else None,
    )


def connect(
    index: Index, args: argparse.Namespace, chat_model: BaseChatModel | None, llm: LLM | None
) -> dict[str, Ask]:
    """Return the frameworks asked for, each as a function from a question to its answer."""
    frameworks: dict[str, Ask] = {}
    if args.framework != "llama-index":
        frameworks["LangChain"] = langchain_chain(index, args.passages, chat_model).invoke
    if args.framework != "langchain":
        frameworks["LlamaIndex"] = llama_index_engine(index, args.passages, llm).ask
    return frameworks


def collection_name(documents: Path | None) -> str:
    """Return a name for each folder of documents, so that one does not replace another."""
    if documents is None:
        return "debian"
    return "documents-" + hashlib.sha256(str(documents.resolve()).encode()).hexdigest()[:16]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Ask a multilingual corpus in any language, with F2LLM-v2 and Chroma."
    )
    add = parser.add_argument
    add("--question", action="append", help="ask this instead of the shipped questions; repeatable")
    add("--documents", type=Path, metavar="DIR", help="index the .txt, .md and .jsonl files there")
    add("--model", help="short name, hub id or folder (default: codefuse-ai/F2LLM-v2-80M)")
    add("--dimensions", type=int, metavar="N", help="width of the vectors (default: the model's)")
    add("--persist", type=Path, metavar="DIR", default=HERE / "chroma", help="folder of the index")
    add("--rebuild", action="store_true", help="make the index anew")
    add("--framework", choices=("langchain", "llama-index", "both"), default="both")
    add("--llm", metavar="NAME", help="let this model answer, for example ollama:llama3.2")
    add("--passages", type=int, metavar="N", default=3, help="passages per question (default: 3)")
    add("--no-table", dest="table", action="store_false", help="leave out the recall table")
    args = parser.parse_args(argv)
    if args.passages < 1:
        parser.error("--passages must be at least 1")
    if not all(map(str.strip, args.question or [])):
        parser.error("--question must not be empty")
    return args


if __name__ == "__main__":
    sys.exit(main())
