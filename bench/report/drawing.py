"""What all charts share: the frame, the look of the calibrators, the panels."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.wording import calibrator_order

WIDTH = 10.4
"""Inches: at the page's full width, text then has its nominal size."""

TITLE_Y = 1.0
"""Title position of a panel. Its top has no ticks, and searching for them at every draw is slow."""


LONGEST_NAME = 44


@dataclass(frozen=True)
class Look:
    """Colour and marker of every calibrator in the table."""

    colours: dict[str, str]
    markers: dict[str, str]


@dataclass(frozen=True)
class Drawing:
    """A figure, what to see in it, and how to read it."""

    figure: Figure
    title: str
    reading: str


def panels(
    titles: list[str], abreast: int, height: float, *, shared: bool = True
) -> tuple[Figure, list[Axes]]:
    """Axes for each title, on shared or separate scales."""
    columns = min(len(titles), abreast)
    lines = math.ceil(len(titles) / columns)
    columns = math.ceil(len(titles) / lines)
    figure = Figure(figsize=(WIDTH, 0.6 + height * lines), layout="constrained")
    grid: Any = figure.subplots(lines, columns, sharex=shared, sharey=shared, squeeze=False)
    axes = list(grid.flat)
    for index in range(len(titles), len(axes)):
        axes[index].set_visible(False)
        # The panel above an empty place must show the shared scale.
        axes[index - columns].tick_params(labelbottom=True)
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(wrap(title, 110 // columns), loc="left", fontweight="bold", y=TITLE_Y)
    return figure, axes[: len(titles)]


def legend_above(figure: Figure, axes: Axes) -> None:
    """One legend for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    columns = math.ceil(len(labels) / math.ceil(len(labels) / 7))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def metric_of(rows: pd.DataFrame) -> str:
    return str(rows["metric"].iloc[0]) or "metric"


def calibrators_of(rows: pd.DataFrame) -> list[str]:
    return sorted(unique(rows["calibrator_label"]), key=calibrator_order)


def unique(values: pd.Series) -> list[str]:
    return [str(value) for value in values.unique()]


def wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


def tensor_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A tensor by the layer that makes it, as PyTorch's exporter names tensors; the end of it.

    >>> tensor_name("/model.2/Split_output_1"), tensor_name("images")
    ('/model.2/Split (output 2)', 'images')
    """
    made = re.fullmatch(r"(.+)_output_([0-9]{1,3})", name)
    if made is None:
        return short_name(name, longest)
    number = int(made[2])
    ending = " (output)" if number == 0 else f" (output {number + 1})"
    return short_name(made[1], longest - len(ending)) + ending


def short_name(name: str, longest: int = LONGEST_NAME) -> str:
    """The end of a tensor's name, which says more than its beginning."""
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
