"""What surrounds a sweep: a progress bar while it runs, the table and the report at its end.

A Hydra callback, so that it works with every launcher: it watches the marks that finished runs
leave in their job folders, and reads the rows from the store.
"""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.report.console import print_table
from bench.report.page import write_report
from bench.results.store import RowStore
from bench.results.table import make_table, write_table

MARK = "run_key"
"""The file by which a job says that its row is in the store."""


class SweepReport(Callback):
    """Progress, then ``table.csv``, ``table.parquet``, ``report.html`` and the printed answer."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        counts = (len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override())
        jobs = Path(config.hydra.sweep.dir)
        self._thread = threading.Thread(
            target=self._watch, args=(jobs, math.prod(counts), time.time()), daemon=True
        )
        self._thread.start()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        conclude(Path(config.sweep.out))

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        conclude(Path(config.sweep.out))

    def _watch(self, jobs: Path, total: int, start: float) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("runs", total=total)
            while True:
                ended = self._ended.wait(0.3)
                marks = list(jobs.glob(f"*/{MARK}"))
                fresh = sum(mark.stat().st_mtime >= start - 1 for mark in marks)
                progress.update(task, completed=fresh)
                if ended:
                    return


def conclude(out: Path) -> None:
    """Write the table and the report from the rows in the store, print both."""
    table = make_table(RowStore(out).rows())
    if table.empty:
        return
    write_table(table, out)
    report = write_report(out)
    console = Console()
    print_table(table, console)
    console.print(f"Table: {out / 'table.csv'}   Report: {report}", soft_wrap=True)
