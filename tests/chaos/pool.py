"""Cases run in children of one warm process: each has a time limit and a limit of memory.

A child begins with everything imported, so that a case costs what it computes. One that hangs is
killed; one that crashes takes nothing with it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS = 60.0
BYTES = 4 * 2**30

FINE, TRACEBACK, NO_MEMORY = 0, 70, 71
"""Exit statuses of a child."""


@dataclass(frozen=True)
class Ended:
    """How a case ended: ``kind`` is "fine", "traceback", "hang" or "memory"; ``said`` is what the
    child wrote."""

    index: int
    kind: str
    said: str
    seconds: float


def run_all(
    cases: Sequence[Callable[[], object]], side_by_side: int = 1, seconds: float = SECONDS
) -> Iterator[Ended]:
    """Run each case in a child of this process, in order, so many at once."""
    waiting = list(enumerate(cases))[::-1]
    running: dict[int, tuple[int, float, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                index, case = waiting.pop()
                said = Path(folder) / f"{index}.txt"
                running[_start(case, said)] = (index, time.monotonic(), said)
            yield from _reap(running, seconds)
            time.sleep(0.002)


def _start(case: Callable[[], object], said: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = TRACEBACK
        try:
            os.setsid()  # so that its own children end with it
            _limit(said)
            status = _run(case)
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    return child


def _run(case: Callable[[], object]) -> int:
    try:
        case()
        return FINE
    except MemoryError:
        traceback.print_exc()
        return NO_MEMORY
    except BaseException as error:
        traceback.print_exc()
        return NO_MEMORY if "bad_alloc" in f"{error!r}" else TRACEBACK


def _limit(said: Path) -> None:
    out = os.open(said, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.stdout = sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
    most = psutil.Process().memory_info().vms + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reap(running: dict[int, tuple[int, float, Path]], seconds: float) -> Iterator[Ended]:
    for child, (index, started, said) in list(running.items()):
        ended, status, used = os.wait4(child, os.WNOHANG)
        took = time.monotonic() - started
        if not ended and took < seconds:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not ended:
            _, status, used = os.wait4(child, 0)
        text = said.read_text(errors="replace")
        del running[child]
        yield Ended(index, _kind(bool(ended), status, text, used.ru_maxrss * 1024), text, took)


def _kind(ended: bool, status: int, text: str, peak: int) -> str:
    if not ended:
        return "hang"
    code = os.waitstatus_to_exitcode(status)
    if code == NO_MEMORY or "bad_alloc" in text or peak > BYTES:
        return "memory"
    return "fine" if code == FINE else "traceback"
