"""Killed processes: a sweep removes their temporary files, and its workers end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import psutil

from bench.cache import remove_leftovers


def clean(cache: Path, results: Path) -> None:
    """Remove the temporary files of killed writers from a cache and from a sweep's folder."""
    inside = [path for path in results.glob("*") if path.is_dir()]
    remove_leftovers(cache, cache / "tensorrt", results, *inside)


def end_with_parent() -> None:
    """If this process is a worker, end it as soon as the process that launched it ends.

    Otherwise the worker would finish its jobs and then wait for more. (A worker without a job does
    not know its sweep; joblib ends it after five minutes.)
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True).start()


def _watch(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
