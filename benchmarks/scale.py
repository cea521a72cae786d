"""What a corpus costs in bytes, hours and money, by formula; and the formulas against a small run.

python -m benchmarks.scale [--chunks 1e9] [--tokens 200] [--price 1]     # the tables
python -m benchmarks.scale --write                                       # into docs/scale.md
python -m benchmarks.scale --rows 20000                                  # the check
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.ray_data import DEMO, numbered_texts
from f2llm_core import F2LLM, open_store
from f2llm_core.cli.shared import open_collection
from f2llm_core.distributed import embed_tables
from f2llm_core.distributed.folder import VectorDType
from f2llm_core.models import MODELS

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results.json", HERE.parent / "docs" / "scale.md"
TEXT_HASH = 8  # bytes of a row in Parquet beside id and vector
LINKS = 148  # bytes of a row in HNSW beside its vector: 32 links of the lowest level, label, counts
KEY = 24  # bytes of a done row in memory, of the driver and of each node
_ITEM: dict[VectorDType, int] = {"float32": 4, "float16": 2}
_RATES = (50_000.0, 500_000.0)  # tokens a second of one worker, beside the measured one
_BATCH = 1024
_SHARE = 10  # of the rows: those that the rate is taken from


def parquet_bytes(rows: float, width: int, dtype: VectorDType, id_bytes: float) -> float:
    """Return the size of a folder, before zstd, which takes off some percent."""
    return rows * (width * _ITEM[dtype] + TEXT_HASH + id_bytes + 4)  # and the id's length


def index_bytes(rows: float, width: int) -> float:
    """Return the size of an HNSW index in float32, on disk and in memory; texts not included."""
    return rows * (4 * width + LINKS)


def hours(rows: float, tokens: float, rate: float) -> float:
    """Return the hours of one worker.

    Args:
        rows: Chunks.
        tokens: Of each, on average, EOS included.
        rate: Tokens a second of the worker.
    """
    return rows * tokens / rate / 3600


def sizes(chunks: float) -> str:
    """Write the table of bytes, by width."""
    lines = [
        "| width | full width of | Parquet float32 | Parquet float16 | HNSW |",
        "|---|---|---|---|---|",
    ]
    full = {spec.width: spec.name for spec in MODELS.values()}
    for width in sorted({64, 128, 256, 512, *full}):
        found = [parquet_bytes(chunks, width, dtype, 16) for dtype in _ITEM]
        cells = " | ".join(f"{size / 1e9:,.0f}" for size in (*found, index_bytes(chunks, width)))
        lines.append(f"| {width} | {full.get(width, '')} | {cells} |")
    return "\n".join(lines)


def times(chunks: float, tokens: float, price: float) -> str:
    """Write the table of hours, by the speed of a worker; the first was measured."""
    lines = [
        f"| tokens/s of a worker | worker hours | days with 64 | cost at {price:g} an hour |",
        "|---|---|---|---|",
    ]
    rates: dict[float, str] = {
        _measured(): " (80M, bfloat16, two CPU cores)",
        **dict.fromkeys(_RATES, ""),
    }
    for rate, whose in rates.items():
        needed = hours(chunks, tokens, rate)
        days, cost = needed / 24 / 64, needed * price
        lines.append(f"| {rate:,.0f}{whose} | {needed:,.0f} | {days:,.1f} | {cost:,.0f} |")
    return "\n".join(lines)


def _measured() -> float:
    """Return the tokens a second of this engine in `results.json`."""
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    [row] = [row for row in rows if row["engine"] == "f2llm-bf16"]
    return float(row["D"]["tokens_per_second"]["median"])


def put_tables(page: str) -> str:
    """Return the page with its two tables, for a thousand million chunks, made again."""
    for name, table in (("sizes", sizes(1e9)), ("times", times(1e9, 200, 1))):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def check(rows: int, dimensions: int | None) -> str:
    """Predict size and time of a small run, do it, and write both as Markdown."""
    model = F2LLM(DEMO, dimensions=dimensions)
    texts = list(islice(numbered_texts(), rows))
    first = texts[: max(1, rows // _SHARE)]
    tokens = sum(model.count_tokens(texts)) / rows
    width, id_bytes = model.dimensions, sum(len(str(n)) for n in range(rows)) / rows
    lines = [
        f"{rows:,} passages of {tokens:.0f} tokens with {DEMO.name} at width {width}:",
        "",
        "|  | predicted | actual | actual / predicted |",
        "|---|---|---|---|",
    ]

    def add(what: str, predicted: float, actual: float, unit: str) -> None:
        numbers = f"{predicted:,.1f} {unit} | {actual:,.1f} {unit} | {actual / predicted:.2f}"
        lines.append(f"| {what} | {numbers} |")

    with tempfile.TemporaryDirectory() as scratch:
        model.encode_document(first[:8])  # loads the weights
        rate = _run(model, first, Path(scratch) / "first", "float32")[2]
        for dtype in _ITEM:
            size, seconds, _ = _run(model, texts, Path(scratch) / dtype, dtype)
            add(f"Parquet {dtype}", parquet_bytes(rows, width, dtype, id_bytes) / 1e6, size, "MB")
        predicted = hours(rows, tokens, rate) * 3600
        add(f"time at the rate of a {_SHARE}th ({rate:,.0f} tokens/s)", predicted, seconds, "s")
        actual = _index(Path(scratch) / "chroma", rows, width)
        add("HNSW in Chroma", index_bytes(rows, width) / 1e6, actual, "MB")
    return "\n".join(lines)


def _run(model: F2LLM, texts: list[str], output: Path, dtype: VectorDType) -> tuple[float, ...]:
    """Embed texts; return MB, seconds and tokens a second."""
    begin = time.perf_counter()
    report = embed_tables(_tables(texts), model, output, vector_dtype=dtype)
    seconds = time.perf_counter() - begin
    size = sum(path.stat().st_size for path in output.glob("part-*"))
    return size / 1e6, seconds, report.tokens / seconds


def _tables(texts: Iterable[str]) -> Iterator[pa.Table]:
    rows = enumerate(texts)
    while block := list(islice(rows, _BATCH)):
        ids, passages = zip(*block, strict=True)
        yield pa.table({"id": list(map(str, ids)), "text": list(passages)})


def _index(folder: Path, rows: int, width: int) -> float:
    """Fill a collection with random vectors; return the MB of its index."""
    store = open_store(open_collection(folder, "rows"))
    random = np.random.default_rng(0)
    for start in range(0, rows, _BATCH):
        ids = [str(n) for n in range(start, min(rows, start + _BATCH))]
        vectors = random.normal(size=(len(ids), width)).astype(np.float32)
        store.upsert(ids, vectors, [""] * len(ids), [{"n": id_} for id_ in ids])
    files = (path for path in folder.rglob("*.bin"))
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    """Print the tables, or the check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=float, default=1e9)
    parser.add_argument("--tokens", type=float, default=200, help="of a chunk, on average")
    parser.add_argument("--price", type=float, default=1.0, help="of an hour of a worker")
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--rows", type=int, help="check the formulas with so many passages")
    parser.add_argument("--dimensions", type=int, help="width for the check")
    given = parser.parse_args()
    if given.rows:
        print(check(given.rows, given.dimensions))
    elif given.write:
        PAGE.write_text(put_tables(PAGE.read_text("utf-8")), "utf-8")
    else:
        print(sizes(given.chunks), times(given.chunks, given.tokens, given.price), sep="\n\n")


if __name__ == "__main__":
    main()
