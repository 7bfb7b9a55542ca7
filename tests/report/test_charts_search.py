"""The chart of a search: every trial, the budget and the choice, on limits that can be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.charts_search import search_trials, timed_trials
from bench.report.figures import draw_searches, groups_of
from bench.results.folder import SweepFolder
from bench.results.plan_latency import Gain, LatencyTrail, LayerCost, TimedTrial
from bench.results.plan_search import Budget, Trail, Trial
from bench.results.store import RowStore
from bench.results.table import make_table


def trial(rule: str, layers: int, share: float, loss: float) -> Trial:
    names = tuple(f"/model.{i}/conv/Conv" for i in range(layers))
    return Trial(f"calibrator={rule}", names, share, 0.8, 0.8 * (1 - loss), loss, 0.003)


def trail(budget: Budget, *trials: Trial) -> Trail:
    best = max(trials, key=lambda one: one.rank(budget), default=None)
    met = best is not None and best.meets(budget)
    return Trail(budget, "mAP50-95", "192 shapes calibration images", trials, best, met, 60.0, True)


TRIALS = [
    trial("minmax", 0, 1.0, 0.019), trial("minmax", 3, 0.995, 0.016),
    trial("minmax", 7, 0.97, 0.004), trial("mse", 0, 1.0, 0.45), trial("mse", 4, 0.985, 0.006),
]  # fmt: skip


def test_the_choice_and_the_budget_are_drawn():
    drawing = search_trials(trail(Budget(0.01), *TRIALS))
    assert drawing is not None
    assert drawing.title == "5 trials of plan=auto chose 4 layers in float"
    assert "192 shapes calibration images" in drawing.reading
    (axes,) = drawing.figure.axes
    low, high = axes.get_ylim()
    assert low < 0.004 < 0.019 < high < 0.1  # a loss of 45 % is beyond the chart
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.01]


def test_a_budget_that_nothing_meets_is_said():
    drawing = search_trials(trail(Budget(0.0001, 0.98), *TRIALS))
    assert drawing is not None
    assert drawing.title.endswith("and none of them is within the budget")
    (axes,) = drawing.figure.axes
    assert len([line for line in axes.lines if line.get_linestyle() == "--"]) == 2


def test_a_search_without_a_trial_is_not_drawn():
    assert search_trials(trail(Budget(0.01))) is None


GAIN = Gain(0.03, 0.02, 0.04, 200)


def timed(gain: Gain | None, *trials: TimedTrial) -> Trail:
    slower = (LayerCost("stem", 0.3, 0.2), LayerCost("fc", 0.02, 0.01))
    latency = LatencyTrail(
        "openvino 2026.4.1", "a processor, 2 cores, 8 GiB", "alone", (), 10.0, slower, trials, gain,
        False,
    )  # fmt: skip
    return replace(trail(Budget(0.01), *TRIALS), latency=latency)


def test_what_was_timed_is_drawn_with_its_place():
    trials = (
        TimedTrial(("stem", "fc"), 0.9, 9.8, Gain(0.02, -0.01, 0.05, 200), None, False),
        TimedTrial(("stem",), 0.95, 9.7, GAIN, 0.004, True),
    )
    drawing = timed_trials(timed(GAIN, *trials))
    assert drawing is not None
    assert "faster by 3.0% (95 % interval 2.0% to 4.0%)" in drawing.title
    assert "openvino 2026.4.1, a processor, 2 cores, 8 GiB" in drawing.reading
    (axes,) = drawing.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "2 layers in float, 9.8 ms, loss not measured", "1 layer in float, 9.7 ms, loses 0.4%",
    ]  # fmt: skip


def test_a_search_that_timed_nothing_is_not_drawn():
    assert timed_trials(timed(None)) is None
    assert timed_trials(trail(Budget(0.01), *TRIALS)) is None


def test_searches_are_read_beside_their_rows(
    tmp_path: Path, row, capsys: pytest.CaptureFixture[str]
):
    store, path = RowStore(tmp_path), SweepFolder(tmp_path).plan_search("a")
    path.parent.mkdir(parents=True)
    path.write_bytes(trail(Budget(0.01), *TRIALS).to_bytes())
    for key in ("a", "b"):
        store.add(row(run_key=key, plan="auto, loss 0.01"), {})
    groups = groups_of(make_table(store.rows()))
    (chart,) = draw_searches(groups, store)
    assert chart.name.endswith("plan-search-1")
    path.write_bytes(path.read_bytes().replace(b"0.019", b"0.018"))
    assert draw_searches(groups, store) == ()
    assert "is damaged" in capsys.readouterr().err
