"""What both stages of training are told on the command line."""

import argparse
from pathlib import Path


def training_parser(doc: str | None, *, out: str, start: str) -> argparse.ArgumentParser:
    """Options that both stages share; each adds its own.

    Args:
        doc: The stage's docstring, whose first line describes it.
        out: Default name of what it writes.
        start: What an earlier run left, that it can begin with.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--out", default=out, help="file name in the work folder")
    parser.add_argument("--start", help=f"{start} of an earlier run in the work folder")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--drop", type=float, default=0.1, help="share of tokens left out")
    parser.add_argument("--meaning", type=float, default=0.2, help="share of meaning-only queries")
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--distil", type=float, default=0.0, help="weight of the teacher")
    parser.add_argument("--teacher-temperature", type=float, default=0.05)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    return parser
