"""Whose thresholds do batch size and order of the calibration images move, and how far?

    python scripts/batch_and_order.py [OVERRIDE ...] [--orders N] [--out FOLDER]

Overrides are those of ``python -m bench``, such as calibration.size=128; several values with commas
make several panels. Without a model it looks at the embedded yolov8n and resnet18.

Statistics are collected once, then the images' extremes are put into other orders: all that a rule
learns of batches and order. Every threshold is divided by that of one batch of all images, which
has no order; 1 means that it did not move.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.calibration.bins import LEAST_RANGE
from bench.calibration.calibrator import Calibrator
from bench.calibration.entropy import Entropy2
from bench.calibration.legacy import Legacy
from bench.calibration.minmax import MinMax
from bench.calibration.moving_average import MovingAverage
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot
from bench.cli.compose import build_run
from bench.cli.config import register
from bench.cli.messages import command
from bench.environment import CONF
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.report.drawing import panels
from bench.report.style import INK, RC, calibrator_colours
from bench.run.ranges import calibrate

BATCH_SIZES = (1, 8, 32)
"""Beside one batch of all images."""

BATCHED: dict[str, Callable[[int], Calibrator]] = {
    "entropy2": lambda size: Entropy2(batch_size=size),
    "moving_average": lambda size: MovingAverage(batch_size=size),
}
WITHOUT: dict[str, Calibrator] = {
    "minmax": MinMax(),
    "percentile": Percentile(),
    "mse": Mse(),
    "legacy": Legacy(),
    "entropy2 without a batch size": Entropy2(),
}
"""Rules that have no batch size, to be shown as not following the order either."""

PANEL = ["model", "dataset", "images"]
NONE = "none"
SHOWN = (0.4, 2.5)
"""Ends of the figure's axis, so that one stray threshold does not flatten the boxes."""
QUANTILES = {"least": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95,
             "most": 1.0}  # fmt: skip


def cases(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each panel: every combination of what commas ask for."""
    if not any(override.startswith("model=") for override in overrides):
        overrides = ["model=yolov8n,resnet18", *overrides]
    choices = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        swept = override.is_sweep_override()
        values = [f"{key}={value}" for value in override.sweep_string_iterator()] if swept else []
        choices.append(values or [str(override.input_line)])
    return [list(choice) for choice in itertools.product(*choices)]


def observe(overrides: Sequence[str]) -> tuple[dict[str, Any], list[Snapshot]]:
    """Of which network and images it is, and what every tensor that is quantized showed."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = compose("config", list(overrides))
    run = build_run(config)
    run.check()
    snapshots = calibrate(run, Graph(run.model.network)).snapshots
    case = {"model": run.model.name, "dataset": run.dataset.name, "images": run.calibration.size}
    return case, [snapshot for snapshot in snapshots if snapshot.amax > LEAST_RANGE]


def moved(snapshot: Snapshot, orders: int) -> Iterator[dict[str, Any]]:
    """For each rule, batch size and order: the threshold over that of one batch of all images."""
    images = len(snapshot.extremes)
    generator = np.random.default_rng(0)  # the same orders for all tensors
    shuffled = [
        replace(snapshot, extremes=snapshot.extremes[generator.permutation(images)])
        for _ in range(orders)
    ]
    rules = [(name, NONE, rule, rule.amax(snapshot)) for name, rule in WITHOUT.items()]
    for name, of_size in BATCHED.items():
        whole = of_size(images).amax(snapshot)
        sizes = [size for size in (*BATCH_SIZES, images) if size <= images]
        rules += [(name, str(size), of_size(size), whole) for size in dict.fromkeys(sizes)]
    for name, size, rule, whole in rules:
        for order, one in enumerate(shuffled):
            ratio = rule.amax(one) / whole
            yield {"calibrator": name, "batch_size": size, "order": order, "ratio": ratio}


def measure(overrides: Sequence[str], orders: int) -> pd.DataFrame:
    """A row for each tensor, rule, batch size and order of one panel."""
    case, snapshots = observe(overrides)
    print("{model} on {dataset}:".format(**case), len(snapshots), "tensors", file=sys.stderr)
    return pd.DataFrame(
        case | {"tensor": snapshot.name} | one
        for snapshot in snapshots
        for one in moved(snapshot, orders)
    )


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Quantiles over tensors and orders, how many moved, and what the order alone does.

    ``by_order`` is a tensor's largest threshold over its smallest among the orders: the median of
    the tensors, and the tensor where it is most.
    """

    keys = [*PANEL, "calibrator", "batch_size"]
    lines = []
    for group, own in rows.groupby(keys, sort=False):
        ratio, tensors = own["ratio"], own.groupby("tensor")["ratio"]
        by_order = tensors.max() / tensors.min()
        lines.append(
            dict(zip(keys, group, strict=True))
            | {"tensors": tensors.ngroups, "orders": own["order"].nunique()}
            | {name: ratio.quantile(share) for name, share in QUANTILES.items()}
            | {
                "moved_1_percent": (abs(ratio - 1) > 0.01).mean(),
                "moved_10_percent": (abs(ratio - 1) > 0.1).mean(),
                "by_order_median": by_order.median(),
                "by_order_most": by_order.max(),
            }
        )
    return pd.DataFrame(lines)


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for each model: boxes of the ratio by batch size."""
    groups = list(rows.groupby(PANEL, sort=False))
    titles = [f"{model} on {dataset}, {images} images" for (model, dataset, images), _ in groups]
    figure, axes = panels(titles, abreast=3, height=3.6)
    colours = calibrator_colours(BATCHED)
    for panel, (_, group) in zip(axes, groups, strict=True):
        _draw_panel(panel, group[group["batch_size"] != NONE], colours)
    axes[0].set_ylabel("threshold / that of one batch")
    drawn = rows.loc[rows["batch_size"] != NONE, "ratio"]
    beyond = int((~drawn.between(*SHOWN)).sum())
    unseen = f" ({beyond} of {len(drawn):,} thresholds lie beyond the axis)" if beyond else ""
    figure.supxlabel(f"calibration batch size{unseen}", fontsize=10)
    keys = [Patch(color=colour, label=name) for name, colour in colours.items()]
    still = [name for name in WITHOUT if (rows[rows["calibrator"] == name]["ratio"] == 1).all()]
    keys.append(Patch(color="none", label=f"always exactly 1: {', '.join(still)}"))
    figure.legend(handles=keys, loc="outside upper left", ncols=len(keys))
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """The box holds half of all, whiskers reach from 5 to 95 %, dots are what lies beyond."""
    sizes = list(rows["batch_size"].unique())
    axes.axhline(1, color=INK, linewidth=1, alpha=0.5, zorder=1)
    for index, (name, colour) in enumerate(colours.items()):
        of_rule = rows[rows["calibrator"] == name].groupby("batch_size")["ratio"]
        values = [of_rule.get_group(size) for size in sizes]
        places = np.arange(len(sizes)) + 0.42 * (index - 0.5)
        line = {"color": colour, "linewidth": 1.4}
        axes.boxplot(
            values, positions=places, widths=0.3, whis=(5, 95), patch_artist=True,
            boxprops={"facecolor": (colour, 0.25), "edgecolor": colour}, medianprops=line,
            whiskerprops=line, capprops=line,
            flierprops={"marker": ".", "markersize": 2, "markeredgecolor": colour, "alpha": 0.3},
        )  # fmt: skip
        for place, ratio in zip(places, values, strict=True):
            for share, side in ((0.05, -1), (0.95, 1)):
                end = float(ratio.quantile(share))
                if abs(end - 1) > 0.01:
                    axes.annotate(
                        f"{end:.2f}", (place, end), xytext=(0, 3 * side), fontsize=8.5,
                        textcoords="offset points", ha="center", va="top" if side < 0 else "bottom",
                    )  # fmt: skip
    axes.set_xticks(range(len(sizes)), [*sizes[:-1], f"all {sizes[-1]}"])
    axes.set_yscale("log")
    axes.set_ylim(*SHOWN)
    axes.set_yticks([0.5, 0.7, 1, 1.4, 2])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=False, axis="x")


def print_table(summary: pd.DataFrame, console: Console) -> None:
    """The quantiles of the rules with a batch size, and in a line those that never moved."""
    batched = summary[summary["batch_size"] != NONE]
    for (model, dataset, images), lines in batched.groupby(PANEL, sort=False):
        table = Table(
            title=f"{model} on {dataset}, {images} images", title_justify="left",
            box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
        )  # fmt: skip
        for name in ("calibrator", "batch", "5 %", "median", "95 %", "> 1 %", "> 10 %", "by order"):
            table.add_column(name, justify="left" if name == "calibrator" else "right")
        for _, one in lines.iterrows():
            table.add_row(
                str(one["calibrator"]), str(one["batch_size"]),
                *(f"{one[name]:.3f}" for name in ("q05", "median", "q95")),
                *(f"{100 * one[name]:.0f} %" for name in ("moved_1_percent", "moved_10_percent")),
                f"x {one['by_order_median']:.2f}",
            )  # fmt: skip
        console.print(table)
    console.print(
        "Threshold over that of one batch of all images; the share that moved by more than 1 and "
        "10 %;\na tensor's largest threshold over its smallest among the orders, in the median."
    )
    others = summary[summary["batch_size"] == NONE]
    for rule, lines in others.groupby("calibrator", sort=False):
        least, most = float(lines["least"].min()), float(lines["most"].max())
        told = "exactly 1 in every order" if least == most == 1 else f"{least:.3f} to {most:.3f}"
        console.print(f"{rule}: {told}")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="as of python -m bench")
    parser.add_argument("--orders", type=int, default=20, help="random orders of the images (20)")
    parser.add_argument(
        "--out", type=Path, default=Path("results/batch-and-order"), metavar="FOLDER",
        help="where batch-and-order.png and .csv go (results/batch-and-order)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.orders < 1:
        raise ConfigError(f"--orders={options.orders} is below 1", "Use 1 or more")
    found = [measure(case, options.orders) for case in cases(options.overrides)]
    rows = pd.concat(found, ignore_index=True)
    summary = summarise(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "batch-and-order.png"
    summary.to_csv(path.with_suffix(".csv"), index=False, float_format="%.4f")
    with mpl.rc_context({**RC, "savefig.facecolor": "white"}):
        draw(rows).savefig(path, dpi=110)
    print_table(summary, Console())
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
