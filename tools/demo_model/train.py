"""Stage 2: the transformer, started as the bag of stage 1, trained on the same pairs.

    python -m tools.demo_model.train --work work --steps 1000

Writes ``model.pt`` (the running average of the weights) into the work folder.
"""

import argparse
import math
import time

import numpy as np
import torch
from tokenizers import Tokenizer

from . import pairs, tasks
from .arguments import training_parser
from .bag import Teacher, drop_tokens, score
from .data import read_rows
from .losses import matryoshka
from .tokenizer import EOS
from .transformer import Model, Shape, start_as_bag


def optimizer_of(model: Model, args: argparse.Namespace) -> torch.optim.Optimizer:
    """Adam with a rate of its own for the embedding table, whose rows are seen seldom."""
    table = [model.embed_tokens.weight]
    rest = [p for p in model.parameters() if p is not table[0]]
    groups = [{"params": table, "rate": args.table_rate}, {"params": rest, "rate": args.rate}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=args.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, progress: float, warmth: float) -> None:
    """Warm-up, then a cosine down to nothing; both run from 0 to 1 (and beyond)."""
    scale = min(1.0, warmth) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * scale


def evaluate(model: Model, tokenizer: Tokenizer, made: dict[str, list[tasks.Task]]) -> list[str]:
    """Development scores, in float32 throughout: in bfloat16 they come out lower."""

    def encode(texts: list[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return model.encode(texts).numpy()

    return score(encode, tokenizer, made)


def train(model: Model, args: argparse.Namespace) -> Model:
    """Trains for ``--steps`` or ``--minutes``, whichever ends first; returns the average."""
    source = pairs.load(
        args.work, seed=args.seed + 1, meaning_share=args.meaning, max_tokens=args.max_tokens
    )
    teacher = Teacher(args.work, source.ids, args.teacher_temperature) if args.distil else None
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    dev = read_rows(args.work / "dev.jsonl.gz")
    made = {name: tasks.build(dev, name == "meaning") for name in ("plain", "meaning")}
    optimizer = optimizer_of(model, args)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(args.average)
    )
    averaged: Model = average.module  # type: ignore[assignment]
    model.compile_layers()
    rng = np.random.default_rng(args.seed)
    began = time.time()
    for step in range(1, args.steps + 1):
        progress = max(step / args.steps, (time.time() - began) / (60 * args.minutes))
        set_rate(optimizer, progress, step / args.warm_up)
        loss = train_step(model, source.batch(args.batch), teacher, rng, args)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)
        ended = step == args.steps or progress >= 1
        if step % 10 == 0:
            print(f"{step} {time.time() - began:.0f}s {loss:.4f}", flush=True)
        if step % args.every == 0 or ended:
            print("\n".join(evaluate(averaged, tokenizer, made)), flush=True)
            torch.save(averaged.state_dict(), args.work / args.out)
        if ended:
            break
    return averaged


def train_step(
    model: Model,
    batch: pairs.Batch,
    teacher: Teacher | None,
    rng: np.random.Generator,
    args: argparse.Namespace,
) -> float:
    """Forward and backward of one batch; returns the loss."""
    texts = drop_tokens(batch.queries + batch.passages, args.drop, rng)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = model.encode(texts)
    count = len(batch.queries)
    target = teacher.target(batch.packages) if teacher else None
    loss = matryoshka(
        vectors[:count],
        vectors[count:],
        target,
        temperature=args.temperature,
        share=args.distil,
    )
    loss.backward()
    return loss.item()


def main() -> None:
    """Command line."""
    parser = training_parser(__doc__, out="model.pt", start="state")
    parser.add_argument("--bag", default="bag.npz", help="file name in the work folder")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after, rate annealed")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--table-rate", type=float, default=5e-3)
    parser.add_argument("--warm-up", type=int, default=50, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--average", type=float, default=0.99, help="decay of the running average")
    parser.add_argument("--every", type=int, default=100)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    with np.load(args.work / args.bag) as bag:
        eos = tokenizer.token_to_id(EOS) or 0
        model = start_as_bag(Shape(), bag["content"], bag["weight"], eos)
    if args.start:
        model.load_state_dict(torch.load(args.work / args.start, weights_only=True))
    model = train(model, args)
    torch.save(model.state_dict(), args.work / args.out)


if __name__ == "__main__":
    main()
