"""Charts of a diagnosis: noise by layer and by block, and how the error grows along the depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench.report.diagnosis_numbers import (
    decibels,
    first_set,
    noise_of,
    percent_text,
    set_words,
)
from bench.report.diagnosis_tables import kind_of, letters_of
from bench.report.drawing import WIDTH, Drawing, short_name
from bench.report.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION
from bench.report.wording import plural
from bench.results.diagnosis import Diagnosis, Effect, LayerDiagnosis

Floats = npt.NDArray[np.float64]

COLOURS = {
    "Conv": BLUE, "depthwise Conv": VERMILLION, "Gemm": GREEN, "MatMul": ORANGE, "Add": SKY,
}  # fmt: skip
OTHER_COLOUR = PURPLE

MOST_IN_A_ROW = 250
"""Most layers side by side: with more, bars would be narrower than the gaps between them."""
MOST_ROWS = 8

DECADES = 7
"""The least noise that is drawn, in decades below the largest."""

NAMED = 20
"""Up to so many layers are labelled by name; more are labelled by number."""

FEWEST_BARS = 8
"""Room for at least so many layers, or one or two bars would fill the chart."""

MOST_BLOCKS = 30


def layer_noise(diagnosis: Diagnosis) -> Drawing | None:
    """Noise over signal at the outputs by each layer alone in INT8, in network order."""
    layers, images = diagnosis.layers, first_set(diagnosis)
    alone, weights, activations = (
        _noises([getattr(layer, kind) for layer in layers], images)
        for kind in ("only", "weights_only", "activations_only")
    )
    whole = noise_of(diagnosis.all_int8, images)
    span = _span([*alone, *weights, *activations, whole or math.nan])
    if not layers or span is None:
        return None
    rows = min(MOST_ROWS, math.ceil(len(layers) / MOST_IN_A_ROW))
    figure = Figure(figsize=(WIDTH, 1.3 + (3.2 if rows == 1 else 1.9 * rows)), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(rows, 1, sharey=True)))
    length = math.ceil(len(layers) / rows)
    for row, axes in enumerate(panels):
        part = slice(row * length, min(len(layers), (row + 1) * length))
        _draw_bars(axes, layers, alone, part, span)
        _draw_marks(axes, weights, part, "^", "weights only", length)
        _draw_marks(axes, activations, part, "o", "activations only", length)
        if whole:
            axes.axhline(whole, color=INK, linewidth=1.2, linestyle=(0, (5, 3)), alpha=0.8,
                         label="all layers in INT8", zorder=1.5)  # fmt: skip
        _scale(axes, span)
        axes.set_xlim(part.start + 0.4, part.start + max(length, FEWEST_BARS) + 0.6)
        _letter(axes, diagnosis, part)
    if len(layers) <= NAMED:
        names = [short_name(layer.name, 26) for layer in layers]
        panels[0].set_xticks(range(1, len(layers) + 1), names, rotation=40, ha="right")
        panels[0].grid(visible=False, axis="x")
    else:
        panels[-1].set_xlabel("layer, by its place in the network")
        for axes in panels:
            axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    figure.supylabel("noise / signal at the outputs", fontsize=10)
    _legend(figure, panels)
    _name_letters(figure, diagnosis)
    return Drawing(
        figure,
        _layers_title(layers, alone),
        f"Bar: this layer alone in INT8, on {set_words(images)}, logarithmic; half as much noise "
        "is 3 dB more SQNR. Triangle: its weights alone. Circle: its activations alone. Dashed: "
        "every layer in INT8. Letters mark the worst layers. A layer without a bar makes no noise, "
        "or less than the scale shows.",
    )


def block_noise(diagnosis: Diagnosis) -> Drawing | None:
    """The same by block: if there are many, the blocks with the most noise."""
    images = first_set(diagnosis)
    noise = {
        number: value
        for number, block in enumerate(diagnosis.blocks)
        if (value := noise_of(block.only, images)) is not None and value > 0
    }
    shown = sorted(sorted(noise, key=lambda number: -noise[number])[:MOST_BLOCKS])
    if len(shown) < 2:
        return None
    span = _span([noise[number] for number in shown])
    assert span is not None
    figure = Figure(figsize=(WIDTH, 0.9 + 0.24 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    values = [noise[number] for number in shown]
    axes.barh(range(len(shown)), values, height=0.7, color=BLUE, left=0)
    names = [short_name(diagnosis.blocks[number].name, 40) for number in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(*span)
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_power))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("noise / signal at the outputs")
    worst = max(shown, key=lambda number: noise[number])
    some = f"The {len(shown)} noisiest of {plural(len(diagnosis.blocks), 'block')}: a"
    return Drawing(
        figure,
        f"{short_name(diagnosis.blocks[worst].name)} is the noisiest block: "
        f"{decibels(-10 * math.log10(noise[worst]))} dB signal to noise",
        f"{some if len(shown) < len(diagnosis.blocks) else 'A'}ll layers with the same name prefix "
        f"in INT8, all other layers in float, on {set_words(images)}. Network order, logarithmic.",
    )


def error_along_depth(diagnosis: Diagnosis) -> Drawing | None:
    """Signal to noise ratio of every tensor, with everything before it in INT8."""
    tensors = diagnosis.tensors
    depth = np.array(
        [math.inf if tensor.depth_db is None else tensor.depth_db for tensor in tensors]
    )
    finite = np.isfinite(depth)
    if not finite.any():
        return None
    places = np.arange(1, len(tensors) + 1)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(places, np.where(finite, depth, math.nan), color=BLUE, marker="o", linewidth=1.4,
              markersize=4 if len(tensors) <= 150 else 0)  # fmt: skip
    top, bottom = float(depth[finite].max()), float(depth[finite].min())
    room = max(0.1 * (top - bottom), 0.5)
    axes.set_ylim(bottom - room, top + 2 * room)
    clean = places[np.isposinf(depth)]
    if clean.size:
        axes.plot(clean, [0.97] * clean.size, transform=axes.get_xaxis_transform(), marker="^",
                  linestyle="none", color=GREEN, markersize=6, label="no noise")  # fmt: skip
        axes.legend(loc="upper right")
    jump = next(
        (at for at, tensor in enumerate(tensors) if tensor.producer == diagnosis.first_jump), None
    )
    if jump is not None:
        axes.axvline(places[jump], color=VERMILLION, linewidth=1.4, zorder=1.2)
        right = jump > len(tensors) / 2
        axes.annotate(
            f"first jump: {short_name(diagnosis.first_jump or '')}", (places[jump], 1),
            xycoords=axes.get_xaxis_transform(), xytext=(-6 if right else 6, 3),
            textcoords="offset points", ha="right" if right else "left", va="bottom",
            color=INK, fontsize=9.5,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_xlim(0.5, len(tensors) + 0.5)
    axes.set_xlabel("tensor, by its place in the network")
    axes.set_ylabel("SQNR of its values (dB)")
    return Drawing(
        figure,
        _depth_title(diagnosis, depth, jump),
        "Signal to noise ratio of each quantized activation, with everything before it in INT8: "
        "higher is better. A line that falls step by step is normal; a sudden fall points to the "
        "layer that computes the tensor.",
    )


def _noises(effects: Sequence[Mapping[str, Effect]], images: str) -> Floats:
    noises = [noise_of(effect, images) for effect in effects]
    return np.array([math.nan if noise is None else noise for noise in noises], dtype=float)


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    """The ends of a logarithmic scale; None where there is no noise."""
    positive = [value for value in values if value > 0]
    if not positive:
        return None
    top = max(positive) * 2
    lowest = max(min(positive), max(positive) * 10.0**-DECADES)
    return 10.0 ** math.floor(math.log10(lowest) - 0.3), top


def _draw_bars(
    axes: Axes, layers: Sequence[LayerDiagnosis], noise: Floats, part: slice,
    span: tuple[float, float],
) -> None:  # fmt: skip
    """One path for each kind of layer: a thousand patches would make a large page."""
    for kind in sorted({kind_of(layer) for layer in layers}):
        edges, heights = [part.start + 0.5], []
        for place in range(part.start, part.stop):
            drawn = kind_of(layers[place]) == kind and noise[place] > span[0]
            heights += [math.nan, noise[place] if drawn else math.nan, math.nan]
            edges += [place + 0.6, place + 1.4, place + 1.5]
        axes.stairs(
            heights, edges, baseline=span[0], fill=True, label=kind,
            color=COLOURS.get(kind, OTHER_COLOUR), linewidth=0,
        )  # fmt: skip


def _draw_marks(
    axes: Axes, noise: Floats, part: slice, marker: str, label: str, length: int
) -> None:
    size = 5.5 if length <= 40 else 3.6 if length <= 110 else 2.4
    places = np.arange(part.start, part.stop)
    shown = places[np.nan_to_num(noise[part]) > 0]
    axes.plot(
        shown + 1, noise[shown], marker=marker, linestyle="none", markersize=size, label=label,
        color=INK, markerfacecolor="white", markeredgewidth=0.9 if length <= 110 else 0.6,
        alpha=0.9,
    )  # fmt: skip


def _scale(axes: Axes, span: tuple[float, float]) -> None:
    axes.set_yscale("log")
    axes.set_ylim(*span)
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power))


def _power(value: float, _: object) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")


def _letter(axes: Axes, diagnosis: Diagnosis, part: slice) -> None:
    letters = letters_of(diagnosis)
    labels, ticks, level, before = [], [], 0, -math.inf
    for place in range(part.start, part.stop):
        letter = letters.get(diagnosis.layers[place].name)
        if letter is not None:
            level = level + 1 if place - before < (part.stop - part.start) / 75 else 0
            ticks.append(place + 1)
            labels.append(letter + "\n" * level)
            before = place
    top = axes.secondary_xaxis("top")
    top.set_xticks(ticks, labels)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)


def _name_letters(figure: Figure, diagnosis: Diagnosis) -> None:
    letters = letters_of(diagnosis)
    if not letters or len(diagnosis.layers) <= NAMED:
        return
    labels = [f"({letter}) {short_name(name, 60)}" for name, letter in letters.items()]
    figure.legend(
        [Line2D([], [], linestyle="none") for _ in labels], labels, loc="outside lower left",
        ncols=2 if len(labels) > 1 else 1, handlelength=0, handletextpad=0, fontsize=9,
    )  # fmt: skip


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(named.values()), list(named), loc="outside upper left", ncols=min(len(named), 7)
    )


def _layers_title(layers: Sequence[LayerDiagnosis], noise: Floats) -> str:
    if not np.nan_to_num(noise).any():
        return "No layer alone in INT8 makes any noise"
    worst = int(np.nanargmax(noise))
    if len(layers) == 1:
        ratio = decibels(-10 * math.log10(float(noise[worst])))
        return f"{short_name(layers[worst].name)} alone in INT8: {ratio} dB signal to noise"
    share = percent_text(float(noise[worst] / np.nansum(noise)))
    return (
        f"{short_name(layers[worst].name)} makes {share} % of the noise of "
        f"{plural(len(layers), 'layer')}, each alone in INT8"
    )


def _depth_title(diagnosis: Diagnosis, depth: Floats, jump: int | None) -> str:
    if jump is not None and jump > 0:
        return (
            f"After {short_name(diagnosis.first_jump or '')}, SQNR first jumps: from "
            f"{decibels(float(depth[jump - 1]))} to {decibels(float(depth[jump]))} dB"
        )
    if diagnosis.first_jump:
        return f"The error first jumps after {short_name(diagnosis.first_jump)}"
    least = int(np.nanargmin(depth))
    return (
        f"No sudden jump: SQNR is lowest, {decibels(float(depth[least]))} dB, at "
        f"{short_name(diagnosis.tensors[least].name)}"
    )
