"""Several runs on one machine: which cores a run has, and when it can be timed alone.

A run that computes holds a shared lock, a run that is timed an exclusive one. So no latency is
measured while another run of this user works on the machine. The locks end with their process. They
are files of filelock's ``ReadWriteLock``, in a folder that only this machine may use. Without
locks, runs continue and their latencies are marked as shared.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, ReadWriteLock, Timeout

Sharing = Literal["alone", "shared"]

PATIENCE_S = 600.0
"""How long a run waits for the others before it is timed while they run."""

_TURN_S = 1.0  # of waiting, between looks at an interrupt

_UNAVAILABLE = (OSError, sqlite3.Error, RuntimeError, ValueError)


class Machine:
    """What this user's runs share on this machine, by locks in ``folder``; None: there are no other
    runs.

    A context manager: at its end the process gets its previous cores back.
    """

    def __init__(self, folder: Path | None = None, patience_s: float = PATIENCE_S) -> None:
        self._folder, self._patience_s = folder, patience_s
        self._lock = _open(folder / "timing.db") if folder else None
        self._cores: FileLock | None = None
        self._before: list[int] = []

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._cores:
            psutil.Process().cpu_affinity(self._before)
            self._cores.release()
            self._cores = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Compute in parallel with others, but not while one of them is timed."""
        self._share()
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def alone(self) -> Iterator[Sharing]:
        """Inside ``busy``: be timed while nobody computes; "shared" where that is not possible."""
        if self._folder is None:
            yield "alone"
            return
        self._release()
        held = self._exclude()
        try:
            yield "alone" if held else "shared"
        finally:
            self._release()
            self._share()

    def keep_to_cores(self, count: int, patience_s: float = 0.0) -> None:
        """Keep this process to ``count`` cores that no other run has.

        It keeps all its cores if none become free in time, or if the system does not pin processes.
        Threads that libraries started before stay on their cores.
        """
        process = psutil.Process()
        if self._folder is None or self._cores or not hasattr(process, "cpu_affinity"):
            return
        available = process.cpu_affinity()
        starts = range(0, len(available) - count + 1, count)
        blocks = [available[start : start + count] for start in starts]
        deadline = time.monotonic() + patience_s
        while blocks:
            for block in blocks:
                lock = FileLock(self._folder / f"cores-{count}-{block[0]}.lock", timeout=0)
                with suppress(Timeout, OSError):
                    lock.acquire()
                    self._cores, self._before = lock, available
                    process.cpu_affinity(block)
                    return
            if time.monotonic() > deadline:
                return
            time.sleep(_TURN_S)

    def _share(self) -> None:
        while self._lock:
            with suppress(Timeout), self._or_give_up():
                self._lock.acquire_read(timeout=_TURN_S)
                return

    def _exclude(self) -> bool:
        deadline = time.monotonic() + self._patience_s
        while self._lock and time.monotonic() < deadline:
            with suppress(Timeout), self._or_give_up():
                self._lock.acquire_write(timeout=_TURN_S)
                return True
        return False

    def _release(self) -> None:
        if self._lock:
            with self._or_give_up():
                self._lock.release(force=True)

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """A lock that fails once is not tried again: from then on everything is shared."""
        try:
            yield
        except Timeout:
            raise
        except _UNAVAILABLE:
            self._lock = None


def _open(path: Path) -> ReadWriteLock | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return ReadWriteLock(path, is_singleton=False)
    except _UNAVAILABLE:
        return None
