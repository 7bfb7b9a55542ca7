"""What a group's configurations say about each calibrator and each axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.result import Result
from bench.report.wording import calibrator_order, plain
from bench.results.row import COLUMNS, columns_with


@dataclass(frozen=True)
class CalibratorRange:
    """One calibrator: its best configuration, and its best on its worst plan."""

    calibrator_label: str
    best: Result
    worst_plan: Result


@dataclass(frozen=True)
class AxisEffect:
    """How far the mean delta moves along one swept axis, over configurations measured with every
    value of it."""

    axis: str
    spread: float
    best: str
    worst: str


def calibrator_ranges(results: Sequence[Result]) -> tuple[CalibratorRange, ...]:
    ranges = []
    for label in sorted({r.calibrator_label for r in results}, key=calibrator_order):
        of_calibrator = [r for r in results if r.calibrator_label == label]
        per_plan = [
            max((r for r in of_calibrator if r.plan_label == plan), key=lambda r: r.delta)
            for plan in dict.fromkeys(r.plan_label for r in of_calibrator)
        ]
        low, high = (pick(per_plan, key=lambda r: r.delta) for pick in (min, max))
        ranges.append(CalibratorRange(label, best=high, worst_plan=low))
    return tuple(sorted(ranges, key=lambda r: -r.best.delta))


def axis_effects(rows: pd.DataFrame) -> tuple[AxisEffect, ...]:
    """How far the mean moves along each axis, over configurations measured with every value of it:
    others would not compare like with like."""
    rows = rows.assign(all=0)
    # A calibrator with other parameters is another one.
    shown = {
        "calibrator_label" if name == "calibrator" else name: name
        for name in columns_with("effect")
    }
    axes = [axis for axis in shown if rows[axis].nunique() > 1]
    effects = []
    for column in axes:
        others = [axis for axis in axes if axis != column]
        blocks = rows.groupby(["all", *others, column])["delta"].mean().unstack(column).dropna()
        means = blocks.mean().sort_values(kind="stable")
        if len(blocks):
            spread = float(means.iloc[-1] - means.iloc[0])
            best, worst = plain(means.index[-1]), plain(means.index[0])
            effects.append(AxisEffect(COLUMNS[shown[column]].phrase, spread, best, worst))
    return tuple(sorted(effects, key=lambda effect: -effect.spread))
