"""Killed processes: a sweep removes their temporary files, notices the loss of a worker, and its
workers end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.cache import remove_leftovers

PATIENCE_S = 3.0
"""Seconds in which joblib notices by itself that a worker was killed."""


def clean(cache: Path, results: Path) -> None:
    """Remove the temporary files of killed writers from a cache and from a sweep's folder."""
    inside = [path for path in results.glob("*") if path.is_dir()]
    remove_leftovers(cache, cache / "tensorrt", results, *inside)


def end_with_parent() -> None:
    """If this process is a worker, end it as soon as the process that launched it ends.

    Otherwise the worker would finish its jobs and then wait for more. It would wait for ever if its
    parent held joblib's locks, as while it starts workers.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch_parent, args=(parent.pid,), daemon=True).start()


def _watch_parent(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


class WorkerWatch:
    """A context manager with a thread that breaks joblib's pool if a worker was killed and the pool
    goes on waiting.

    A worker that is killed while it sends its result leaves a part of a message. joblib (1.5.3)
    waits for the rest, which never comes, because other processes also hold the writing end of that
    pipe. So the other workers are killed, and the end of this process is closed: the reader then
    raises BrokenExecutor, as after any other loss of a worker.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> WorkerWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        from joblib.externals.loky import reusable_executor  # type: ignore[import-untyped]

        while not self._ended.wait(0.5):
            pool = reusable_executor._executor
            results: Any = pool._result_queue if pool is not None else None
            workers = list(pool._processes.values()) if results is not None else []
            if any(worker.exitcode for worker in workers) and not self._ended.wait(PATIENCE_S):
                for worker in workers:
                    if worker.exitcode is None:
                        os.kill(worker.pid, signal.SIGKILL)
                results._writer.close()
                return
