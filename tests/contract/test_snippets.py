"""Every snippet of the documents and docstrings runs, offline, on the demo model.

Python blocks of a document run one after another, as a reader would paste them. A `console` block
holds commands behind `$` and what they print. A block after `<!-- not run: why -->` only has to
parse.
"""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from click.testing import CliRunner

from f2llm_core import MODELS
from f2llm_core.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("packages/*/README.md")),
]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
#: Modules whose examples only have to parse, and why.
NOT_RUN = {
    "distributed": "starts Ray, as tests/integration/test_ray*.py do",
    "evaluation": "reads data sets, as tests/unit/evaluation do",
}
NAMES = {name for spec in MODELS.values() for name in (spec.name, spec.repo_id)}

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<mark>```+) *(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)(?P=mark)$",
    re.DOTALL | re.MULTILINE,
)
_NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*\Z")
# In a docstring, what is indented after an empty line; sections like "Args:" have none.
_INDENTED = re.compile(r"\n\n((?: {4}.*\n|\n(?= {4}))+)")
_NUMBER = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True)
class Snippet:
    """A block of code.

    Attributes:
        path: Of the file that shows it.
        line: Of its first line there.
        language: As the fence names it.
        code: What is in it.
        runs: Whether it is run.
    """

    path: Path
    line: int
    language: str
    code: str
    runs: bool = True

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def snippets_of(document: Path) -> list[Snippet]:
    text = document.read_text(encoding="utf-8")
    return [
        Snippet(
            document,
            text.count("\n", 0, fence.start("body")) + 1,
            fence["language"],
            inspect.cleandoc(f"\n{fence['body']}"),
            runs=not _NOT_RUN.search(text[: fence.start()]),
        )
        for fence in _FENCE.finditer(text)
    ]


def examples_of(source: Path) -> Iterator[Snippet]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for block in _INDENTED.findall(f"{ast.get_docstring(node) or ''}\n"):
            code = inspect.cleandoc(f"\n{block}")
            if is_python(code):
                yield Snippet(source, node.body[0].lineno, "python", code)


def is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


class _OnModel(ast.NodeTransformer):
    """Puts a folder in the place of the released models' names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if node.value in NAMES:
            return ast.copy_location(ast.Constant(str(self._folder)), node)
        return node


def run_python(snippet: Snippet, model: Path, names: dict[str, object]) -> None:
    tree = ast.increment_lineno(ast.parse(snippet.code), snippet.line - 1)
    exec(compile(_OnModel(model).visit(tree), str(snippet.path), "exec"), names)


def run_console(snippet: Snippet, model: Path) -> None:
    """Run its commands, and compare what they print."""
    commands = re.split(r"^\$ ", snippet.code, flags=re.MULTILINE)
    assert commands.pop(0) == "", f"{snippet}: a console begins with a command"
    for command in commands:
        line, _, expected = command.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "f2llm", f"{snippet}: {program}"
        given = [str(model) if argument in NAMES else argument for argument in arguments]
        done = CliRunner().invoke(main, given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert same(done.output, expected), f"{snippet}: {line}\n{done.output}"


def same(printed: str, expected: str) -> bool:
    """Compare, with some room for figures, whose last digits depend on the processor."""
    one, other = printed.strip(), expected.strip()
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    found, wanted = (list(map(float, _NUMBER.findall(text))) for text in (one, other))
    return found == pytest.approx(wanted, abs=0.02)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, without the warnings of other people's packages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ANONYMIZED_TELEMETRY", "False")
    # Chroma keeps the clients of a process by their path as it was given: "db" is another one here.
    SharedSystemClient.clear_system_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield tmp_path
    SharedSystemClient.clear_system_cache()


@pytest.mark.timeout(400)  # pages load other people's packages, slowly on a busy machine
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_documents_snippets_run(document, demo_model, here, capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    for snippet in snippets_of(document):
        if snippet.language == "python":
            assert is_python(snippet.code), snippet
        if snippet.runs and snippet.language == "python":
            run_python(snippet, demo_model, names)
        elif snippet.runs and snippet.language == "console":
            run_console(snippet, demo_model)
    if document == DOCUMENTS[0]:  # what a newcomer tries first had better find the right text
        printed = capsys.readouterr().out
        assert printed.count("사진을 편집한다") == 3
        assert "Schachspiel" not in printed


EXAMPLES = [
    example
    for source in SOURCES
    if NOT_RUN.keys().isdisjoint(source.parts)
    for example in examples_of(source)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_docstrings_example_runs(example, demo_model, here):
    """With the names of its module, and those that its text speaks of."""
    module = example.path.relative_to(ROOT).with_suffix("").parts[3:]
    names = vars(import_module(".".join(module).removesuffix(".__init__")))
    run_python(example, demo_model, {**names, **spoken_of(example, demo_model, here)})


def spoken_of(example: Snippet, model: Path, folder: Path) -> dict[str, object]:
    import chromadb
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from llama_index.core import Document as Node
    from llama_index.core import Settings, VectorStoreIndex
    from llama_index.core.vector_stores import MetadataFilters
    from llama_index.vector_stores.chroma import ChromaVectorStore

    from f2llm_core import F2LLM
    from f2llm_core.indexing import index
    from langchain_f2llm import F2LLMEmbeddings
    from llama_index.embeddings.f2llm import F2LLMEmbedding

    texts = ["Das Teleskop sieht infrarotes Licht.", "고래는 노래로 서로를 찾는다."]
    nodes = [Node(text=text, metadata={"lang": "de"}) for text in texts]
    documents = [Document(text, metadata={"lang": "de"}) for text in texts]
    cosine = {"hnsw": {"space": "cosine"}}
    client = chromadb.PersistentClient(str(folder / "chroma"))
    return {
        "collection": client.create_collection("papers", configuration=cosine),
        "documents": nodes if "llama_index" in example.path.parts else documents,
        "embed_model": F2LLMEmbedding(model_name=str(model)),
        "embeddings": F2LLMEmbeddings(model=model),
        "nodes": nodes,
        "passages": texts,
        "tmp_path": folder,
        "Chroma": Chroma,
        "ChromaVectorStore": ChromaVectorStore,
        "F2LLM": F2LLM,
        "MetadataFilters": MetadataFilters,
        "Settings": Settings,
        "index": index,
        "VectorStoreIndex": VectorStoreIndex,
    }


def test_a_snippet_that_is_wrong_is_found(demo_model, here):
    page = here / "page.md"
    text = "```python\nx = 1\n```\n\n<!-- not run: why -->\n\n```python\nx = 2\n```\n"
    page.write_text(text + "```console\n$ f2llm --version\nf2llm, version 0\n```\n", "utf-8")
    first, second, third = snippets_of(page)
    assert (first.line, second.line, first.runs, second.runs, third.runs) == (
        2,
        8,
        True,
        False,
        True,
    )
    with pytest.raises(AssertionError, match="f2llm, version"):
        run_console(third, demo_model)
    with pytest.raises(NameError):
        run_python(Snippet(page, 1, "python", "F2LLM('80M')"), demo_model, {})
    assert same("1.00 a", "1.01 a")
    assert not same("1.00 a", "1.05 a")
    assert not same("1.00 a", "1.00 b")
