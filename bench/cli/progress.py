"""The progress bar of a sweep: it counts the files that finished jobs leave, so that it works with
every launcher."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.results.jobs import JobFolder


class ProgressBar:
    """Counts the jobs that have ended, from a thread, until it is left."""

    def __init__(self, jobs: JobFolder, total: int | None) -> None:
        self._jobs, self._total = jobs, total
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
            pause = 0.3
            while True:
                ended = self._ended.wait(pause)
                start = time.perf_counter()
                progress.update(task, completed=self._jobs.count("done", "failed"))
                # Of ten thousand jobs, or on a shared file system, counting takes its time.
                pause = max(0.3, 20 * (time.perf_counter() - start))
                if ended:
                    return
