"""The progress bar of a sweep: it counts the marks that finished runs leave in their job folders,
so that it works with every launcher."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

MARK = "run_key"
"""The file by which a job says that its row is in the store."""


class ProgressBar:
    """Counts marks under ``jobs``, from a thread, until it is left."""

    def __init__(self, jobs: Path, total: int | None) -> None:
        self._jobs, self._total, self._start = jobs, total, time.time()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar down: what is printed next has the terminal for itself."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("runs", total=self._total)
            while True:
                ended = self._ended.wait(0.3)
                marks = list(self._jobs.glob(f"*/{MARK}"))
                fresh = sum(mark.stat().st_mtime >= self._start - 1 for mark in marks)
                progress.update(task, completed=fresh)
                if ended:
                    return
