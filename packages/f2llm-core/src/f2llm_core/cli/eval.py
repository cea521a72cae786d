"""`f2llm eval`: how well a model finds things in your own data, and which width it needs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.eval_systems import choose_systems
from f2llm_core.cli.output import print_json
from f2llm_core.cli.shared import debug_option, examples, json_option, load_options

if TYPE_CHECKING:  # much comes with it, and --help must not wait for it
    from f2llm_core.evaluation.results import EvaluationResults

_ARGUMENTS = "f2llm_core.eval.arguments"


class _Remembering(click.Command):
    """Keeps its arguments as they were typed, for the report."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def _output(_: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a file that could not be written, before anything is computed."""
    if value is not None and not os.access(value.parent, os.W_OK):
        problem = "cannot be written to" if value.parent.is_dir() else "does not exist"
        msg = f"the folder {value.parent} {problem}."
        raise click.BadParameter(msg, param=parameter)
    return value


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command(
    "eval",
    cls=_Remembering,
    epilog=examples(
        "f2llm eval 80M beir/scifact --html report.html",
        "f2llm eval 80M pairs.jsonl --model 0.6B --dtype bfloat16,int8",
        "f2llm eval 80M parallel.jsonl --language de --language ja --code-switch de",
        "f2llm eval 80M pairs.jsonl --stock",
    ),
)
@click.argument("model")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", help="beir, mteb, pairs or parallel; by default what DATA looks like.")
@click.option("--field", multiple=True, help="As in query=question: a field of another name.")
@click.option("--split", help="Which judgements; by default test, or the only ones.")
@click.option("--language", multiple=True, help="Only this one; repeatable.")
@click.option("--code-switch", help="Language whose words are mixed into the others' queries.")
@click.option("--model", "others", multiple=True, help="Another model to compare; repeatable.")
@click.option("--baseline", multiple=True, help="module:Class?option=value&…; repeatable.")
@click.option("--stock", is_flag=True, help="Also MODEL in the frameworks' own integrations.")
@click.option("--dimensions", multiple=True, type=int, help="Width to try; repeatable.")
@click.option(
    "--metric",
    multiple=True,
    help="As in R@100; repeatable. Widths and systems are judged by the first.",
)
@click.option("--task", help="Preset of the instruction, for example code.")
@click.option("--instruction", help="Of the queries, instead of the task's.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of everything random.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    help="Of the intervals and tests.",
)
@click.option("--speed", is_flag=True, help="Measure speed, which no two runs have the same.")
@click.option("--cache", is_flag=True, help="Keep vectors on disk for the next time.")
@click.option("--run", type=_FILE, callback=_output, help="Write MODEL's ranking for trec_eval.")
@click.option("--html", type=_FILE, callback=_output, help="Write a report, one page.")
@load_options
@json_option
@debug_option
@click.pass_context
def eval_(context: click.Context, /, **options: Any) -> None:  # noqa: ANN401  (click's values)
    """Evaluate MODEL on your own queries.

    DATA is a folder in BEIR's layout or that of MTEB's retrieval sets, or a file of JSON lines:
    pairs of query and text, or parallel texts with id, lang and text. One encoding serves every
    width. --dtype may name several, as in float32,int8; the first is compared with the others.
    """
    from f2llm_core.evaluation.metrics import DEFAULT_METRICS
    from f2llm_core.evaluation.reading import read_dataset
    from f2llm_core.evaluation.run import evaluate
    from f2llm_core.evaluation.statistics import Resampling
    from f2llm_core.evaluation.systems import without_secrets

    systems = choose_systems(options)
    dataset = read_dataset(
        options["data"],
        format=options["format"],
        fields=_fields(options["field"]),
        split=options["split"],
        languages=options["language"] or None,
        code_switch=options["code_switch"],
        seed=options["seed"],
    )
    done: list[EvaluationResults] = []
    try:
        evaluate(
            systems,
            dataset,
            widths=options["dimensions"] or None,
            metrics=options["metric"] or DEFAULT_METRICS,
            task=options["task"],
            resampling=Resampling(options["seed"], options["resamples"]),
            timed=options["speed"],
            run_file=options["run"],
            command=shlex.join(["f2llm", "eval", *map(without_secrets, context.meta[_ARGUMENTS])]),
            finished=done.append,
        )
    finally:  # hours of work, which a system that fails after them must not take along
        if done:
            _show(done[-1], options)


def _show(results: EvaluationResults, options: dict[str, Any]) -> None:
    if options["as_json"]:
        print_json(results.to_dict())
    else:
        from f2llm_core.evaluation.terminal import print_results

        print_results(results, sys.stdout)
    if options["html"] is not None:
        from f2llm_core.evaluation.report import write_html

        write_html(results, options["html"])


def _fields(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [field.partition("=") for field in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            msg = f"--field {name}{equals}{value}: expected NAME=FIELD, as in query=question."
            raise click.UsageError(msg)
    return {name: value for name, _, value in pairs}
