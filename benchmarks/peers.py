"""What the stock integrations make of an F2LLM-v2 checkpoint, each called the way its docs do.

    python benchmarks/peers.py [--model FOLDER]

Prints a Markdown table. The yardstick is transformers' own Qwen3Model, fed ids that follow the
model's text contract; every cell is what one integration returned, as measured in this run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from f2llm_core.engine.config import read_config
from f2llm_core.engine.tokenizer import Tokenizer

DEMO_MODEL = Path(__file__).resolve().parent.parent / "models" / "f2llm-demo"
DIMENSIONS = 64
QUERY = "Which program draws the night sky?"
DOCUMENT = (
    "def plan(stars):\n    # first the bright ones\n    for star in stars:\n        draw(star)\n"
)
RIGHT = 0.9999  # cosine with the yardstick from which a vector counts as the right one

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Integration:
    """One way to use the checkpoint.

    Attributes:
        name: As the table's heading shows it.
        load: Makes the embedder from a folder and a width (None for the full one).
        query: Embeds one query.
        document: Embeds one document.
        round_trip: Rebuilds the embedder through the framework's own serialisation, or None where
            the framework has none.
    """

    name: str
    load: Callable[[Path, int | None], Any]
    query: Callable[[Any], Any]
    document: Callable[[Any], Any]
    round_trip: Callable[[Any], Any] | None


def _sentence_transformers(folder: Path, dimensions: int | None) -> Any:  # noqa: ANN401
    from sentence_transformers import SentenceTransformer

    exact = {"dtype": "float32"}
    return SentenceTransformer(
        str(folder), device="cpu", truncate_dim=dimensions, model_kwargs=exact
    )


def _langchain_huggingface(folder: Path, dimensions: int | None) -> Any:  # noqa: ANN401
    from langchain_huggingface import HuggingFaceEmbeddings

    options = {"device": "cpu", "truncate_dim": dimensions, "model_kwargs": {"dtype": "float32"}}
    return HuggingFaceEmbeddings(model_name=str(folder), model_kwargs=options)


def _llama_index_huggingface(folder: Path, dimensions: int | None) -> Any:  # noqa: ANN401
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    exact = {"dtype": "float32"}
    return HuggingFaceEmbedding(
        model_name=str(folder), device="cpu", truncate_dim=dimensions, model_kwargs=exact
    )


def _langchain_f2llm(folder: Path, dimensions: int | None) -> Any:  # noqa: ANN401
    from langchain_f2llm import F2LLMEmbeddings

    return F2LLMEmbeddings(model=str(folder), dimensions=dimensions, dtype="float32")


def _llama_index_f2llm(folder: Path, dimensions: int | None) -> Any:  # noqa: ANN401
    from llama_index.embeddings.f2llm import F2LLMEmbedding

    return F2LLMEmbedding(model_name=str(folder), dimensions=dimensions, dtype="float32")


def _from_dict(embedder: Any) -> Any:  # noqa: ANN401
    return type(embedder).from_dict(embedder.to_dict())


def _langchain_load(embedder: Any) -> Any:  # noqa: ANN401
    from langchain_core.load import dumps, loads

    kind = type(embedder)
    namespaces = [kind.__module__.split(".", maxsplit=1)[0]]
    return loads(dumps(embedder), allowed_objects=[kind], valid_namespaces=namespaces)


INTEGRATIONS = (
    Integration(
        "sentence-transformers",
        _sentence_transformers,
        lambda e: e.encode_query(QUERY),
        lambda e: e.encode_document(DOCUMENT),
        None,
    ),
    Integration(
        "langchain-huggingface",
        _langchain_huggingface,
        lambda e: e.embed_query(QUERY),
        lambda e: e.embed_documents([DOCUMENT])[0],
        None,
    ),
    Integration(
        "llama-index-embeddings-huggingface",
        _llama_index_huggingface,
        lambda e: e.get_query_embedding(QUERY),
        lambda e: e.get_text_embedding(DOCUMENT),
        _from_dict,
    ),
    Integration(
        "**langchain-f2llm**",
        _langchain_f2llm,
        lambda e: e.embed_query(QUERY),
        lambda e: e.embed_documents([DOCUMENT])[0],
        _langchain_load,
    ),
    Integration(
        "**llama-index-embeddings-f2llm**",
        _llama_index_f2llm,
        lambda e: e.get_query_embedding(QUERY),
        lambda e: e.get_text_embedding(DOCUMENT),
        _from_dict,
    ),
)


@dataclass(frozen=True)
class Cell:
    """One finding.

    Attributes:
        right: Whether the integration does what the model was trained for; None if it has no such
            thing.
        shown: The measured value, or the error's type.
    """

    right: bool | None
    shown: str

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: ""}[self.right]
        return f"{mark} {self.shown}".strip()


class Yardstick:
    """The right vectors, by transformers' own model under the text contract."""

    def __init__(self, folder: Path) -> None:
        """Load a checkpoint in float32."""
        from transformers import Qwen3Model

        self._tokenizer = Tokenizer(folder, read_config(folder / "config.json"))
        self._model = Qwen3Model.from_pretrained(folder, dtype=torch.float32)

    def query(self) -> Vector:
        """Return the right vector of the query, unit length, full width."""
        return self._embed(self._tokenizer.prompts.query + QUERY)

    def document(self) -> Vector:
        """Return the right vector of the document, unit length, full width."""
        return self._embed(DOCUMENT)

    @torch.inference_mode()
    def _embed(self, text: str) -> Vector:
        [tokens] = self._tokenizer.encode([text])
        ids = self._tokenizer.finish(tokens, max_length=8192)
        row = self._model(torch.tensor([ids])).last_hidden_state[0, -1].numpy()
        vector: Vector = row / np.linalg.norm(row)
        return vector


def without_eos_template(folder: Path, target: Path) -> Path:
    """Copy a checkpoint as some exports leave it: `tokenizer.json` appends no EOS."""
    shutil.copytree(folder, target)
    path = target / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["post_processor"] = None
    path.write_text(json.dumps(content), encoding="utf-8")
    return target


def findings(folder: Path, scratch: Path) -> dict[str, list[Cell]]:
    """Measure every integration.

    Args:
        folder: The checkpoint.
        scratch: An empty folder for a damaged copy of it.

    Returns:
        The table's rows: what was tried, and a cell for each of `INTEGRATIONS`.
    """
    yardstick = Yardstick(folder)
    query, document = yardstick.query(), yardstick.document()
    damaged = without_eos_template(folder, scratch / "no-eos")
    rows: dict[str, list[Cell]] = {}
    for peer in INTEGRATIONS:
        whole, small = peer.load(folder, None), peer.load(folder, DIMENSIONS)
        lost = peer.load(damaged, None)
        for name, cell in {
            "Query has the trained instruction (cosine to the right vector)": _cosine(
                peer.query(whole), query
            ),
            "Document kept as it is, newlines and all (cosine)": _cosine(
                peer.document(whole), document
            ),
            f"Unit length when cut to {DIMENSIONS} dimensions (norm of document)": _norm(
                peer.document(small)
            ),
            "EOS though the tokenizer file lost it (cosine)": _cosine(
                peer.document(lost), document
            ),
            "Rebuilt from its own serialisation": _round_trip(peer, small),
        }.items():
            rows.setdefault(name, []).append(cell)
    return rows


def _cosine(vector: Any, right: Vector) -> Cell:  # noqa: ANN401
    vector = np.asarray(vector, dtype=np.float64)
    cosine = float(vector @ right / np.linalg.norm(vector))
    return Cell(cosine >= RIGHT, f"{cosine:.3f}")


def _norm(vector: Any) -> Cell:  # noqa: ANN401
    norm = float(np.linalg.norm(vector))
    return Cell(abs(norm - 1) < 1e-3, f"{norm:.3f}")


def _round_trip(peer: Integration, embedder: Any) -> Cell:  # noqa: ANN401
    if peer.round_trip is None:
        return Cell(None, "–")
    try:
        again = peer.round_trip(embedder)
        same = bool(np.array_equal(peer.query(again), peer.query(embedder)))
    except Exception as error:  # whatever it is, it is the finding
        return Cell(False, type(error).__name__)
    return Cell(same, "same vectors" if same else "other vectors")


def table(rows: dict[str, list[Cell]]) -> str:
    """Return the findings as a Markdown table."""
    head = ["", *(peer.name for peer in INTEGRATIONS)]
    lines = [head, ["---"] * len(head), *([name, *map(str, cells)] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", type=Path, default=DEMO_MODEL, help="checkpoint folder")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        print(table(findings(arguments.model, Path(scratch))))


if __name__ == "__main__":
    main()
