"""kill -9 of a sweep, of a worker and of the parent of workers, at random moments."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.chaos.counts import Counts
from tests.chaos.sweeps import SECONDS, Ground, check_words, compare, leftovers, read_rows
from tests.e2e.command import Bench, Ended

WORKERS = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
LONG = 30.0
"""Seconds within which the workers of a killed parent must have ended."""


def run(ground: Ground, count: int, seed: int, counts: Counts) -> None:
    """Kill ``count`` times: two of three times a sweep in one process, else with workers."""
    rng = random.Random(seed)
    goal, number = counts.kills + count, 0
    while counts.kills < goal:
        number += 1
        victim = ("sweep", "sweep", "worker", "sweep", "sweep", "parent")[number % 6]
        bench = ground.fresh(f"kill-{victim}", cache=rng.random() < 0.5)
        _go_on_until_done(ground, bench, victim, goal, rng, counts)


def _go_on_until_done(
    ground: Ground, bench: Bench, victim: str, goal: int, rng: random.Random, counts: Counts
) -> None:
    """Start, kill and start again, until the sweep has ended by itself."""
    finished: dict[Path, bytes] = {}
    while True:
        may_kill = counts.kills < goal
        launcher = [] if victim == "sweep" else WORKERS
        begin = rng.uniform(0.5, ground.seconds * (0.8 if victim == "sweep" else 1.2))
        process = bench.start(*ground.sweep, *launcher, report=rng.random() < 0.2)
        killed = may_kill and _kill(process, victim, begin, counts)
        what = f"kill {counts.kills} ({victim} after {begin:.1f} s)"
        print(what, file=sys.stderr, end="\r")
        ended = _wait(process, counts, what)
        finished = _check_rows(bench, finished, counts, what)
        if killed:
            if victim == "worker":  # it may have had nothing left to do
                check_words(ended, counts, what, (0, 2))
            continue
        if check_words(ended, counts, what):
            compare(ground, bench.out, counts, what)
            left = leftovers(bench.out, bench.cache)
            counts.add("leftovers", f"{what}: {left}", len(left))
        return


def _kill(process: subprocess.Popen[str], victim: str, after: float, counts: Counts) -> bool:
    """Whether there was still something to kill at that moment."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
        return False
    workers = _workers(process.pid)
    if victim == "worker":
        if not workers:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            workers[counts.kills % len(workers)].kill()
    elif victim == "parent":
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    counts.kills += 1
    if victim == "parent":
        _, alive = psutil.wait_procs(workers, timeout=LONG)
        counts.add("orphans", f"kill {counts.kills}: {alive}", len(alive))
        for own in alive:
            own.kill()
    return True


def _workers(pid: int) -> list[psutil.Process]:
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [own for own in children if any("popen_loky" in word for word in own.cmdline())]
    except psutil.NoSuchProcess:
        return []


def _wait(process: subprocess.Popen[str], counts: Counts, what: str) -> Ended:
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        counts.add("hangs", what)
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return Ended(process.returncode, out, err)


def _check_rows(
    bench: Bench, finished: dict[Path, bytes], counts: Counts, what: str
) -> dict[Path, bytes]:
    """The files of finished rows; those of before must be among them, and as they were."""
    now = {path: path.read_bytes() for path in bench.rows}
    lost = finished.keys() - now.keys()
    counts.add("rows_lost", f"{what}: {sorted(lost)}", len(lost))
    changed = [path for path in finished.keys() & now.keys() if finished[path] != now[path]]
    counts.add("rows_repeated", f"{what}: {changed}", len(changed))
    try:
        read_rows(bench.out)
    except Exception as error:
        counts.add("rows_torn", f"{what}: {error}")
    return now
