"""Charts of cost: latency, and the seconds of calibration.

Each takes the tidy, measured rows of one group, and gives None when none of them was timed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.report.drawing import (
    WIDTH,
    Drawing,
    Look,
    calibrators_of,
    legend_above,
    metric_of,
    panels,
    unique,
    wrap,
)
from bench.report.style import INK, MARKERS, STAGES
from bench.report.wording import plural

Point = tuple[float, float]
"""Latency in milliseconds per image, and accuracy."""


def accuracy_by_latency(rows: pd.DataFrame, look: Look) -> Drawing | None:
    """Accuracy against latency at the largest size, with FP32, FP16 and the Pareto front."""
    rows = rows[rows["int8_ms"].notna()]
    if rows.empty:
        return None
    # Latency does not depend on the number of calibration images: other sizes would only clutter.
    size = int(rows["calibration_size"].max())
    rows = rows[rows["calibration_size"] == size]
    plans = unique(rows["plan_label"])
    shapes = {plan: MARKERS[i % len(MARKERS)] for i, plan in enumerate(plans)}
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot()
    points = _points(rows, "int8_ms", "int8")
    for (x, y), (_, row) in zip(points, rows.iterrows(), strict=True):
        colour = look.colours[str(row["calibrator_label"])]
        axes.plot(
            x, y, linestyle="none", markersize=7, alpha=0.85,
            marker=shapes[str(row["plan_label"])], color=colour,
            markerfacecolor="none" if row["latency_note"] else colour,
        )  # fmt: skip
    # An unreliable latency is drawn hollow and is not part of the front.
    sound = [point for point, note in zip(points, rows["latency_note"], strict=True) if not note]
    if front := pareto_front([*sound, *_draw_float(axes, rows)]):
        axes.step(*zip(*front, strict=True), where="post", color=INK, alpha=0.45, linewidth=1.2)
    axes.margins(x=0.14, y=0.14)
    axes.set_xlabel("median latency of the plan (ms per image), runs scaled to one FP32 latency")
    axes.set_ylabel(metric_of(rows))
    keys = [
        _key(wrap(calibrator, 28), "o", look.colours[calibrator], filled=True)
        for calibrator in calibrators_of(rows)
    ]
    keys += [_key(wrap(f"plan {plan}", 28), shapes[plan], INK) for plan in plans]
    keys.append(Line2D([], [], color=INK, alpha=0.45, linewidth=1.2, label="Pareto front"))
    figure.legend(handles=keys, loc="outside right upper")
    fast = int((rows["int8_ms"] < rows["fp32_ms"]).sum())
    return Drawing(
        figure,
        f"{fast} of {plural(len(rows), 'INT8 run')} with {plural(size, 'calibration image')} "
        f"{'is' if fast == 1 else 'are'} faster than FP32 on the same engine",
        "Better is up and to the left. Colour: calibrator. Shape: plan. Hollow: the latency is "
        "not reliable. Nothing is better than the Pareto front in both accuracy and latency. The "
        "machine's speed drifts between runs, so each run is scaled by its FP32 latency.",
    )


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats in both latency (lower) and accuracy (higher).

    >>> pareto_front([(2.0, 0.5), (1.0, 0.4), (3.0, 0.45)])
    [(1.0, 0.4), (2.0, 0.5)]
    """
    front: list[Point] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front


def calibration_cost(rows: pd.DataFrame, look: Look) -> Drawing | None:
    """Seconds to collect, to compute thresholds and to build: one bar per calibrator, one panel per
    size."""
    stages = list(STAGES)
    rows = rows[rows[stages].notna().any(axis=1)]
    if rows.empty:
        return None
    means = rows.groupby(["calibration_size", "calibrator_label"])[stages].mean().fillna(0.0)
    sizes, calibrators = sorted(rows["calibration_size"].unique()), calibrators_of(rows)[::-1]
    titles = [plural(int(size), "image") for size in sizes]
    figure, axes = panels(titles, abreast=5, height=0.6 + 0.27 * len(calibrators))
    for panel, size in zip(axes, sizes, strict=True):
        bars = means.loc[size].reindex(calibrators).fillna(0.0)
        y, left = np.arange(len(bars)), np.zeros(len(bars))
        for stage, (name, colour) in STAGES.items():
            panel.barh(y, bars[stage], left=left, height=0.72, color=colour, label=name)
            left += bars[stage].to_numpy()
        panel.set_yticks(y, [wrap(calibrator, 28) for calibrator in calibrators])
        for height, total in enumerate(left):
            panel.annotate(
                f"{total:.1f}", (total, height), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=9,
            )  # fmt: skip
        panel.margins(x=0.3)
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("seconds", fontsize=10)
    legend_above(figure, axes[0])
    totals = means.sum()
    name, share = STAGES[str(totals.idxmax())][0], float(totals.max() / (totals.sum() or 1.0))
    return Drawing(
        figure,
        f"{name.capitalize()} takes {100 * share:.0f} % of the calibration time",
        "Seconds by calibrator, one panel per calibration size, mean over plans and seeds. One "
        "pass collects for all calibrators and sizes of a sweep; each bar shows its share of it.",
    )


def _points(rows: pd.DataFrame, latency: str, accuracy: str) -> list[Point]:
    return list(zip(rows[latency], rows[accuracy], strict=True))


def _draw_float(axes: Axes, rows: pd.DataFrame) -> list[Point]:
    """FP32 and FP16 on the same engine, and FP32 as plain ONNX, where they were timed."""
    drawn = []
    for latency, accuracy, name, below in (
        ("fp32_ms", "fp32", "FP32, same engine", False),
        ("fp16_ms", "fp16", "FP16, same engine", True),
        ("baseline_ms", "fp32", "FP32 ONNX baseline", True),
    ):
        x, y = (float(np.median(v)) for v in zip(*_points(rows, latency, accuracy), strict=True))
        if math.isfinite(x):
            drawn.append((x, y))
            axes.plot(x, y, marker="*", markersize=11, color=INK, linestyle="none", zorder=3)
            axes.annotate(
                name, (x, y), xytext=(0, -18 if below else 9), textcoords="offset points",
                ha="center" if below else "right",
            )  # fmt: skip
    return drawn


def _key(label: str, marker: str, colour: str, *, filled: bool = False) -> Line2D:
    face = colour if filled else "none"
    return Line2D(
        [], [], color=colour, marker=marker, markerfacecolor=face, linestyle="none", label=label
    )
