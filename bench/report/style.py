"""How figures look: one colour per calibrator everywhere, ink that follows the page's theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb

from bench.report.wording import calibrator_order

INK = "#24292f"
"""Text, axes and grid (paler by alpha). The page replaces it by ``currentColor``."""

RC = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
}

# Okabe and Ito's palette, without its black (our ink) and its yellow (lost on white paper).
BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7",
)  # fmt: skip
HOUSE = {
    "minmax": BLUE,
    "entropy2": VERMILLION,
    "percentile": GREEN,
    "mse": ORANGE,
    "moving_average": SKY,
    "legacy": PURPLE,
}
MARKERS = "osD^vPX*<>"
STAGES = {
    "collect_s": ("collecting statistics", "#5b7083"),
    "threshold_s": ("computing thresholds", "#E69F00"),
    "build_s": ("building the engine", "#a9b8c6"),
}


def calibrator_colours(calibrators: Iterable[str]) -> dict[str, str]:
    """A fixed colour for each calibrator, with a tint for each of its parameters."""
    ordered = sorted(set(calibrators), key=calibrator_order)
    names = list(dict.fromkeys(calibrator.partition(" ")[0] for calibrator in ordered))
    free = [colour for colour in HOUSE.values() if colour not in {HOUSE.get(n) for n in names}]
    palette = free or list(HOUSE.values())
    strangers = [name for name in names if name not in HOUSE]
    base = HOUSE | {name: palette[i % len(palette)] for i, name in enumerate(strangers)}
    colours = {}
    for name in names:
        variants = [calibrator for calibrator in ordered if calibrator.partition(" ")[0] == name]
        for i, calibrator in enumerate(variants):
            # From a pale tint to a deeper shade, neither lost on white nor on black paper.
            shift = 0.0 if len(variants) == 1 else 0.55 - 0.75 * i / (len(variants) - 1)
            colours[calibrator] = _mix(base[name], "white" if shift > 0 else "black", abs(shift))
    return colours


def calibrator_markers(calibrators: Iterable[str]) -> dict[str, str]:
    """A marker for each calibrator, so that colour is never the only difference."""
    return {
        calibrator: MARKERS[i % len(MARKERS)]
        for i, calibrator in enumerate(sorted(set(calibrators), key=calibrator_order))
    }


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever is readable on this colour."""
    red, green, blue = colour[:3]
    return "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else "#111111"


def reference_line(axes: Axes, value: float, *, vertical: bool = False) -> None:
    """FP32, dashed; its label goes into the legend."""
    line = axes.axvline if vertical else axes.axhline
    line(
        value, color=INK, linewidth=1.2, linestyle=(0, (5, 3)), alpha=0.8, label="FP32", zorder=1.5
    )


def _mix(colour: str, other: str, share: float) -> str:
    red, green, blue = (
        (1 - share) * a + share * b for a, b in zip(to_rgb(colour), to_rgb(other), strict=True)
    )
    return to_hex((red, green, blue))
