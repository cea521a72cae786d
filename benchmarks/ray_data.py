"""Throughput and memory of Ray workers of one core each, two against one.

    python -m benchmarks.ray_data [--rows 20000] [--rounds 3] [--model FOLDER_OR_HUB_ID]

Writes `benchmarks/ray_data.json` and `benchmarks/ray_data.md`. Each measurement has a cluster of
its own. The clock runs while every worker is at work: from the first block that the last of them
finished to the last block but one of each, so that neither the start nor the end of Ray counts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks.machine import describe_machine, load_average
from benchmarks.texts import CORPUS
from f2llm_core import F2LLM
from f2llm_core.distributed import embed_dataset
from f2llm_core.instructions import Side
from f2llm_core.pipeline import Pipeline

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "models" / "f2llm-demo"
ASKED = 1.7  # times the throughput of one worker
_BATCH = 200  # rows of a block
_CHARACTERS = 600  # of a passage at most
_EVERY = 0.2  # seconds between two looks
_STORE = 200 * 2**20  # bytes of the object store
_MB = 10**6
_NOTES = "F2LLM_BENCHMARK_NOTES"


def main() -> None:
    """Measure in turns, or one measurement where a number of workers is given."""
    arguments = _parse()
    if arguments.workers:
        print(json.dumps(measure(arguments.model, arguments.rows, arguments.workers)))
        return
    before = load_average()
    found: dict[str, list[dict[str, Any]]] = {"1": [], "2": []}
    for _ in range(arguments.rounds):
        for workers, rounds in found.items():
            rounds.append(_apart(arguments, workers))
            print(workers, rounds[-1], file=sys.stderr)
    results = {
        "machine": describe_machine(),
        "load_average": [before, load_average()],
        "model": Path(arguments.model).name,
        "rows": arguments.rows,
        "batch_size": _BATCH,
        "workers": found,
        "times": _times(found),
    }
    (HERE / "ray_data.json").write_text(f"{json.dumps(results, indent=2)}\n", "utf-8")
    (HERE / "ray_data.md").write_text(markdown(results), "utf-8")


def measure(model: str, rows: int, workers: int) -> dict[str, Any]:
    """Embed the corpus once, on a cluster of its own.

    Returns:
        Tokens a second while all workers were busy, the cores that each of them used, and memory in
        MB at the beginning and at the end.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_LOG_LEVEL"] = "ERROR"
    import ray

    with tempfile.TemporaryDirectory() as scratch:
        output, notes = Path(scratch) / "vectors", Path(scratch) / "notes"
        notes.mkdir()
        os.environ[_NOTES] = str(notes)  # before Ray starts, whose workers inherit it
        ray.init(
            num_cpus=workers + 1,
            include_dashboard=False,
            object_store_memory=_STORE,
            logging_level=logging.ERROR,
        )
        encoder = _Noting(model)
        texts = dict(zip(map(str, range(rows)), numbered_texts(), strict=False))
        items = [{"id": id_, "text": text} for id_, text in texts.items()]
        watch = _Watch(notes)
        watch.start()
        dataset = ray.data.from_items(items, override_num_blocks=max(1, rows // _BATCH))
        report = embed_dataset(dataset, encoder, output, batch_size=_BATCH, workers=workers)
        watch.over.set()
        watch.join()
        if report.embedded != rows:
            msg = f"{report.embedded} rows of {rows} were embedded."
            raise SystemExit(msg)
        seconds, parts = _steady(output, notes)
        ids = [id_ for path in parts for id_ in pq.read_table(path, columns=["id"])["id"]]
        tokens = sum(encoder.count_tokens([texts[str(id_)] for id_ in ids]))
    ray.shutdown()
    return {"tokens_per_second": tokens / seconds, "seconds": seconds, **watch.figures()}


class _Noting(F2LLM):
    """Leaves an empty file `PROCESS-NUMBER` whenever a worker begins to embed a block."""

    def _pipeline(self, side: Side | None) -> Pipeline:
        (Path(os.environ[_NOTES]) / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return super()._pipeline(side)


def _begun(notes: Path) -> dict[int, list[float]]:
    """Return for each worker's process when it began its blocks, in their order."""
    begun: dict[int, list[float]] = {}
    for note in notes.iterdir():
        begun.setdefault(int(note.name.split("-")[0]), []).append(note.stat().st_mtime)
    return {pid: sorted(times) for pid, times in begun.items()}


class _Watch(threading.Thread):
    """Sees what time and memory each worker takes."""

    def __init__(self, notes: Path) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self._notes = notes
        self._processes: dict[int, list[_Sample]] = {}
        self._objects: list[int] = []  # bytes in the object store

    def run(self) -> None:
        """Look until it is over."""
        while not self.over.wait(_EVERY):
            if pids := list(_begun(self._notes)):
                self._sample(pids)

    def figures(self) -> dict[str, Any]:
        """Return the cores that a worker used, and the most memory at first and at last, in MB."""
        used = [(s[-1].cpu - s[0].cpu) / (s[-1].at - s[0].at) for s in self._processes.values()]
        sizes = [[sample.resident for sample in s] for s in self._processes.values()]
        return {
            "workers": len(self._processes),
            "cores_per_worker": max(used),
            "worker_mb": [
                max(map(max, part)) // _MB for part in zip(*map(_ends, sizes), strict=True)
            ],
            "objects_mb": [max(part) // _MB for part in _ends(self._objects)],
        }

    def _sample(self, pids: list[int]) -> None:
        import ray

        free = ray.available_resources().get("object_store_memory", _STORE)  # type: ignore[no-untyped-call]
        self._objects.append(int(_STORE - free))
        for pid in pids:
            with suppress(OSError):
                self._processes.setdefault(pid, []).append(_Sample.of(pid))


class _Sample(NamedTuple):
    """A process at some time: seconds, seconds of a core so far, bytes of memory."""

    at: float
    cpu: float
    resident: int

    @classmethod
    def of(cls, pid: int) -> _Sample:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cls(time.monotonic(), cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def _ends(samples: list[int]) -> tuple[list[int], list[int]]:
    """Return the first and the last third."""
    third = max(1, len(samples) // 3)
    return samples[:third], samples[-third:]


def _steady(output: Path, notes: Path) -> tuple[float, list[Path]]:
    """Return for how many seconds all workers were busy, and the parts written meanwhile."""
    times = list(_begun(notes).values())
    # A block ends where its worker begins the next one.
    begin, end = max(t[1] for t in times), min(t[-1] for t in times)
    parts = [path for path in output.glob("part-*") if begin < path.stat().st_mtime <= end]
    return end - begin, parts


def numbered_texts() -> Iterator[str]:
    """Yield different texts without end: passages of the shipped corpus, numbered."""
    passages = [json.loads(line)["text"] for line in CORPUS.read_text("utf-8").splitlines()]
    return (f"{n}: {passages[n % len(passages)][:_CHARACTERS]}" for n in count())


def _apart(arguments: argparse.Namespace, workers: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ray_data", "--workers", workers]
    command += ["--rows", str(arguments.rows), "--model", arguments.model]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    found = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    figures: dict[str, Any] = json.loads(found)
    return figures


def _times(found: dict[str, list[dict[str, Any]]]) -> list[float]:
    """Return, round by round, the throughput of two workers in that of one."""
    rates = [[one["tokens_per_second"] for one in rounds] for rounds in found.values()]
    return [two / one for one, two in zip(*rates, strict=True)]


def markdown(results: dict[str, Any]) -> str:
    """Write the findings as a page."""
    machine, times = results["machine"], results["times"]
    mark = "✓" if median(times) >= ASKED else "✗"
    lines = [
        "# Ray workers",
        "",
        f"Measured {machine['date']} by `python -m benchmarks.ray_data` on {machine['cpu']}",
        f"({machine['cores']} cores), load average before {results['load_average'][0]}, with",
        f"{results['model']}: {results['rows']:,} passages in blocks of {results['batch_size']}, ",
        "each worker with one thread. Tokens a second while all workers were busy, median",
        "(lowest–highest); memory is the most in the first and in the last third of the time.",
        "",
        "| workers | tokens/s | cores used by each | MB of a worker | MB of objects |",
        "|---|---|---|---|---|",
    ]
    for workers, rounds in results["workers"].items():
        rates = [one["tokens_per_second"] for one in rounds]
        cores = median(one["cores_per_worker"] for one in rounds)
        worker, objects = (
            " → ".join(f"{max(one[name][end] for one in rounds)}" for end in (0, 1))
            for name in ("worker_mb", "objects_mb")
        )
        rate = f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"
        lines.append(f"| {workers} | {rate} | {cores:.2f} | {worker} | {objects} |")
    compared = (
        f"{median(times):.2f} times ({min(times):.2f}–{max(times):.2f}) the throughput of one"
    )
    lines += ["", f"Two workers make {compared}; asked: at least {ASKED} {mark}.", ""]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=str(DEMO))
    parser.add_argument("--workers", type=int, help="measure once, and print it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
