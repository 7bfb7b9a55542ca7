"""A function in a fresh process: what it returns, how long it takes, how much memory it needs.

The clock runs inside, around the function: the start of the process and its imports are not in it.
Memory is that of the whole process, watched from outside: a thread inside could not look while the
interpreter's lock is held. A process that grows beyond its limit is killed.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import psutil

T = TypeVar("T")

_INTERVAL = 0.02


@dataclass(frozen=True)
class Ended(Generic[T]):
    """How the process ended: with ``result``, or ``trouble`` tells why there is none.

    ``seconds`` are those of the function, up to its end or to the kill. ``start_mb`` and
    ``peak_mb`` are the resident memory when it began and at most (MB are 10^6 bytes). If
    ``trouble`` begins with "killed" they are lower bounds.
    """

    result: T | None
    seconds: float
    start_mb: float
    peak_mb: float
    trouble: str = ""


def isolated(
    function: Callable[..., T], *arguments: object, limit_mb: float | None = None
) -> Ended[T]:
    """Run ``function`` in a process that has imported its module, and nothing that we have.

    The function must be one of a module's own and the arguments must be picklable. Whatever it
    leaves in the folder for temporary files is removed, also if it is killed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(
            target=_child, args=(sender, folder, function, arguments), daemon=True
        )
        process.start()
        sender.close()  # so that the child's end is the only one
        try:
            return _watch(process, receiver, limit_mb)
        finally:
            process.kill()
            process.join()
            receiver.close()


def succeeded(ended: Ended[T]) -> Ended[T]:
    """The same, or RuntimeError where the function did not come to its end."""
    if ended.trouble:
        raise RuntimeError(ended.trouble)
    return ended


def _watch(
    process: multiprocessing.process.BaseProcess, receiver: Connection, limit_mb: float | None
) -> Ended[Any]:
    watched = psutil.Process(process.pid)
    begin, start, peak = None, 0.0, 0.0
    while True:
        now = _resident_mb(watched)
        peak = max(peak, now)
        seconds = perf_counter() - begin if begin is not None else 0.0
        if limit_mb is not None and now > limit_mb:
            return Ended(None, seconds, start, peak, f"killed at {now:.0f} MB")
        if not receiver.poll(_INTERVAL):
            continue
        try:
            message = receiver.recv()
        except EOFError:
            process.join()
            trouble = f"died with exit status {process.exitcode}"
            if process.exitcode == -signal.SIGKILL:  # the system was out of memory
                trouble = f"killed by the system at {peak:.0f} MB"
            return Ended(None, seconds, start, peak, trouble)
        if message is None:
            begin, start = perf_counter(), _resident_mb(watched)
            continue
        result, seconds, own_peak, trouble = message
        return Ended(result, seconds, start, max(peak, own_peak), trouble)


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _child(
    sender: Connection, folder: str, function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    tempfile.tempdir = folder
    sender.send(None)
    begin, result, trouble = perf_counter(), None, ""
    try:
        result = function(*arguments)
    except Exception:
        trouble = f"failed: {traceback.format_exc()}"
    sender.send((result, perf_counter() - begin, _high_water_mb(), trouble))


def _high_water_mb() -> float:
    """The kernel's own record of the peak, which no sampling can miss; 0 where it keeps none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if "VmHWM" in line), 0.0)
