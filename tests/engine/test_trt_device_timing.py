"""Times by the GPU's own clock, on a GPU that takes as long as a test says."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.engine.trt import device_timing
from bench.engine.trt.device_timing import IN_FLIGHT, time_lane


@dataclass
class Gpu:
    """A lane on a GPU that works off what it is given in order; all times in seconds.

    ``slow_until``: its clock is low until then, and everything takes five times as long.
    """

    execute_s: float
    enqueue_s: float
    slow_until: float = 0.0
    now: float = 0.0
    free_at: float = 0.0
    launched: int = 0
    in_flight: list[float] = field(default_factory=list)
    most_in_flight: int = 0
    stream: int = 1

    def clock(self) -> float:
        return self.now

    def launch(self) -> None:
        self.now += self.enqueue_s
        start = max(self.free_at, self.now)
        self.free_at = start + self.execute_s * (5 if start < self.slow_until else 1)
        self.launched += 1
        self.in_flight = [end for end in self.in_flight if end > self.now] + [self.free_at]
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def record(self, event: list[float], stream: int) -> tuple[int]:
        event[0] = max(self.free_at, self.now)
        return (0,)

    def wait(self, event: list[float]) -> tuple[int]:
        self.now = max(self.now, event[0])
        return (0,)


@pytest.fixture
def gpu(fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    fake_tensorrt()
    for name, value in (("WARM_UP_S", 0.2), ("TIMED_S", 3.0), ("LEAST_TIMED", 10)):
        monkeypatch.setattr(device_timing, name, value)
    runtime = importlib.import_module("cuda.bindings.runtime")

    def make(**how: float) -> Gpu:
        made = Gpu(**how)
        monkeypatch.setattr(runtime, "cudaEventRecord", made.record)
        monkeypatch.setattr(runtime, "cudaEventSynchronize", made.wait)
        return made

    return make


def test_it_warms_up_first_and_then_times_three_seconds(gpu: Any) -> None:
    one = gpu(execute_s=0.001, enqueue_s=0.0001, slow_until=0.19)
    times = time_lane(one, one.clock)
    assert times.gpu_ms == pytest.approx([1.0] * len(times.gpu_ms))  # none while it was slow
    assert len(times.gpu_ms) == len(times.enqueue_ms) == pytest.approx(3000, rel=0.02)
    assert one.now >= 3.2


def test_a_slow_network_is_timed_ten_times(gpu: Any) -> None:
    one = gpu(execute_s=2.0, enqueue_s=0.001)
    assert len(time_lane(one, one.clock).gpu_ms) >= 10


def test_the_gpu_never_waits_for_the_next_execution(gpu: Any) -> None:
    """Or the host's launching would be timed as well; and it is not given more than it can hold."""
    one = gpu(execute_s=0.001, enqueue_s=0.0005)
    times = time_lane(one, one.clock)
    assert one.free_at == pytest.approx(one.enqueue_s + one.launched * one.execute_s)
    assert max(times.gpu_ms) == pytest.approx(1.0)
    assert one.most_in_flight <= IN_FLIGHT


def test_what_the_host_takes_to_launch_is_told_apart(gpu: Any) -> None:
    one = gpu(execute_s=0.0001, enqueue_s=0.0009)
    times = time_lane(one, one.clock)
    assert times.enqueue_ms == pytest.approx([0.9] * len(times.enqueue_ms))
