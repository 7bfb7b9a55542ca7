"""What runs of a sweep share is made once, makes room for others, and is closed at the end."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from bench.calibration.quantized_file import QuantizedFile
from bench.cli.compose import build_typed
from bench.quantization.plan import PrecisionPlan
from bench.run.measure import _rounds
from bench.run.shared import Shared


class Session:
    """A thing that knows whether it was closed."""

    closed = False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True


def test_a_thing_is_made_once_for_each_kind_and_key() -> None:
    shared, made = Shared(), []
    for kind, key in (("graph", "a"), ("graph", "a"), ("graph", "b"), ("order", "a")):
        shared.once(kind, key, lambda kind=kind, key=key: made.append((kind, key)))
    assert made == [("graph", "a"), ("graph", "b"), ("order", "a")]


def test_what_was_not_asked_for_longest_makes_room_and_is_closed() -> None:
    shared = Shared()
    first, second = (shared.once("session", key, Session, most=2) for key in "ab")
    assert shared.once("session", "a", Session, most=2) is first
    shared.once("session", "c", Session, most=2)
    assert (first.closed, second.closed) == (False, True)
    assert shared.once("session", "b", Session, most=2) is not second


def test_the_end_closes_everything_after_an_error_too() -> None:
    with contextlib.suppress(RuntimeError), Shared() as shared:
        sessions = [shared.once("session", key, Session) for key in "ab"]
        shared.once("graph", "a", object)  # is nothing to close
        raise RuntimeError
    assert all(session.closed for session in sessions)
    assert shared.once("session", "a", Session) is not sessions[0]


def test_later_runs_of_a_plan_are_timed_for_a_third_of_the_rounds() -> None:
    shared = Shared()
    first, later = (build_typed([f"calibration.size={size}"], shared) for size in (2, 4))
    others = [replace(one, placement="implicit") for one in (first, later)]
    assert [_rounds(one) for one in (first, later, *others)] == [50, 16, 50, 16]
    assert _rounds(first) == 50  # it is the first, however often it is asked
    few = replace(later, measurement=replace(later.measurement, rounds=12))
    assert _rounds(few) == 10
    assert _rounds(build_typed(["calibration.size=4"])) == 50  # of another sweep


def test_the_first_run_of_every_quantized_file_is_timed_for_all_rounds(tmp_path: Path) -> None:
    shared, runs = Shared(), []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())  # of equal size
        file = QuantizedFile(str(tmp_path / name))
        run = build_typed(["calibration.size=2"], shared)
        runs.append(replace(run, calibrator=file, plan=PrecisionPlan("file")))
    larger = replace(runs[1], calibration=replace(runs[1].calibration, size=4))
    assert [_rounds(one) for one in (*runs, larger)] == [50, 50, 16]
