"""One tensor's chart in a diagnosis: its histogram with the range, and FP32 against INT8."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from bench.report.diagnosis_numbers import number_text, percent_text
from bench.report.diagnosis_tables import letters_of
from bench.report.drawing import WIDTH, Drawing, short_name
from bench.report.style import BLUE, INK, VERMILLION
from bench.results.diagnosis import Diagnosis, TensorDiagnosis

Floats = npt.NDArray[np.float64]

MOST_TENSORS = 6
"""Most tensors with a chart, which keeps the page small."""

MOST_COLUMNS = 128
MOST_PAIRS = 600


def telling_tensors(diagnosis: Diagnosis) -> list[tuple[TensorDiagnosis, str]]:
    """The tensors that the worst layers read and that have something to draw, each with the letters
    of its readers."""
    by_name = {tensor.name: tensor for tensor in diagnosis.tensors}
    inputs = {layer.name: layer.inputs for layer in diagnosis.layers}
    readers: dict[str, list[str]] = {}
    for layer, letter in letters_of(diagnosis).items():
        for name in inputs[layer]:
            if name in by_name and _is_drawn(by_name[name]):
                readers.setdefault(name, []).append(letter)
    first = list(readers.items())[:MOST_TENSORS]
    return [
        (by_name[name], ", ".join(f"({letter})" for letter in letters)) for name, letters in first
    ]


def tensor_chart(tensor: TensorDiagnosis, readers: str) -> Drawing:
    """Its histogram, and some of its values in FP32 and in INT8."""
    pairs = _pairs(tensor)
    has_counts = _has_counts(tensor)
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    widths = [1.9, 1.0] if has_counts and len(pairs) else [1.0]
    panels = list(np.atleast_1d(figure.subplots(1, len(widths), width_ratios=widths)))
    if has_counts:
        _draw_histogram(panels[0], tensor)
    if len(pairs):
        _draw_pairs(panels[-1], tensor, pairs)
    return Drawing(
        figure,
        f"{short_name(tensor.name, 80)}, read by {readers}: INT8 covers "
        f"\N{MINUS SIGN}{number_text(tensor.amax, 3)} to {number_text(tensor.amax, 3)}, "
        f"observed: {number_text(tensor.min, 3)} to {number_text(tensor.max, 3)}",
        _reading(tensor, has_counts, len(pairs) > 0),
    )


def _reading(tensor: TensorDiagnosis, has_counts: bool, has_pairs: bool) -> str:
    said = []
    if has_counts:
        said.append(
            "How often each value occurred (logarithmic; a column shows its fullest bin). "
            "Vertical lines: the range of INT8, beyond which "
            f"{percent_text(tensor.saturated_share)} % of the values saturate."
        )
    if has_pairs:
        said.append(
            "Points: the same elements in FP32 and in INT8. On the diagonal there is no error; "
            "flat ends are saturated values; wide steps show a range that is too wide."
        )
    return " ".join(said)


def _is_drawn(tensor: TensorDiagnosis) -> bool:
    return _has_counts(tensor) or len(_pairs(tensor)) > 0


def _has_counts(tensor: TensorDiagnosis) -> bool:
    return any(tensor.counts) and math.isfinite(tensor.low + tensor.high) and (
        tensor.high > tensor.low
    )  # fmt: skip


def _pairs(tensor: TensorDiagnosis) -> Floats:
    every: Floats = np.array(tensor.pairs, dtype=float).reshape(-1, 2)
    finite: Floats = every[np.isfinite(every).all(axis=1)]
    return finite[:: max(1, math.ceil(len(finite) / MOST_PAIRS))]


def _draw_histogram(axes: Axes, tensor: TensorDiagnosis) -> None:
    counts = np.array(tensor.counts)
    edges = np.linspace(tensor.low, tensor.high, counts.size + 1)
    starts = np.arange(0, counts.size, math.ceil(counts.size / MOST_COLUMNS))
    heights = np.maximum.reduceat(counts, starts)
    axes.stairs(
        np.maximum(heights, 0.5), np.append(edges[starts], edges[-1]), baseline=0.5, fill=True,
        color=INK, alpha=0.35, linewidth=0.6,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0.5, float(heights.max()) * 3)
    low, high = tensor.low, tensor.high
    ends = _ends(tensor)
    for end in ends:
        axes.axvline(end, color=VERMILLION, linewidth=1.6)
    first, last = min([low, *ends]), max([high, *ends])
    margin = 0.03 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    end = ends[-1] if ends else last
    right = end > first + 0.6 * (last - first)
    axes.annotate(
        f"amax {number_text(tensor.amax)}", (end, 0.97), xycoords=axes.get_xaxis_transform(),
        xytext=(-5 if right else 5, 0), textcoords="offset points", va="top", fontsize=9.5,
        ha="right" if right else "left",
    )  # fmt: skip
    axes.set_xlabel("x, in the tensor's unit")
    axes.set_ylabel("values per bin")


def _ends(tensor: TensorDiagnosis) -> list[float]:
    """The ends of INT8's range, the lower one only where values are below zero."""
    ends = [-tensor.amax, tensor.amax] if tensor.low < 0 else [tensor.amax]
    return [end for end in ends if math.isfinite(end)]


def _draw_pairs(axes: Axes, tensor: TensorDiagnosis, pairs: Floats) -> None:
    low, high = float(pairs.min()), float(pairs.max())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, alpha=0.7)
    axes.plot(
        pairs[:, 0], pairs[:, 1], marker="o", linestyle="none", markersize=3.2, color=BLUE,
        alpha=0.7, markeredgewidth=0,
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("FP32")
    axes.set_ylabel("INT8")
