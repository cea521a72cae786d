"""Speed of the engine and of its peers, on the same weights and texts, in one run.

    python -m benchmarks.run [--quick] [--engines NAME,…] [--model FOLDER_OR_HUB_ID]

Writes `results.json`, `results.md` and `results.png` into `benchmarks/`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.flops import linear_flops, text_flops
from benchmarks.machine import command, describe_machine, load_average
from benchmarks.picture import draw
from benchmarks.process import missing_modules
from benchmarks.report import markdown, put_summary
from benchmarks.suite import Settings, Suite
from benchmarks.summary import summarize
from benchmarks.texts import Workload, make_workload
from f2llm_core.engine.config import Qwen3Config, read_config
from f2llm_core.engine.hub import fetch, identify
from f2llm_core.testing import sized_checkpoint

HERE = Path(__file__).resolve().parent
QUICK = Settings(documents=24, queries=12, at_once=32, rounds=2, cold_starts=1, tuning_documents=8)


def main() -> None:
    """Measure, or render what was measured."""
    arguments = _parse()
    if not arguments.render:
        results = measure(arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "results.json").write_text(
            json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    render(arguments.out)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark.

    Returns:
        The content of `results.json`.
    """
    settings = QUICK if arguments.quick else Settings()
    given = {k: v for k, v in vars(arguments).items() if k in asdict(settings) and v is not None}
    settings = replace(settings, **given)
    given_pythons = {"openvino": arguments.openvino_python, "llama-cpp": arguments.llama_cpp_python}
    pythons, absent = _available(arguments.engines, given_pythons)
    before, start = load_average(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder, title = _checkpoint(Path(scratch) / "model", arguments.model, arguments.shape)
        for name in pythons:
            if prepare := ENGINES[name].prepare:
                prepare(folder)
        config = read_config(folder / "config.json")
        queries = max(settings.queries, settings.at_once)
        workload = make_workload(folder, settings.documents, queries)
        suite = Suite(folder, workload, settings, pythons, _say)
        suite.run()
    lengths = [[workload.document_tokens[i] for i in share] for share in suite.shares]
    tokens, flops = [sum(share) for share in lengths], [text_flops(config, s) for s in lengths]
    return {
        "command": command(sys.argv[1:]),
        "machine": describe_machine(),
        "load_average": [before, load_average()],
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "model": title,
        "shape": None if arguments.model else arguments.shape,
        "model_flops": _flops_per_token(config, sum(tokens), sum(flops)),
        "settings": asdict(settings),
        "workload": _describe(workload),
        "absent": absent,
        **summarize(suite.lanes, suite.ceilings, tokens, flops),
    }


def render(out: Path) -> None:
    """Write the table and the picture of the results in a folder, and print the table.

    The README shows those of this folder.
    """
    results = json.loads((out / "results.json").read_text("utf-8"))
    table = markdown(results)
    (out / "results.md").write_text(table, encoding="utf-8")
    print(table)
    if out.resolve() == HERE:
        readme = HERE.parent / "README.md"
        readme.write_text(put_summary(readme.read_text("utf-8"), results), encoding="utf-8")
    if find_spec("matplotlib"):
        draw(results, out / "results.png")
    else:
        _say("no picture: matplotlib is not installed")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", help="checkpoint folder or hub id, instead of random weights")
    parser.add_argument("--shape", default="80M", help="released size of the random weights")
    parser.add_argument(
        "--engines",
        type=lambda text: text.split(","),
        default=list(ENGINES),
        metavar="NAME,…",
        help=f"of {', '.join(ENGINES)}; all that are installed by default",
    )
    parser.add_argument(
        "--openvino-python",
        default="",
        metavar="FILE",
        help="interpreter that has sentence-transformers[openvino], which needs an older "
        "transformers than the others",
    )
    parser.add_argument(
        "--llama-cpp-python",
        default="",
        metavar="FILE",
        help="interpreter that has llama-cpp-python, which is built from source (`make e2e`)",
    )
    parser.add_argument("--quick", action="store_true", help="too little to quote, to try it out")
    for name in asdict(Settings()):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--render", action="store_true", help="only table and picture, anew")
    arguments = parser.parse_args()
    if unknown := set(arguments.engines) - ENGINES.keys():
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    return arguments


def _available(
    names: list[str], interpreters: dict[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the interpreter of each engine that is installed, and why the others are absent.

    Args:
        names: Of engines.
        interpreters: For the engines in whose names a word occurs; "" is this one.
    """
    pythons, absent = {}, {}
    for name in names:
        python = next((file for word, file in interpreters.items() if word in name), "")
        if missing := missing_modules(ENGINES[name].needs, python):
            absent[name] = f"not installed ({', '.join(missing)})"
            _say(f"{name}: {absent[name]}")
        else:
            pythons[name] = python
    return pythons, absent


def _checkpoint(target: Path, model: str | None, shape: str) -> tuple[Path, str]:
    """Put a checkpoint at `target`, which every engine is given; return it and what it is."""
    if model is None:
        _say(f"write random weights in the shape of {shape}")
        return sized_checkpoint(target, shape), f"random weights in the shape of F2LLM-v2-{shape}"
    source = identify(model)
    folder = fetch(source, local_files_only=False, token=None)
    target.symlink_to(folder.resolve(), target_is_directory=True)
    return target, source.name if source.folder is None else folder.resolve().name


def _describe(workload: Workload) -> dict[str, Any]:
    return {
        "documents": len(workload.documents),
        "document_tokens": sum(workload.document_tokens),
        "median_tokens": median(workload.document_tokens),
        "longest_tokens": max(workload.document_tokens),
        "median_query_tokens": median(workload.query_tokens),
        "prompt_tokens": workload.prompt_tokens,
        "languages": workload.languages,
    }


def _flops_per_token(config: Qwen3Config, tokens: int, flops: int) -> str:
    linear = linear_flops(config)
    attention = flops / tokens - linear
    return f"per token {linear / 1e6:.1f} M linear, {attention / 1e6:.1f} M causal attention"


def _say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
