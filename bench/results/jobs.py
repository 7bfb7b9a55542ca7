"""The state of a sweep's jobs: one small file per job, whose suffix is its state.

The workers of every launcher write them, so every reader of the folder can see the progress. The
file of a finished job is only counted; the row has the rest. That of a failed job has the error
and, where this program itself failed, the traceback. Files of failed jobs stay after the sweep.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import psutil

from bench.cache import write_atomically

JobState = Literal["running", "done", "failed"]
STATES: tuple[JobState, ...] = get_args(JobState)
_START = "sweep.json"


@dataclass(frozen=True)
class JobRecord:
    """One job: its typed overrides, when and where it started, and its result."""

    overrides: str
    started: float
    """Seconds since 1970."""
    seconds: float = 0.0
    run_key: str = ""
    error: str = ""
    traceback: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def lost(self) -> bool:
        """Whether its process, on this machine, has ended."""
        return self.host == socket.gethostname() and not psutil.pid_exists(self.pid)


@dataclass(frozen=True)
class Progress:
    """The progress of a sweep: ``total`` jobs if known, started at ``started``."""

    started: float
    total: int | None
    done: int
    failed: tuple[JobRecord, ...] = ()
    running: tuple[JobRecord, ...] = ()


class JobFolder:
    """The files of one sweep's jobs; files older than ``since`` belong to earlier sweeps."""

    def __init__(self, path: Path, since: float = 0.0) -> None:
        self.path, self.since = path, since

    def begin(self, total: int | None) -> JobFolder:
        """Record the start of a sweep; returns its jobs."""
        jobs = JobFolder(self.path, time.time())
        jobs._expect(total)
        return jobs

    def add(self, further: int) -> None:
        """Record that the sweep has so many further jobs."""
        total = self.total()
        self._expect(None if total is None else total + further)

    def _expect(self, total: int | None) -> None:
        start = {"started": self.since, "total": total}
        write_atomically(self.path / _START, json.dumps(start).encode())

    def write(self, job: str, state: JobState, record: JobRecord) -> None:
        """Record the present state of a job, replacing the previous one."""
        write_atomically(
            self.path / f"{job}.{state}", json.dumps(asdict(record), indent=1).encode()
        )
        for other in STATES:
            if other != state:
                (self.path / f"{job}.{other}").unlink(missing_ok=True)

    def count(self, *states: JobState) -> int:
        """How many jobs of the sweep are in one of these states."""
        return sum(1 for _ in self._files(states))

    def next_number(self) -> int:
        """The number after those of all jobs of the sweep that have left a file."""
        names = [entry.name.partition(".")[0] for entry in self._files(STATES)]
        return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)

    def ended(self, seen: Collection[str]) -> list[tuple[str, JobRecord]]:
        """The jobs that are done or have failed, by name, without those ``seen`` before; in the
        order in which they ended."""
        entries = [entry for entry in self._files(("done", "failed")) if entry.name not in seen]
        read = [(entry.name, _read(Path(entry.path))) for entry in entries]
        known = [(name, record) for name, record in read if record is not None]
        return sorted(known, key=lambda one: one[1].started + one[1].seconds)

    def records(self, *states: JobState) -> list[JobRecord]:
        """In the order in which they began; a file that was replaced meanwhile is left out."""
        records_read = (_read(Path(entry.path)) for entry in self._files(states))
        return sorted((one for one in records_read if one), key=lambda record: record.started)

    def total(self) -> int | None:
        """How many jobs the latest sweep has, if that is known."""
        return self._begun()[1]

    def _begun(self) -> tuple[float, int | None]:
        """When the latest sweep began, and its number of jobs."""
        try:
            begun = json.loads((self.path / _START).read_text())
            total = begun["total"]
            return float(begun["started"]), None if total is None else int(total)
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0, None

    def progress(self) -> Progress:
        """The progress of the latest sweep."""
        since, total = self._begun()
        jobs = JobFolder(self.path, since)
        failed, running = jobs.records("failed"), jobs.records("running")
        return Progress(since, total, jobs.count("done"), tuple(failed), tuple(running))

    def end(self) -> None:
        """Remove the files of finished jobs: the sweep has ended, and the rows have the results."""
        for entry in self._files(("done",)):
            Path(entry.path).unlink(missing_ok=True)

    def _files(self, states: Sequence[JobState]) -> Iterator[os.DirEntry[str]]:
        endings = tuple(f".{state}" for state in states)
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    # A clock of another machine may be behind by a second.
                    if entry.name.endswith(endings) and entry.stat().st_mtime >= self.since - 1:
                        yield entry
        except FileNotFoundError:  # the folder, or a file that was replaced meanwhile
            return


def _read(path: Path) -> JobRecord | None:
    try:
        return JobRecord(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
