"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.checking import LEAST_COSINE
from benchmarks.engines import REFERENCE
from benchmarks.targets import table_of_targets

Row = dict[str, Any]
_NONE = "–"


def _numbers(row: Row, workload: str, show: Callable[[Row], str]) -> str:
    if workload in row["refused"]:
        return "failed"
    return show(row[workload]) if workload in row else _NONE


def _speed(d: Row) -> str:
    tokens = d["tokens_per_second"]
    return f"{tokens['median']:,.0f} ({tokens['low']:,.0f}–{tokens['high']:,.0f})"


def _mfu(d: Row) -> str:
    return f"{d['mfu']:.0%}" if "mfu" in d else _NONE


def _served(c: Row) -> str:
    rate = c["served_per_second"]
    shown = f"{rate['median']:,.0f} ({rate['low']:,.0f}–{rate['high']:,.0f})"
    return f"{shown}, {c['failed']} failed" if c["failed"] else shown


def _times(figures: Row) -> str:
    return f"{figures['times']:.2f}×" if "times" in figures else _NONE


def _cold(cold: Row) -> str:
    seconds = cold["seconds"]
    return f"{seconds['median']:.1f} ({seconds['low']:.1f}–{seconds['high']:.1f})"


def _worst(row: Row) -> str:
    cosines = [row[w]["worst_cosine"] for w in ("D", "Q", "C") if "worst_cosine" in row.get(w, {})]
    return f"{min(cosines):.6f}" if cosines else _NONE


#: Heading and cell of every column.
_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("engine", lambda r: r["title"]),
    ("precision", lambda r: r["dtype"] or _NONE),
    ("batch", lambda r: batch(r)),
    ("D tokens/s", lambda r: _numbers(r, "D", _speed)),
    ("×", lambda r: _numbers(r, "D", _times)),
    ("MFU", lambda r: _numbers(r, "D", _mfu)),
    (
        "Q p50 / p95 ms",
        lambda r: _numbers(r, "Q", lambda q: f"{q['p50_ms']:.1f} / {q['p95_ms']:.1f}"),
    ),
    ("×", lambda r: _numbers(r, "Q", _times)),
    ("C queries/s", lambda r: _numbers(r, "C", _served)),
    ("×", lambda r: _numbers(r, "C", _times)),
    ("cold start s", lambda r: _numbers(r, "cold", _cold)),
    (
        "RSS steady / peak MB",
        lambda r: _numbers(r, "memory", lambda m: f"{m['steady_mb']:,.0f} / {m['peak_mb']:,.0f}"),
    ),
    ("worst cosine", _worst),
)


def batch(row: Row) -> str:
    """Return the batch size as the table shows it."""
    if row["batch_size"] is None:
        return _NONE
    return f"{row['batch_size']}, its best" if row["tuned"] else str(row["batch_size"])


def markdown(results: dict[str, Any]) -> str:
    """Return the tables, with what they were measured on.

    Args:
        results: Content of `results.json`.
    """
    lines = ["# Speed", "", *_conditions(results), ""]
    lines += _table(
        [h for h, _ in _COLUMNS], [[c(r) for _, c in _COLUMNS] for r in results["rows"]]
    )
    lines += ["", *_notes(results)]
    targets = table_of_targets(results)
    if targets:
        lines += ["", "## What was aimed at", ""]
        if "avx512f" not in results["machine"]["cpu_features"]:
            lines += ["Set for processors with AVX-512, which this one lacks.", ""]
        lines += _table(["", "float32", "asked", "bfloat16", "asked"], targets)
    return "\n".join(lines) + "\n"


#: Heading and cell of every column that the README shows.
_SUMMARY: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("", lambda r: r["title"] + (f", batch {r['batch_size']}" if r["tuned"] else "")),
    ("precision", lambda r: r["dtype"] or _NONE),
    ("documents, tokens/s", lambda r: _numbers(r, "D", _rate)),
    ("×", lambda r: _numbers(r, "D", _times)),
    ("one query, ms", lambda r: _numbers(r, "Q", lambda q: f"{q['p50_ms']:.1f}")),
    ("×", lambda r: _numbers(r, "Q", _times)),
    ("16 callers, queries/s", lambda r: _numbers(r, "C", _rate_served)),
    ("×", lambda r: _numbers(r, "C", _times)),
    ("cold start, s", lambda r: _numbers(r, "cold", lambda c: f"{c['seconds']['median']:.1f}")),
    ("MB", lambda r: _numbers(r, "memory", lambda m: f"{m['steady_mb']:,.0f}")),
)
_BEGIN, _END = "<!-- speed: begin -->\n", "<!-- speed: end -->"


def put_summary(readme: str, results: dict[str, Any]) -> str:
    """Return the README with the short table of the results between its two marks."""
    head, _, rest = readme.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    cells = [[cell(row) for _, cell in _SUMMARY] for row in results["rows"]]
    table = "\n".join(_table([heading for heading, _ in _SUMMARY], cells))
    return f"{head}{_BEGIN}{table}\n{_END}{tail}"


def _rate(d: Row) -> str:
    return f"{d['tokens_per_second']['median']:,.0f}"


def _rate_served(c: Row) -> str:
    return f"{c['served_per_second']['median']:,.0f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _conditions(results: dict[str, Any]) -> list[str]:
    machine, work, settings = results["machine"], results["workload"], results["settings"]
    features = ", ".join(machine["cpu_features"])
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    first, last = results["load_average"]
    measured = (
        f"Measured {machine['date']} by `{results['command']}` on {machine['cpu']} "
        f"({machine['cores']} cores; {features}), {machine['system']}, Python {machine['python']}, "
        f"{packages}. Load average before {first}, after {last} (this run included)."
    )
    texts = (
        f"Model: {results['model']}. **D**: {work['documents']} documents in {work['languages']} "
        f"languages, {work['document_tokens']:,} tokens (median {work['median_tokens']:.0f}, "
        f"longest {work['longest_tokens']}). **Q**: {settings['queries']} single queries of "
        f"{work['median_query_tokens']:.0f} tokens (median, of which {work['prompt_tokens']} are "
        f"the instruction). **C**: {settings['threads']} threads asking {settings['at_once']} "
        "single queries at once; only right answers count. **Cold start**: from the start of a "
        "process to its first vector. **RSS**: after D and Q, and at its peak until then."
    )
    rounds = (
        f"Every engine in its own process, {settings['rounds']} rounds in which the engines take "
        "turns, each with another share of the documents: median (lowest–highest). × compares "
        "with sentence-transformers in float32 at its default batch, round by round. No time "
        f"counts unless the vectors agree with those of {REFERENCE}: cosine ≥ "
        f"{LEAST_COSINE['float32']} in float32, ≥ {LEAST_COSINE['bfloat16']} in bfloat16."
    )
    return [measured, "", texts, "", rounds]


def _notes(results: dict[str, Any]) -> list[str]:
    ceiling = ", ".join(
        f"{dtype} {c['median']:,.0f} GFLOP/s ({c['low']:,.0f}–{c['high']:,.0f}; "
        f"{'×'.join(map(str, c['shape']))}, {c['kernel']})"
        for dtype, c in results["ceiling"].items()
    )
    explained = (
        "Ceiling: the fastest of the model's own matrix products, measured in every round: "
        f"{ceiling}. MFU: FLOPs of the whole model by formula ({results['model_flops']}) over that "
        "ceiling; nominal, so work that an engine leaves out counts as done."
    )
    lines = [explained]
    for row in results["rows"]:
        reasons: dict[str, list[str]] = {}
        for workload, reason in row["refused"].items():
            reasons.setdefault(reason, []).append(workload)
        for reason in row.get("C", {}).get("failures", []):
            reasons.setdefault(reason, []).append("C")
        for reason, workloads in reasons.items():
            lines += ["", f"`{row['engine']}`, {', '.join(workloads)}: {reason}"]
    for engine, reason in results["absent"].items():
        lines += ["", f"`{engine}`: {reason}"]
    return lines
