"""Charts of the cause: each calibrator's thresholds on the histograms of the tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from bench.report.drawing import (
    TITLE_Y,
    WIDTH,
    Drawing,
    Look,
    legend_above,
    panels,
    tensor_name,
    wrap,
)
from bench.report.style import INK
from bench.report.thresholds import Thresholds
from bench.report.wording import calibrator_order, plural
from bench.results.histograms import TensorHistogram

DRAWN_TOGETHER = 17
"""Bins per column of a drawn histogram: each of 2048 bins would be narrower than a pixel.

More than 16, or pictures would seem to have gaps: 8-bit values on [-1, 1] have 128 different |x|.
"""

SPIKE = 0.1
"""A single bin with at least this share of all values is mentioned."""

HIGHEST_SHARE = 4.0
"""Largest share on the scale. A tensor that shares the range of a concatenation may lie far
above."""


def threshold_shares(thresholds: Thresholds, look: Look) -> Drawing | None:
    """Threshold / observed maximum of every tensor, in network order: one line per calibrator."""
    tensors = thresholds.quantized
    if not tensors:
        return None
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot()
    marked = max(1, len(tensors) // 50)  # more marks would overlap
    for calibrator in _calibrators(thresholds):
        shares = [thresholds.share(calibrator, name) for name in tensors]
        axes.plot(
            shares, color=look.colours[calibrator], marker=look.markers[calibrator], markersize=4,
            markevery=marked, linewidth=1.1, label=wrap(calibrator, 28),
            zorder=3 - 0.1 * min(float(np.nanmedian(shares)), 9),  # the deepest in front
        )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    _tell_what_is_off_the_scale(axes, thresholds)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.01)
    axes.set_xlabel("tensor, in network order")
    axes.set_ylabel("threshold / observed maximum")
    _letter(axes, thresholds)
    legend_above(figure, axes)
    _name_letters(figure, thresholds)
    return Drawing(
        figure,
        _shares_title(thresholds),
        "Each calibrator's threshold divided by the largest |x| observed on "
        f"{plural(thresholds.size, 'calibration image')}, for every tensor of plan "
        f"{thresholds.plan_label}. At half the maximum the INT8 steps are half as wide, and "
        "larger values saturate. Letters name the network's input and the tensors on which the "
        "calibrators disagree most, each with its smallest share; their histograms follow."
        + _shared(thresholds),
    )


def threshold_histograms(thresholds: Thresholds, tensors: Sequence[str], look: Look) -> Drawing:
    """The histograms of ``tensors``, one panel each, with one line per calibrator's threshold."""
    letters = dict(zip(thresholds.telling, ascii_lowercase, strict=False))
    abreast = min(2, len(tensors))
    titles = [tensor_name(name, 100 // abreast) for name in tensors]
    for place, name in enumerate(tensors):
        if name in letters:
            titles[place] = f"({letters[name]})\N{NO-BREAK SPACE}{titles[place]}"
    longest = max(len(calibrator) for calibrator in thresholds.amax) + len(" 0.12345")
    keys = max(1, 116 // abreast // (longest + 4))  # beside each other, above a panel
    rows = math.ceil(max(len(thresholds.of(name)) for name in tensors) / keys)
    height = (2.2 if len(tensors) > 1 else 3.6) + 0.19 * rows
    figure, axes = panels(titles, abreast, height, shared=False)
    for panel, name in zip(axes, tensors, strict=True):
        draw_histogram(panel, thresholds, name, look, keys)
    figure.supxlabel("|x|, in the tensor's unit", fontsize=10)
    figure.supylabel("values per bin", fontsize=10)
    return Drawing(
        figure,
        _histograms_title(thresholds, tensors),
        "How often each |x| occurred on "
        f"{plural(thresholds.size, 'calibration image')} (logarithmic), in the 2048 bins that a "
        f"calibrator reads (each column shows the fullest of {DRAWN_TOGETHER} bins). Lines: each "
        f"calibrator's threshold on plan {thresholds.plan_label}. Values to the right of it "
        "saturate." + _spikes([thresholds.tensors[name] for name in tensors]),
    )


def draw_histogram(
    axes: Axes, thresholds: Thresholds, name: str, look: Look, keys: int = 3
) -> None:
    """One tensor's histogram with every calibrator's threshold; the legend above has ``keys``
    columns."""
    _draw_histogram(axes, thresholds.tensors[name])
    _draw_thresholds(axes, thresholds, name, look)
    if thresholds.of(name):
        _draw_key(axes, keys)


def columns(seen: TensorHistogram) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """A histogram's columns as they are drawn, and their edges from zero on.

    Not sums: a spike of a single bin has to keep its height above its neighbours.
    """
    starts = np.arange(0, seen.counts.size, DRAWN_TOGETHER)
    edges = (np.append(starts, seen.counts.size) - 0.5) * (seen.width or 1.0)
    edges[0] = 0.0  # bin 0 is half as wide: there is no |x| below zero
    return np.maximum.reduceat(seen.counts, starts), edges


def _draw_histogram(axes: Axes, seen: TensorHistogram) -> None:
    counts, edges = columns(seen)
    floor = 0.5  # below a single value: a logarithm has no zero
    axes.stairs(
        np.maximum(counts, floor), edges, baseline=floor, fill=True, color=INK, alpha=0.35,
        linewidth=0.6,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=floor)
    spike, share = _fullest(seen)
    if share >= SPIKE:  # thick, as a threshold right behind it would hide it
        height, right = share * seen.count, spike > 0.7 * seen.amax
        axes.vlines(spike, floor, height, color=INK, linewidth=5, alpha=0.55, zorder=1.9)
        axes.annotate(
            f"{100 * share:.0f} % of all values", (spike, height),
            xytext=(-6 if right else 6, -1), textcoords="offset points",
            ha="right" if right else "left", va="top", fontsize=9,
        )  # fmt: skip


def _draw_thresholds(axes: Axes, thresholds: Thresholds, name: str, look: Look) -> None:
    """One line per threshold."""
    amax_by_rule = thresholds.of(name)
    for place, calibrator in enumerate(
        calibrator for calibrator in _calibrators(thresholds) if calibrator in amax_by_rule
    ):
        amax = amax_by_rule[calibrator]
        # Markers at different heights distinguish lines that coincide.
        axes.plot(
            [amax, amax], [0, 0.97 - 0.075 * place], transform=axes.get_xaxis_transform(),
            color=look.colours[calibrator], marker=look.markers[calibrator], markevery=[1],
            linewidth=1.5, label=f"{calibrator} {amax:.4g}",
        )  # fmt: skip
    axes.set_xlim(0, 1.03 * (max([thresholds.tensors[name].amax, *amax_by_rule.values()]) or 1.0))


def _draw_key(axes: Axes, abreast: int) -> None:
    """Put the legend above a panel, and the panel's title above the legend."""
    key = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=abreast, fontsize=9, borderpad=0.2,
        borderaxespad=0, handlelength=1.2, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
    axes.set_title(
        axes.get_title(loc="left"), loc="left", fontweight="bold", fontsize=9.5, y=TITLE_Y,
        pad=8 + 13.5 * math.ceil(len(key.get_texts()) / abreast),
    )  # fmt: skip


def _tell_what_is_off_the_scale(axes: Axes, thresholds: Thresholds) -> None:
    for place, name in enumerate(thresholds.quantized):
        highest = thresholds.highest_share(name)
        if highest > HIGHEST_SHARE:
            axes.set_ylim(top=HIGHEST_SHARE)
            axes.annotate(
                f"↑ {highest:.3g}", (place, HIGHEST_SHARE), xytext=(3, -2), va="top", fontsize=9,
                textcoords="offset points",
            )  # fmt: skip


def _letter(axes: Axes, thresholds: Thresholds) -> None:
    """Letters at the chosen tensors, one above the other where they would touch."""
    tensors = thresholds.quantized
    places = [tensors.index(name) for name in thresholds.telling]
    labels, level, before = [], 0, -math.inf
    for letter, place in zip(ascii_lowercase, places, strict=False):
        level = level + 1 if place - before < len(tensors) / 75 else 0
        labels.append(letter + "\n" * level)
        before = place
    for place in places:
        axes.axvline(place, color=INK, linewidth=0.8, alpha=0.35, zorder=0.9)
    top = axes.secondary_xaxis("top")
    top.set_xticks(places, labels)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)


def _name_letters(figure: Figure, thresholds: Thresholds) -> None:
    labels = []
    for letter, name in zip(ascii_lowercase, thresholds.telling, strict=False):
        calibrator, share = _deepest(thresholds, name)
        labels.append(f"({letter}) {share:.2f} {calibrator}: {tensor_name(name)}")
    handles = [Line2D([], [], linestyle="none") for _ in labels]
    figure.legend(
        handles, labels, loc="outside lower left", ncols=2 if len(labels) > 1 else 1,
        handlelength=0, handletextpad=0, fontsize=9,
    )  # fmt: skip


def _shares_title(thresholds: Thresholds) -> str:
    name = min(thresholds.quantized, key=lambda name: _deepest(thresholds, name)[1])
    calibrator, share = _deepest(thresholds, name)
    if share > 0.995:
        return "No calibrator clips: no threshold is below the observed maximum"
    median = np.nanmedian([thresholds.share(calibrator, name) for name in thresholds.quantized])
    return (
        f"{calibrator} clips most: at {share:.2f} of the observed maximum on "
        f"{tensor_name(name)}; at {median:.2f} on the median tensor"
    )


def _shared(thresholds: Thresholds) -> str:
    """What a share above one means, if there is one that is larger than rounding."""
    highest = max(map(thresholds.highest_share, thresholds.quantized))
    if highest < 1.05:
        return ""
    return (
        " Above 1, a tensor's range is wider than its values: it shares the range of the tensor "
        f"that it is concatenated into. The widest is {highest:.3g} times its values."
    )


def _deepest(thresholds: Thresholds, name: str) -> tuple[str, float]:
    """The calibrator with the smallest share of this tensor, and that share."""
    calibrator = min(thresholds.of(name), key=lambda calibrator: thresholds.share(calibrator, name))
    return calibrator, thresholds.share(calibrator, name)


def _histograms_title(thresholds: Thresholds, tensors: Sequence[str]) -> str:
    with_any = [name for name in tensors if thresholds.of(name)]
    if not with_any:
        return f"{tensor_name(tensors[0])} stays in float: no calibrator set a threshold"
    name = max(with_any, key=thresholds.disagreement)
    amax = thresholds.of(name)
    low, high = (pick(amax, key=lambda calibrator: amax[calibrator]) for pick in (min, max))
    if thresholds.disagreement(name) < 1.005:
        calibrators = plural(len(amax), "calibrator")
        return f"Threshold of {tensor_name(name)} with {calibrators}: {amax[low]:.4g}"
    return (
        f"The thresholds {'differ most' if len(tensors) > 1 else 'differ'} on {tensor_name(name)}: "
        f"{amax[low]:.4g} ({low}) to {amax[high]:.4g} ({high})"
    )


def _spikes(seen: Sequence[TensorHistogram]) -> str:
    """Single bins with a large share of a tensor: a threshold search may stop at such a bin."""
    sentences = []
    for histogram in seen:
        spike, share = _fullest(histogram)
        if share >= SPIKE:
            sentences.append(
                f" A single bin, at {spike:.3g}, holds {100 * share:.0f} % of all values of "
                f"{histogram.name}."
            )
    return "".join(sentences)


def _fullest(seen: TensorHistogram) -> tuple[float, float]:
    """Position of the fullest bin except the bin of zero, and its share of all values."""
    fullest = 1 + int(seen.counts[1:].argmax())
    return fullest * seen.width, float(seen.counts[fullest]) / max(seen.count, 1)


def _calibrators(thresholds: Thresholds) -> list[str]:
    return sorted(thresholds.amax, key=calibrator_order)
