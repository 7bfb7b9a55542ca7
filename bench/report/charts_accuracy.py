"""Charts of accuracy: against calibration size, and by calibrator and plan.

Each takes the tidy, measured rows of one group (at least one).
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

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
from bench.report.style import INK, ink_on, reference_line
from bench.report.wording import MISSING, plural, signed

SEEDS_BELOW = 0.25
DODGE = 0.12
"""Octaves between calibrators that are drawn side by side at one size."""

SEED_MARK: dict[str, Any] = {"marker": "|", "markersize": 9, "linestyle": "none"}
"""One tick per calibration set, under the dot of their mean."""

LITTLE = 0.002
"""A smaller change of accuracy is reported as no change."""


def accuracy_by_size(rows: pd.DataFrame, look: Look) -> Drawing:
    """Accuracy against calibration size: one line per calibrator, one panel per plan."""
    means = _mean_over_seeds(rows)
    sizes = sorted(int(size) for size in means["calibration_size"].unique())
    if len(sizes) == 1:
        return _accuracy_at_one_size(rows, look)
    plans, middle = unique(rows["plan_label"]), (len(calibrators_of(rows)) - 1) / 2
    figure, axes = panels(
        [f"plan {name}" for name in plans], abreast=2 if len(plans) == 4 else 3, height=2.7
    )
    for panel, plan in zip(axes, plans, strict=True):
        for calibrator in calibrators_of(rows):
            line = means[(means["calibrator_label"] == calibrator) & (means["plan_label"] == plan)]
            x, colour = line["calibration_size"], look.colours[calibrator]
            marker, label = look.markers[calibrator], wrap(calibrator, 28)
            low, high = line["fp32"] + line["ci_low"], line["fp32"] + line["ci_high"]
            if len(sizes) == 2:  # a band between two sizes would claim what lies between them
                beside = 2 ** (DODGE * (calibrators_of(rows).index(calibrator) - middle))
                reach = np.nan_to_num(np.array([line["int8"] - low, high - line["int8"]]))
                panel.errorbar(
                    x * beside, line["int8"], yerr=reach.clip(0), capsize=3, color=colour,
                    marker=marker, linestyle="none", label=label,
                )  # fmt: skip
                _draw_seeds(panel, rows, calibrator, plan, colour, beside * 2 ** (DODGE / 3))
                continue
            panel.plot(x, line["int8"], color=colour, marker=marker, label=label)
            _draw_seeds(panel, rows, calibrator, plan, colour)
            panel.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        reference_line(panel, float(means["fp32"].mean()))
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_locator(FixedLocator([float(size) for size in sizes]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticks(sizes, [str(size) for size in sizes])
        if len(sizes) == 2:
            panel.set_xlim(sizes[0] / 2**0.7, sizes[1] * 2**0.7)
    figure.supxlabel("calibration images", fontsize=10)
    figure.supylabel(f"INT8 {metric_of(rows)}", fontsize=10)
    legend_above(figure, axes[0])
    return Drawing(
        figure,
        _size_title(means, sizes[0], sizes[-1]),
        f"{metric_of(rows)} of the INT8 model against the number of calibration images, one panel "
        f"per plan. {'Bars' if len(sizes) == 2 else 'Bands'}: 95 % interval of the difference to "
        "FP32 (over images). Dashed: FP32."
        + _seeds(rows, f"{'thick' if len(sizes) == 2 else 'upright'} bars, from worst to best"),
    )


def _accuracy_at_one_size(rows: pd.DataFrame, look: Look) -> Drawing:
    """With a single size there is no line to draw: one dot per calibrator, with its interval."""
    means = _mean_over_seeds(rows)
    plans, calibrators = unique(rows["plan_label"]), calibrators_of(rows)[::-1]
    figure, axes = panels(
        [f"plan {name}" for name in plans], abreast=3, height=0.9 + 0.3 * len(calibrators)
    )
    for panel, plan in zip(axes, plans, strict=True):
        for y, calibrator in enumerate(calibrators):
            dot = means[(means["calibrator_label"] == calibrator) & (means["plan_label"] == plan)]
            error = [(dot["delta"] - dot["ci_low"]).abs(), (dot["ci_high"] - dot["delta"]).abs()]
            panel.errorbar(
                dot["int8"], [y] * len(dot), xerr=np.nan_to_num(np.array(error)), capsize=3,
                color=look.colours[calibrator], marker=look.markers[calibrator], linestyle="none",
            )  # fmt: skip
            of_curve = rows[(rows["calibrator_label"] == calibrator) & (rows["plan_label"] == plan)]
            if of_curve["calibration_seed"].nunique() > 1:
                panel.plot(
                    of_curve["int8"], [y - SEEDS_BELOW] * len(of_curve),
                    color=look.colours[calibrator], **SEED_MARK,
                )  # fmt: skip
        reference_line(panel, float(means["fp32"].mean()), vertical=True)
        panel.set_yticks(
            range(len(calibrators)), [wrap(calibrator, 28) for calibrator in calibrators]
        )
        panel.set_ylim(-0.6, len(calibrators) - 0.4)
        panel.xaxis.set_major_locator(MaxNLocator(5))
    figure.supxlabel(f"INT8 {metric_of(rows)}", fontsize=10)
    best = means.loc[means["delta"].idxmax()]
    return Drawing(
        figure,
        f"At {plural(int(best['calibration_size']), 'calibration image')}, "
        f"{best['calibrator_label']} with plan {best['plan_label']} stays closest "
        f"to FP32 ({signed(float(best['delta']))})",
        f"{metric_of(rows)} of the INT8 model by calibrator, one panel per plan. Bars: 95 % "
        "interval of the difference to FP32 (over images). Dashed: FP32."
        + _seeds(rows, "ticks below them"),
    )


def loss_map(rows: pd.DataFrame, look: Look) -> Drawing:
    """Calibrator x plan at the largest size: the difference to FP32, written into each cell."""
    size = int(rows["calibration_size"].max())
    means = _mean_over_seeds(rows[rows["calibration_size"] == size])
    grid = means.pivot(index="calibrator_label", columns="plan_label", values="delta")
    grid = grid.loc[grid.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    grid = grid[[plan for plan in unique(rows["plan_label"]) if plan in grid]]
    values = grid.to_numpy(dtype=float)
    best = divmod(int(np.nanargmax(values)), values.shape[1])
    winner = f"{grid.index[best[0]]} with plan {grid.columns[best[1]]}"

    width = min(WIDTH, 2.2 + 1.6 * grid.shape[1])
    figure = Figure(figsize=(width, 0.5 + 0.42 * len(grid)), layout="constrained")
    axes = figure.add_subplot()
    _draw_cells(axes, values, best)
    axes.set_xticks(range(grid.shape[1]), [wrap(str(name), 22) for name in grid.columns])
    axes.set_yticks(range(len(grid)), [wrap(str(name), 28) for name in grid.index])
    return Drawing(
        figure,
        f"At {plural(size, 'calibration image')}, {winner} loses least "
        f"({signed(float(values[best]))})",
        f"INT8 minus FP32 {metric_of(rows)} at the largest calibration size. Red is a loss, blue a "
        "gain; the darker, the larger (square-root scale over this table). The frame marks the "
        "best.",
    )


def _draw_cells(axes: Axes, values: npt.NDArray[np.float64], best: tuple[int, int]) -> None:
    limit = max(float(np.nanmax(np.abs(values))), 1e-6)
    colours = matplotlib.colormaps["RdBu"]
    # By square root, since one bad calibrator must not bleach the others; the numbers are written
    # in. The ends of the map are too dark to distinguish: use its middle.
    shades = colours(0.5 + 0.43 * np.sign(values) * np.sqrt(np.abs(values) / limit))
    shades[np.isnan(values)] = 0  # nothing measured: transparent
    axes.imshow(shades, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        missing = math.isnan(value)
        axes.text(
            j, i, MISSING if missing else signed(float(value)), ha="center", va="center",
            color=INK if missing else ink_on(shades[i, j]),
            fontweight="bold" if (i, j) == best else "normal",
        )  # fmt: skip
    corner = (best[1] - 0.5, best[0] - 0.5)
    frame = Rectangle(corner, 1, 1, fill=False, edgecolor="#111111", linewidth=2.2, clip_on=False)
    axes.add_patch(frame)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _mean_over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per calibrator, plan and size; several seeds are averaged."""
    keys = ["calibrator_label", "plan_label", "calibration_size"]
    numbers = ["fp32", "int8", "delta", "ci_low", "ci_high"]
    means: pd.DataFrame = rows.groupby(keys)[numbers].mean().reset_index()
    return means


def _draw_seeds(
    axes: Axes, rows: pd.DataFrame, calibrator: str, plan: str, colour: str, beside: float = 1.0
) -> None:
    """Draw a bar from the worst to the best calibration set of each size with several sets;
    ``beside`` is the factor that moves it away from the size."""
    of_curve = rows[(rows["calibrator_label"] == calibrator) & (rows["plan_label"] == plan)]
    if of_curve["calibration_seed"].nunique() > 1:
        ends = of_curve.groupby("calibration_size")["int8"].agg(["min", "max"])
        axes.vlines(
            ends.index * beside, ends["min"], ends["max"], color=colour, linewidth=2.6, alpha=0.7
        )


def _seeds(rows: pd.DataFrame, mark: str) -> str:
    seeds = rows["calibration_seed"].nunique()
    if seeds < 2:
        return ""
    per_point = rows.groupby(["calibrator_label", "plan_label", "calibration_size"])[
        "calibration_seed"
    ].nunique()
    every = "All are means" if per_point.min() == seeds else "Repeated configurations are means"
    return f" {every} over {seeds} seeds; {mark}: the calibration sets of these seeds."


def _size_title(means: pd.DataFrame, first: int, last: int) -> str:
    change = means.groupby(["calibrator_label", "calibration_size"])["delta"].mean().unstack()
    gain = (change[last] - change[first]).dropna()
    if gain.empty or gain.abs().max() < LITTLE:
        return f"From {first} to {last} images, no calibrator changes by {LITTLE:g} or more"
    calibrator = gain.abs().idxmax()
    amount = signed(float(gain[calibrator]))
    return f"{calibrator} depends most on calibration size: {amount} from {first} to {last} images"
