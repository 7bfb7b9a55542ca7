"""The picture of how collection grows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.style import BLUE, INK, RC, VERMILLION
from tests.benchmarks.scale import Line, Scale


def draw(scales: Mapping[str, Scale], path: Path) -> None:
    """A row for every model: seconds over images, and over tensors, each with its line."""
    with mpl.rc_context({**RC, "savefig.facecolor": "white"}):
        figure = Figure(figsize=(10.4, 0.4 + 3.4 * len(scales)), layout="constrained")
        grid = figure.subplots(len(scales), 2, squeeze=False)
        for (name, scale), (images, tensors) in zip(scales.items(), grid, strict=True):
            for placement, colour in (("explicit", BLUE), ("implicit", VERMILLION)):
                _line(images, scale.by_images[placement], placement, colour)
            _line(tensors, scale.by_tensors, "implicit", VERMILLION)
            images.set(title=f"{name}: over images", xlabel="images", ylabel="seconds")
            tensors.set(
                title=f"{name}: over tensors, {scale.images_of_tensors} images",
                xlabel="tensors looked at",
                ylabel="seconds",
            )
            for axes in (images, tensors):
                axes.set_xlim(0)
                axes.set_ylim(0)
                axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _line(axes: Axes, line: Line, label: str, colour: str) -> None:
    ends = np.array([0, max(line.x)])
    axes.plot(ends, line.intercept + line.slope * ends, color=INK, alpha=0.4, linewidth=1.2)
    axes.plot(line.x, line.seconds, "o", color=colour, label=f"{label}, R² {line.r2:.4f}")
