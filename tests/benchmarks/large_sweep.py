"""What a sweep of thousands of runs costs when it ends: ``python -m tests.benchmarks.large_sweep``.

Makes one up (``made_up_sweep``) in a folder of its own, packs it, and prints seconds of the
processor and of the clock, and megabytes of the disk; then the table of ten times as many rows
alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from unittest import mock

import pyarrow as pa

from bench.claims.judgements import Judgements
from bench.claims.record import write_claims
from bench.report.page import write_report
from bench.report.summary import summarize
from bench.results.folder import SweepFolder
from bench.results.store import RowStore
from bench.results.table import write_table
from tests.benchmarks.made_up_sweep import made_up_rows, write_sweep

Figures = dict[str, float]


def measure(folder: Path, runs: int, table_rows: int) -> Figures:
    """Of a sweep of so many runs, and of a table of so many rows."""
    found: Figures = {"runs": runs, "table_rows": table_rows}
    with _unflushed():
        write_sweep(folder, runs)
    found["loose_mb"] = _megabytes(folder) - _megabytes(folder / "histograms")
    store = RowStore(folder)
    with _clock(found, "pack"):
        store.pack()
    found["store_mb"] = _megabytes(folder) - _megabytes(folder / "histograms")
    found["histograms_mb"] = _megabytes(folder / "histograms")
    with _clock(found, "table"):
        table = RowStore(folder).table()
        write_table(table, folder)
    with _clock(found, "report"):
        judgements = Judgements(folder)
        summary = summarize(table, judgements)
        write_claims(folder, summary.tidied, judgements)
        write_report(folder, summary)
    found["page_mb"] = SweepFolder(folder).report_html.stat().st_size / 1e6
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    large = folder / "table-alone"
    with _unflushed():
        _write_packed_rows(large, table_rows)
    with _clock(found, "large_table"):
        write_table(RowStore(large).table(), large)
    return found


def _write_packed_rows(folder: Path, count: int) -> None:
    """Rows alone, through the store, 10,000 to a pack."""
    store = RowStore(folder)
    for number, row in enumerate(made_up_rows(count), start=1):
        store.add(row, {})
        if number % 10_000 == 0 or number == count:
            store.pack()


@contextmanager
def _unflushed() -> Iterator[None]:
    """What is made up need not survive a power cut: flushing every file takes most of the time."""
    with mock.patch("os.fsync"):
        yield


@contextmanager
def _clock(found: Figures, name: str) -> Iterator[None]:
    """Seconds of the processor, of all threads, and of the clock."""
    begin, wall = process_time(), perf_counter()
    yield
    found[f"{name}_s"], found[f"{name}_wall_s"] = process_time() - begin, perf_counter() - wall


def _megabytes(folder: Path) -> float:
    """On the disk: a file takes whole blocks."""
    return sum(path.stat().st_blocks for path in folder.rglob("*")) * 512 / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.large_sweep", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--table-rows", type=int, default=100_000)
    options = parser.parse_args(arguments)
    pa.set_cpu_count(1)  # the same figures whatever else the machine does
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.runs, options.table_rows)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
