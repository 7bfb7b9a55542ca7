"""Fair latency measurement: several systems in turn, in one process, with raw nanoseconds."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil

from bench.log import LOG

Clock = Callable[[], int]

LEAST_ROUNDS = 10
"""Least number of rounds, for any network: the 90th percentile needs ten."""


@dataclass(frozen=True)
class CallTimes:
    """One system's raw times of one inference call, nanoseconds, in the order taken."""

    nanoseconds: tuple[int, ...]

    def percentile_ms(self, percent: float) -> float:
        """nan above the median where too few calls were timed: p99 needs 100, p90 needs 10."""
        if 50 < percent < 100 and len(self.nanoseconds) * (100 - percent) < 100:
            return math.nan
        return float(np.percentile(self.nanoseconds, percent)) / 1e6


def measure_in_turn(
    systems: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    warmup: int = 3,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, CallTimes]:
    """Time every system once per round, so that a drift of the machine's speed affects all equally.

    The order turns by one each round. Stops after ``rounds`` rounds, or after ``seconds`` once at
    least ten are done. One timed call is from the input in memory to the outputs in memory.
    """
    names = list(systems)
    for name in names:
        for _ in range(warmup):
            systems[name]()
    times: dict[str, list[int]] = {name: [] for name in names}
    begin = clock()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and clock() - begin > seconds * 1e9:
            break
        for name in names[done % len(names) :] + names[: done % len(names)]:
            start = clock()
            systems[name]()
            times[name].append(clock() - start)
    return {name: CallTimes(tuple(values)) for name, values in times.items()}


@dataclass
class Stopwatch:
    """Seconds spent in a ``with`` block, known when it ends."""

    seconds: float = 0.0


@contextmanager
def stopwatch(clock: Clock = time.perf_counter_ns) -> Iterator[Stopwatch]:
    watch = Stopwatch()
    start = clock()
    try:
        yield watch
    finally:
        watch.seconds = (clock() - start) / 1e9


@contextmanager
def stage(name: str) -> Iterator[Stopwatch]:
    """``stopwatch`` of one stage of a run, which is also logged."""
    LOG.info("%s ...", name)
    with stopwatch() as watch:
        yield watch
    LOG.info("%s: %.2f s", name, watch.seconds)


@dataclass
class PeakMemory:
    """Peak resident memory of this process in a ``with`` block, in MB (10^6 bytes)."""

    megabytes: float = 0.0


@contextmanager
def peak_memory(interval: float = 0.02) -> Iterator[PeakMemory]:
    """Sample the resident memory in a thread; a peak shorter than ``interval`` may be missed."""
    peak, process, ended = PeakMemory(), psutil.Process(), threading.Event()

    def sample() -> None:
        while True:
            peak.megabytes = max(peak.megabytes, process.memory_info().rss / 1e6)
            if ended.wait(interval):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
