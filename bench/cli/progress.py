"""What a sweep shows while it runs: a bar in a terminal, and one line per run that has ended.

It reads the files that jobs leave in the sweep's folder, so that it works with every launcher.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.cli.run_line import run_line
from bench.report.wording import plural
from bench.results.folder import SweepFolder
from bench.results.jobs import JobFolder, JobRecord

_LAST_BYTES = 400
"""Bytes at the end of a log that contain its last line."""


class ProgressBar:
    """A context manager with a thread that counts the jobs that have ended.

    In a terminal a bar shows the stage of the present run and the time left; elsewhere, as in a
    log of CI, there are only the lines.
    """

    def __init__(self, folder: Path, jobs: JobFolder) -> None:
        self._folder, self._jobs, self._total = SweepFolder(folder), jobs, jobs.total()
        self._seen: set[str] = set()
        self._stored_before = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the bar, so that the next output has the terminal."""
        self._ended.set()
        self._thread.join()
        if self._stored_before:
            runs = plural(self._stored_before, "run")
            self._console.print(f"{runs} finished before: not measured again")

    def _watch(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        terminal = self._console.is_terminal
        with Progress(*columns, console=self._console, disable=not terminal) as progress:
            task = progress.add_task("runs", total=self._total)
            pause = 0.3
            while True:
                over = self._ended.wait(pause)
                start = time.perf_counter()
                self._total = self._jobs.total()
                for name, record in self._jobs.ended(self._seen):
                    self._seen.add(name)
                    self._say(record, progress)
                stage = self._stage() if terminal and not over else ""
                progress.update(
                    task, completed=len(self._seen), total=self._total, description=stage or "runs"
                )
                # With ten thousand jobs, or on a shared file system, counting is slow.
                pause = max(0.3, 20 * (time.perf_counter() - start))
                if over:
                    return

    def _say(self, record: JobRecord, progress: Progress) -> None:
        """Print the line of a run that has ended; runs finished before are only counted."""
        if not record.run_key and not record.error:
            self._stored_before += 1
            return
        number = f"{len(self._seen)}" + (f"/{self._total}" if self._total else "")
        progress.console.print(Text(f"{number}  {run_line(self._folder, record)}"))

    def _stage(self) -> str:
        """What the run that started first is doing, from its log."""
        running = self._jobs.records("running")
        if not running or not running[0].run_key:
            return ""
        try:
            with self._folder.log(running[0].run_key).open("rb") as log:
                log.seek(0, 2)
                log.seek(max(0, log.tell() - _LAST_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        begun = [line.rpartition("INFO")[2].strip() for line in lines if line.endswith(" ...")]
        return begun[-1].removesuffix(" ...") if begun else ""
