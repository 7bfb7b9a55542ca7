"""Timing: in turn, by an injected clock; memory, as the process really holds it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from bench.timing import CallTimes, measure_in_turn, peak_memory, stopwatch


class World:
    """Systems that take as long as they say, on a clock that nothing else moves."""

    def __init__(self) -> None:
        self.now = 1_000
        self.calls: list[str] = []

    def clock(self) -> int:
        return self.now

    def system(self, name: str, nanoseconds: int) -> Callable[[], None]:
        def run() -> None:
            self.calls.append(name)
            self.now += nanoseconds

        return run


def test_every_system_is_timed_once_a_round_by_the_clock():
    world = World()
    systems = {"int8": world.system("int8", 5), "fp32": world.system("fp32", 20)}
    found = measure_in_turn(systems, rounds=4, seconds=100, clock=world.clock)
    assert list(found) == ["int8", "fp32"]
    assert found["int8"].nanoseconds == (5, 5, 5, 5)
    assert found["fp32"].nanoseconds == (20, 20, 20, 20)


def test_warm_up_comes_first_and_is_not_counted():
    world = World()
    systems = {name: world.system(name, 1) for name in "ab"}
    found = measure_in_turn(systems, rounds=1, seconds=1, warmup=2, clock=world.clock)
    assert "".join(world.calls) == "aabb" + "ab"
    assert len(found["a"].nanoseconds) == 1


def test_the_order_turns_by_one_each_round():
    world = World()
    systems = {name: world.system(name, 1) for name in "abc"}
    measure_in_turn(systems, rounds=4, seconds=1, warmup=0, clock=world.clock)
    assert "".join(world.calls) == "abc" + "bca" + "cab" + "abc"


def test_times_keep_their_order():
    world = World()
    durations = iter(range(1, 100))

    def slower() -> None:
        world.now += next(durations)

    found = measure_in_turn({"x": slower}, rounds=5, seconds=1, warmup=2, clock=world.clock)
    assert found["x"].nanoseconds == (3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("second_per_call", "rounds_done"),
    [(0.0, 50), (1.0, 10), (0.25, 13), (100.0, 10)],
)
def test_stops_after_the_seconds_but_not_before_ten_rounds(second_per_call, rounds_done):
    """Three seconds are given: 12 rounds of 0.25 s do not exceed them, 13 do."""
    world = World()
    systems = {"x": world.system("x", int(second_per_call * 1e9))}
    found = measure_in_turn(systems, rounds=50, seconds=3, clock=world.clock)
    assert len(found["x"].nanoseconds) == rounds_done


def test_fewer_rounds_than_ten_when_asked():
    world = World()
    found = measure_in_turn(
        {"x": world.system("x", 10**12)}, rounds=3, seconds=0, clock=world.clock
    )
    assert len(found["x"].nanoseconds) == 3


def test_percentiles_in_milliseconds():
    latency = CallTimes(tuple(int(ms * 1e6) for ms in (4, 1, 3, 2, 5)))
    assert latency.percentile_ms(50) == 3
    assert latency.percentile_ms(0) == 1
    assert latency.percentile_ms(100) == 5
    assert math.isnan(latency.percentile_ms(90))  # wants ten calls


@pytest.mark.parametrize(("percent", "fewest"), [(90, 10), (99, 100)])
def test_a_high_percentile_wants_enough_calls(percent, fewest):
    calls = CallTimes(tuple(range(1, fewest + 1)))
    expected = np.percentile(calls.nanoseconds, percent) / 1e6
    assert calls.percentile_ms(percent) == pytest.approx(expected)
    assert math.isnan(CallTimes(calls.nanoseconds[1:]).percentile_ms(percent))


def test_the_real_clock():
    found = measure_in_turn({"x": lambda: time.sleep(0.002)}, rounds=2, seconds=1, warmup=0)
    assert 1.9 < found["x"].percentile_ms(0) < 500


# --- stopwatch ------------------------------------------------------------------------------------


def test_stopwatch():
    world = World()
    with stopwatch(world.clock) as watch:
        world.now += 2_500_000_000
        assert watch.seconds == 0
    assert watch.seconds == 2.5


def test_stopwatch_survives_an_error():
    world = World()

    def fail() -> None:
        world.now += 1_000_000_000
        raise KeyError

    with pytest.raises(KeyError), stopwatch(world.clock) as watch:
        fail()
    assert watch.seconds == 1


# --- memory ---------------------------------------------------------------------------------------


def test_peak_memory_sees_a_passing_allocation():
    before = psutil.Process().memory_info().rss / 1e6
    with peak_memory(interval=0.005) as peak:
        block = np.ones(25_000_000)  # 200 MB, written to
        time.sleep(0.1)
        del block
        time.sleep(0.02)
    assert peak.megabytes > before + 180
    with peak_memory() as later:
        pass
    assert 0 < later.megabytes < peak.megabytes - 100  # it was given back, and another one starts


def test_peak_memory_ends_its_thread_after_an_error():
    threads = threading.active_count()
    with pytest.raises(KeyError), peak_memory() as peak:
        raise KeyError
    assert peak.megabytes > 0
    assert threading.active_count() == threads
