"""Show the progress of a sweep: ``int8bench status FOLDER``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from bench.cli.command import Parser, plain_command
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.jobs import JobFolder, JobRecord, Progress

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench status",
        description="Show the progress of the sweep in FOLDER: what runs, what failed, and why.",
    )
    parser.add_folder()
    folder = parser.parse_args(argv).folder
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist", "Give the folder of a sweep's results")
    progress, now = JobFolder(SweepFolder(folder).jobs).progress(), time.time()
    console = Console(highlight=False)
    console.print(summary_line(progress, now), soft_wrap=True)
    if progress.running:
        console.print(_running(progress.running, now))
    for line in failure_lines(progress.failed):
        console.print(f"failed: {line}", soft_wrap=True, markup=False)
    return 0


def summary_line(progress: Progress, now: float) -> str:
    """The sweep in one line."""
    n_failed = len(progress.failed)
    ended = progress.done + n_failed
    if progress.running:
        parts = [f"{ended} of {progress.total or 'an unknown number of'} runs ended"]
        parts.append(f"{len(progress.running)} running")
        if progress.total and 0 < ended < progress.total:
            pace = (now - progress.started) / ended
            parts.append(f"about {_duration(pace * (progress.total - ended))} left")
    else:
        parts = ["no sweep is running"]
    if n_failed:
        parts.append(f"{n_failed} failed: run the same command to repeat only these")
    return "; ".join(parts)


def failure_lines(failed: Iterable[JobRecord]) -> list[str]:
    """The errors, each line once, with the number of its runs if that is more than one."""
    counted = Counter(record.error for record in failed)
    return [line if times == 1 else f"{line} ({times} runs)" for line, times in counted.items()]


def _running(records: Sequence[JobRecord], now: float) -> Table:
    table = Table("run", "on", "process", "since", box=None, header_style="bold")
    for one in records:
        since = f"{_duration(now - one.started)}{' (its process is gone)' if one.lost else ''}"
        table.add_row(one.overrides, one.host, str(one.pid), since)
    return table


def _duration(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
