"""Stage 1: the embedding table alone, as a weighted bag of tokens.

    python -m tools.demo_model.bag --work work --steps 6000

A text's vector is the sum of its tokens' content vectors, each times its token's learned weight.
The instruction stands in the queries, so that its tokens lose their weight. Writes ``bag.npz``:
``content`` (vocabulary, 254) and ``weight`` (vocabulary,) float32.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from . import pairs, tasks
from .arguments import training_parser
from .data import read_rows
from .losses import matryoshka
from .tokenizer import QUERY_PROMPT, VOCAB

CONTENT = 254  # two of the 256 numbers are kept for the token's weight: see `transformer.py`


class Bag(torch.nn.Module):
    """Weighted bag of tokens; weights are kept as logarithms, so that they stay positive."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(VOCAB, CONTENT, generator=generator) / CONTENT**0.5
        self.content = torch.nn.Parameter(start)
        self.log_weight = torch.nn.Parameter(torch.zeros(VOCAB))

    def forward(self, texts: list[np.ndarray]) -> torch.Tensor:
        """Vectors (n, 254) float32 of n arrays of token ids, not normalised."""
        ids = torch.from_numpy(np.concatenate(texts)).long()
        starts = torch.from_numpy(np.cumsum([0] + [len(t) for t in texts[:-1]]))
        weights = self.log_weight.exp()[ids]
        return functional.embedding_bag(
            ids, self.content, starts, mode="sum", per_sample_weights=weights
        )

    @torch.no_grad()
    def restore(self, path: Path) -> None:
        """Takes the table of an earlier run."""
        with np.load(path) as saved:
            self.content.copy_(torch.from_numpy(saved["content"]))
            self.log_weight.copy_(torch.from_numpy(saved["weight"]).log())

    @torch.no_grad()
    def save(self, path: Path) -> None:
        """Writes the table."""
        np.savez(path, content=self.content.numpy(), weight=self.log_weight.exp().numpy())


class Teacher:
    """The teacher's probabilities of each passage for each query of a batch."""

    def __init__(self, work: Path, ids: list[str], temperature: float) -> None:
        """Reads the vectors of the packages ``ids``, in that order."""
        with np.load(work / "teacher.npz") as saved:
            row = {key: i for i, key in enumerate(saved["ids"])}
            order = [row[key] for key in ids]
            self.title = torch.from_numpy(saved["title"][order].astype(np.float32))
            self.text = torch.from_numpy(saved["text"][order].astype(np.float32))
        self.temperature = temperature

    def target(self, packages: np.ndarray) -> torch.Tensor:
        """(n, n) float32, rows sum to one: title against description, both English."""
        cosines = self.title[packages] @ self.text[packages].T
        return (cosines / self.temperature).softmax(dim=1)


def drop_tokens(
    texts: list[np.ndarray], share: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Leaves out a share of the tokens at random (never the last, the EOS)."""
    if not share:
        return texts
    kept = []
    for ids in texts:
        keep = rng.random(len(ids)) >= share
        keep[-1] = True
        kept.append(ids[keep])
    return kept


def score(
    encode: Callable[[list[np.ndarray]], np.ndarray],
    tokenizer: Tokenizer,
    made: dict[str, list[tasks.Task]],
) -> list[str]:
    """One line of mean nDCG@10 by width for each kind of task.

    Args:
        encode: From n arrays of token ids to (n, d) float32.
        tokenizer: Appends the EOS.
        made: Tasks by kind; the kinds have the same passages.
    """

    def vectors(texts: list[str]) -> np.ndarray:
        return encode([np.array(e.ids) for e in tokenizer.encode_batch(texts)])

    first = next(iter(made.values()))
    passages = {task.lang: vectors(task.passages) for task in first}
    lines = []
    for kind, own in made.items():
        rows = []
        for task in own:
            asked = vectors([QUERY_PROMPT + query for query in task.queries])
            rows.append(tasks.by_width(asked, passages[task.lang], task.answers))
        means = {width: np.mean([row[width] for row in rows]) for width in tasks.WIDTHS}
        lines.append(" ".join([kind, *(f"{w}:{value:.4f}" for w, value in means.items())]))
    return lines


def train(args: argparse.Namespace) -> Bag:
    """Trains a bag and prints its scores on the development part as it goes."""
    source = pairs.load(
        args.work, seed=args.seed, meaning_share=args.meaning, max_tokens=args.max_tokens
    )
    teacher = Teacher(args.work, source.ids, args.teacher_temperature) if args.distil else None
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    dev = read_rows(args.work / "dev.jsonl.gz")
    made = {name: tasks.build(dev, name == "meaning") for name in ("plain", "meaning")}
    bag = Bag(args.seed)
    if args.start:
        bag.restore(args.work / args.start)
    optimizer = torch.optim.Adam(bag.parameters(), lr=args.rate, betas=(0.9, 0.99), fused=True)
    rng = np.random.default_rng(args.seed)
    began = time.time()
    for step in range(1, args.steps + 1):
        left = 1 - step / args.steps
        optimizer.param_groups[0]["lr"] = args.rate * min(1.0, left / args.decay)
        batch = source.batch(args.batch)
        target = teacher.target(batch.packages) if teacher else None
        vectors = bag(drop_tokens(batch.queries + batch.passages, args.drop, rng))
        loss = matryoshka(
            vectors[: len(batch.queries)],
            vectors[len(batch.queries) :],
            target,
            temperature=args.temperature,
            share=args.distil,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % args.every == 0 or step == args.steps:
            with torch.no_grad():
                lines = score(lambda texts: bag(texts).numpy(), tokenizer, made)
            print(f"{step} {time.time() - began:.0f}s {loss:.4f}", *lines, sep="\n  ", flush=True)
    return bag


def main() -> None:
    """Command line."""
    parser = training_parser(__doc__, out="bag.npz", start="bag")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--decay", type=float, default=0.5, help="last share of steps, rate falls")
    parser.add_argument("--every", type=int, default=500)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    bag = train(args)
    bag.save(args.work / args.out)


if __name__ == "__main__":
    main()
