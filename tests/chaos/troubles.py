"""A full disk, folders that cannot be written, a cache that is emptied, clocks that jump, and eight
sweeps at once: each is a line, or a right result."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable

from tests.chaos.counts import Counts
from tests.chaos.sweeps import SECONDS, Ground, Worker, check_words, compare, leftovers
from tests.e2e.command import ROOT, Bench, Ended

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import bench.cli.app, bench.run.execute, bench.calibration.kernels
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from bench.__main__ import main
sys.exit(main())
"""
"""A sweep whose files may have so many bytes: then writing fails, as on a full disk."""

JUMPING = """
import random, sys, time
rng, real, real_ns = random.Random(0), time.time, time.time_ns
time.time = lambda: real() + rng.choice((-1e5, 0, 1e8))
time.time_ns = lambda: real_ns() + rng.choice((-10**14, 0, 10**17))
from bench.__main__ import main
sys.exit(main())
"""
"""A sweep with a clock that jumps by a day back and three years ahead."""


def run(ground: Ground, seed: int, counts: Counts) -> None:
    rng = random.Random(seed)
    parts: tuple[Callable[[Ground, random.Random, Counts], None], ...] = (
        full_disk, unwritable_folders, emptied_cache, jumping_clock, eight_at_once,
    )  # fmt: skip
    for part in parts:
        print(part.__name__, file=sys.stderr)
        part(ground, rng, counts)


def full_disk(ground: Ground, rng: random.Random, counts: Counts) -> None:
    """Files of at most so many bytes, in an empty cache; then without a limit."""
    for _ in range(4):
        counts.troubles += 1
        bench = ground.fresh("full", cache=False)
        bench.lend_probes()
        limit = int(2 ** rng.uniform(9, 17))
        what = f"trouble {counts.troubles} (files of {limit} bytes)"
        command = _script(ground, bench, LIMITED, str(limit))
        _then_right(ground, bench, _ask(bench, command), counts, what)


def unwritable_folders(ground: Ground, rng: random.Random, counts: Counts) -> None:
    """A file stands where a folder should be: that stops the superuser too."""
    for place in ("out", "cache", "out/rows"):
        counts.troubles += 1
        bench, what = ground.fresh("unwritable"), f"trouble {counts.troubles} ({place} is a file)"
        path = bench.out.parent / place
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in the way")
        ended = _ask(bench, _script(ground, bench, "from bench.__main__ import main; exit(main())"))
        check_words(ended, counts, what, (2,))
        path.unlink()
        worker = Worker()
        if check_words(worker.execute(ground, bench), counts, f"{what}, freed"):
            compare(ground, bench.out, counts, what)
        worker.close()


def emptied_cache(ground: Ground, rng: random.Random, counts: Counts) -> None:
    """The cache is removed again and again while a sweep runs."""
    for _ in range(2):
        counts.troubles += 1
        bench = ground.fresh("emptied", cache=False)
        what = f"trouble {counts.troubles} (the cache is removed)"
        process = bench.start(*ground.sweep)
        while True:
            try:
                out, err = process.communicate(timeout=rng.uniform(0.2, 1.5))
                break
            except subprocess.TimeoutExpired:
                shutil.rmtree(bench.cache, ignore_errors=True)
        ended = Ended(process.returncode, out, err)
        _then_right(ground, bench, ended, counts, what)


def jumping_clock(ground: Ground, rng: random.Random, counts: Counts) -> None:
    counts.troubles += 1
    bench, what = ground.fresh("clock"), f"trouble {counts.troubles} (a clock that jumps)"
    if check_words(_ask(bench, _script(ground, bench, JUMPING)), counts, what):
        compare(ground, bench.out, counts, what)


def eight_at_once(ground: Ground, rng: random.Random, counts: Counts) -> None:
    """One folder and one cache, which is empty."""
    counts.troubles += 1
    bench, what = ground.fresh("eight", cache=False), f"trouble {counts.troubles} (eight at once)"
    processes = [bench.start(*ground.sweep, report=number % 2 == 0) for number in range(8)]
    for process in processes:
        try:
            out, err = process.communicate(timeout=4 * SECONDS)
        except subprocess.TimeoutExpired:
            counts.add("hangs", what)
            process.kill()
            continue
        check_words(Ended(process.returncode, out, err), counts, what)
    compare(ground, bench.out, counts, what)
    left = leftovers(bench.out, bench.cache)
    counts.add("leftovers", f"{what}: {left}", len(left))


def _then_right(ground: Ground, bench: Bench, ended: Ended, counts: Counts, what: str) -> None:
    """It ended well or with a line; the same command, undisturbed, then has the right result."""
    if ended.status == -1:
        counts.add("hangs", what)
        return
    check_words(ended, counts, what, (0, 2))
    left = leftovers(bench.out, bench.cache)
    counts.add("leftovers", f"{what}: {left}", len(left))
    worker = Worker()
    if check_words(worker.execute(ground, bench), counts, f"{what}, undisturbed"):
        compare(ground, bench.out, counts, what)
    worker.close()


def _script(ground: Ground, bench: Bench, script: str, *first: str) -> list[str]:
    return [sys.executable, "-c", script, *first, *bench.arguments(*ground.sweep)]


def _ask(bench: Bench, command: list[str]) -> Ended:
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Ended(-1, "", "hang")
    return Ended(done.returncode, done.stdout, done.stderr)
