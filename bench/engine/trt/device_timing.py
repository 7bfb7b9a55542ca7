"""Times by CUDA's clock, measured as ``trtexec`` does.

trtexec warms up for 200 ms, then times for at least 3 s (defaults of ``--warmUp`` and
``--duration``). It reports the GPU's compute time without the transfers, and how long the host
takes to enqueue an execution. Where that is above 0.8 of the compute time it warns: the GPU then
waits for the host.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.engine.trt.cuda import Buffer, call, load_cudart, synchronize

if TYPE_CHECKING:
    from bench.engine.trt.runtime import Lane

WARM_UP_S, TIMED_S = 0.2, 3.0
"""The default of trtexec."""

LEAST_TIMED = 10
"""Least number of executions; trtexec's ``--iterations``."""

ENOUGH_FOR_P99 = 100
"""Least number of executions for a 99th percentile: with fewer, none lies above it."""

IN_FLIGHT = 32
"""Most executions queued on the GPU, so that it never waits for the next: on an idle GPU the launch
would be timed, too."""

_TRANSFERS, _LAUNCHES = 50, 200


@dataclass
class LaneTimes:
    """Milliseconds of each execution: on the GPU, and of launching it on the host."""

    gpu_ms: list[float] = field(default_factory=list)
    enqueue_ms: list[float] = field(default_factory=list)


def time_lane(lane: Lane, clock: Callable[[], float] = time.perf_counter) -> LaneTimes:
    """Execute on the data in the lane's memory: ``WARM_UP_S`` untimed, then ``TIMED_S``."""
    times, pending = LaneTimes(), deque[tuple[Any, Any, float | None]]()
    with _Events(2 * IN_FLIGHT) as events:
        free = deque(zip(events.all[::2], events.all[1::2], strict=True))

        def finish_oldest() -> None:
            start, end, enqueue = pending.popleft()
            milliseconds = events.between(start, end)
            free.append((start, end))
            if enqueue is not None:
                times.gpu_ms.append(milliseconds)
                times.enqueue_ms.append(enqueue)

        begin, timed = clock(), 0
        while (past := clock() - begin) < WARM_UP_S + TIMED_S or timed < LEAST_TIMED:
            if not free:
                finish_oldest()
            start, end = free.popleft()
            events.record(start, lane.stream)
            before = clock()
            lane.launch()
            enqueue = 1000 * (clock() - before)
            events.record(end, lane.stream)
            warm = past >= WARM_UP_S
            timed += warm
            pending.append((start, end, enqueue if warm else None))
        while pending:
            finish_oldest()
    return times


def time_transfers(lane: Lane) -> tuple[float, float]:
    """Median milliseconds to copy the input to the GPU, and the outputs back."""
    upload = _median_ms(lane.stream, [lane.source], Buffer.push)
    return upload, _median_ms(lane.stream, lane.results, Buffer.pull)


def _median_ms(
    stream: Any, buffers: Sequence[Buffer], move: Callable[[Buffer, Any], None]
) -> float:
    times = []
    with _Events(2) as events:
        start, end = events.all
        for _ in range(_TRANSFERS):
            events.record(start, stream)
            for buffer in buffers:
                move(buffer, stream)
            events.record(end, stream)
            times.append(events.between(start, end))
    return statistics.median(times)


def executions_per_second(lanes: Sequence[Lane]) -> float:
    """Images per second with every lane busy; each lane must be ready."""
    synchronize()
    start = time.perf_counter()
    for _ in range(_LAUNCHES):
        for lane in lanes:
            lane.launch()
    synchronize()
    return _LAUNCHES * len(lanes) / (time.perf_counter() - start)


class _Events:
    """CUDA events, freed at the end of a ``with`` block."""

    def __init__(self, count: int) -> None:
        self._cudart = load_cudart()
        self.all = [call(self._cudart.cudaEventCreate()) for _ in range(count)]

    def __enter__(self) -> _Events:
        return self

    def __exit__(self, *error: object) -> None:
        for event in self.all:
            call(self._cudart.cudaEventDestroy(event))

    def record(self, event: Any, stream: Any) -> None:
        call(self._cudart.cudaEventRecord(event, stream))

    def between(self, start: Any, end: Any) -> float:
        """Milliseconds between two events, after waiting for the second."""
        call(self._cudart.cudaEventSynchronize(end))
        return float(call(self._cudart.cudaEventElapsedTime(start, end)))
