"""Stage 3: a weighted mean of the transformer and of a bag that was trained further.

    python -m tools.demo_model.mix --work work --share 0.5

Stage 2 starts from a bag, so its weights stand near that bag's, and so do those of the same bag
trained on: on the way between them both kinds of progress are kept.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .tokenizer import EOS
from .transformer import Shape, start_as_bag


def exact(work: Path, name: str) -> dict[str, torch.Tensor]:
    """Weights of the transformer that is a bag and nothing else."""
    eos = Tokenizer.from_file(str(work / "tokenizer.json")).token_to_id(EOS) or 0
    torch.manual_seed(0)
    with np.load(work / name) as bag:
        return start_as_bag(Shape(), bag["content"], bag["weight"], eos, quiet=0.0).state_dict()


def mix(
    start: dict[str, torch.Tensor],
    trained: dict[str, torch.Tensor],
    better: dict[str, torch.Tensor],
    share: float,
) -> dict[str, torch.Tensor]:
    """The better bag plus a share of what the transformer learned since it started.

    Args:
        start: Weights of the bag that stage 2 started from.
        trained: Weights after stage 2.
        better: Weights of the bag trained on.
        share: 0 for the bag alone, 1 for all of stage 2.
    """
    return {key: better[key] + share * (trained[key] - start[key]) for key in start}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--start", default="bag.npz", help="what stage 2 started from")
    parser.add_argument("--trained", default="model.pt", help="what stage 2 wrote")
    parser.add_argument("--better", default="bag-2.npz", help="the bag, trained on")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--out", default="mixed.pt", help="file name in the work folder")
    args = parser.parse_args()
    trained = torch.load(args.work / args.trained, weights_only=True)
    start, better = exact(args.work, args.start), exact(args.work, args.better)
    torch.save(mix(start, trained, better, args.share), args.work / args.out)


if __name__ == "__main__":
    main()
