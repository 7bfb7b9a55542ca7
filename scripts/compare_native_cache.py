"""Compare our thresholds with those in a cache that TensorRT wrote, tensor by tensor.

    python scripts/compare_native_cache.py MODEL IMAGES CACHE NAMES [--batch-size N] [--out FOLDER]

MODEL is the FP32 ONNX file, IMAGES the folder that TensorRT calibrated on, CACHE what it wrote and
NAMES a JSON object: a tensor of MODEL -> its name in CACHE. Images are taken in the order of their
names, stretched to the network's input, as RGB, x / 255.

Writes native-thresholds.csv (a line per tensor) and native-thresholds.png, and prints how close
each rule is. A tensor counts as clipped where TensorRT's threshold is below 0.9 of the largest |x|
that we observed: elsewhere every rule that clips little is right.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.calibration.calibrator import Calibrator, find_ranges
from bench.calibration.collector import Array, Collector
from bench.calibration.entropy import Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.trt_cache import CalibrationCache, parse
from bench.cli.messages import command
from bench.data.files import list_images
from bench.data.preprocess import Preprocess
from bench.errors import ConfigError, DataError
from bench.model.graph import Graph
from bench.model.onnx_model import load_model
from bench.quantization.grid import amax_of
from bench.quantization.plan import IMPLICIT, PrecisionPlan, place
from bench.report.drawing import panels
from bench.report.style import INK, RC, calibrator_colours

CLIPPED = 0.9
"""Of the observed maximum: a native threshold below it clips."""
SHOWN = (0.4, 2.5)
"""Ends of the figure's axis: ratios beyond stand at its edge."""
PLACEMENTS = sorted(IMPLICIT)
SHARED = [f"entropy2 {placement}" for placement in PLACEMENTS]
"""The thresholds of ``entropy2`` after ranges were shared as each placement does."""


def rules(batch_size: int) -> dict[str, Calibrator]:
    """What is compared, by the name in the table; ``batch_size`` is that of TensorRT's calibrator.

    Raises ConfigError for a batch size below 1.
    """
    return {
        "minmax": MinMax(),
        "percentile 99.99": Percentile(),
        "mse": Mse(),
        "entropy2 modelopt": Entropy2("modelopt"),
        "entropy2": Entropy2(),
        f"entropy2 batch {batch_size}": Entropy2(batch_size=batch_size),
        "entropy2 tensorrt10": Entropy2("tensorrt10"),
        f"entropy2 tensorrt10 batch {batch_size}": Entropy2("tensorrt10", batch_size=batch_size),
    }


@dataclass(frozen=True)
class Case:
    """What was compared.

    ``thresholds`` has a line per tensor: the tensor, its name in the cache, the operator that makes
    it, the largest |x| observed, TensorRT's threshold (``native``) and a column per name in
    ``compared``, all in the tensor's unit.
    """

    header: str
    images: int
    compared: tuple[str, ...]
    thresholds: pd.DataFrame

    def groups(self) -> dict[str, pd.DataFrame]:
        """The tensors by what they are, without empty groups; titles tell how many there are."""
        lines = self.thresholds
        groups = {
            "all tensors": lines,
            "outputs of convolutions": lines[lines["op"] == "Conv"],
            "clipped": lines[lines["native"] < CLIPPED * lines["observed_max"]],
            "whose range a placement changes": lines[
                lines[SHARED].ne(lines["entropy2"], axis=0).any(axis=1)
            ],
        }
        return {f"{name} ({len(own)})": own for name, own in groups.items() if len(own)}


def read_names(path: Path) -> dict[str, str]:
    """The JSON object of tensor names; raises DataError for anything else."""
    try:
        read = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(
            f"{path} is not JSON ({error})", 'Give {"our tensor": "its name"}'
        ) from None
    if not isinstance(read, dict) or not all(isinstance(name, str) for name in read.values()):
        raise DataError(f"{path} has no tensor names", 'Give {"our tensor": "name in the cache"}')
    return read


def compare(
    model: Path, images: Path, cache: CalibrationCache, names: Mapping[str, str], batch_size: int
) -> Case:
    """Calibrate on every image and set the thresholds beside the cache's.

    Raises DataError if the three have no tensor in common.
    """
    chosen = rules(batch_size)
    network = load_model(model)
    samples = list_images(images, "IMAGES", upright=True)
    graph, everything = Graph(network), PrecisionPlan("all")
    points = [place(everything, placement, graph) for placement in PLACEMENTS]
    preprocess = Preprocess((network.height, network.width), fit="stretch")

    def image(index: int) -> Array:
        fitted, _ = preprocess.place(samples.image(index))
        return preprocess.normalise(fitted[None])

    ranges = cache.ranges()
    tensors = tuple(points[0].sources)
    known = {name: names[name] for name in tensors if names.get(name) in ranges}
    if not known:
        raise DataError("no tensor of NAMES is in both MODEL and CACHE", "Check the three files")
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(network, tensors, image, samples.fingerprint, Path(folder))
        snapshots = collector.collect(len(samples), time.perf_counter).snapshots
    entropy2 = find_ranges(Entropy2(), snapshots)
    shared = dict(zip(SHARED, (own.widest(entropy2) for own in points), strict=True))
    lines = [
        {
            "tensor": one.name,
            "native_tensor": known[one.name],
            "op": graph.producer[one.name].op_type if one.name in graph.producer else "input",
            "observed_max": one.amax,
            "native": ranges[known[one.name]],
        }
        | {name: rule.amax(one) for name, rule in chosen.items()}
        | {name: amax_of(found[one.name]) for name, found in shared.items()}
        for one in snapshots
        if one.name in known and one.amax > 0
    ]
    return Case(cache.header, len(samples), (*chosen, *SHARED), pd.DataFrame(lines))


def closeness(ratio: pd.Series) -> dict[str, float]:
    """How close thresholds lie, of ours over TensorRT's."""
    apart = (ratio - 1).abs()
    return {
        "median": float(ratio.median()),
        "within 10 %": float((apart <= 0.1).mean()),
        "within 25 %": float((apart <= 0.25).mean()),
        "rms octaves": float(np.sqrt(np.mean(np.log2(ratio) ** 2))),
    }


def summarise(case: Case) -> Iterator[tuple[str, pd.DataFrame]]:
    """For every group of tensors its title, and a table with a line per threshold compared."""
    for title, lines in case.groups().items():
        found = {name: closeness(lines[name] / lines["native"]) for name in case.compared}
        yield title, pd.DataFrame.from_dict(found, orient="index")


def draw(case: Case) -> Figure:
    """A panel for each group: the ratio of every tensor, and how many lie within 10 %."""
    groups = case.groups()
    figure, axes = panels(list(groups), abreast=2, height=3.3)
    for panel, lines in zip(axes, groups.values(), strict=True):
        _draw_panel(panel, lines, case.compared)
    figure.supxlabel(
        f"our threshold / that of {case.header}, {case.images} images (log scale; dots at an edge "
        f"lie beyond it; right: share within 10 %)",
        fontsize=10,
    )
    return figure


def _draw_panel(axes: Axes, lines: pd.DataFrame, names: Sequence[str]) -> None:
    colours = calibrator_colours(name.partition(" ")[0] for name in names)
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(lines))
    axes.axvspan(0.9, 1.1, color=INK, alpha=0.07, linewidth=0)
    axes.axvline(1, color=INK, linewidth=1, alpha=0.5, zorder=1)
    for row, name in enumerate(reversed(names)):
        ratio = lines[name] / lines["native"]
        axes.plot(
            ratio.clip(*SHOWN), row + spread, ".", color=colours[name.partition(" ")[0]],
            alpha=0.5, markersize=4, markeredgewidth=0, clip_on=False,
        )  # fmt: skip
        axes.plot([ratio.median()] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=1.6)
        axes.annotate(
            f"{100 * closeness(ratio)['within 10 %']:.0f} %", (1, row), xytext=(6, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xscale("log")
    axes.set_xlim(*SHOWN)
    axes.set_xticks([0.5, 0.7, 0.9, 1.1, 1.4, 2])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=False, axis="y")


def print_tables(case: Case, console: Console) -> None:
    """Every group's table, then how to read them."""
    for title, found in summarise(case):
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
            pad_edge=False,
        )  # fmt: skip
        table.add_column("")
        for name in found:
            table.add_column(str(name), justify="right")
        for name, one in found.iterrows():
            shares = (f"{100 * one[key]:.0f} %" for key in ("within 10 %", "within 25 %"))
            table.add_row(str(name), f"{one['median']:.3f}", *shares, f"{one['rms octaves']:.3f}")
        console.print(table)
    console.print(
        f"Ours over TensorRT's: {case.header}, {case.images} images. Clipped: TensorRT's threshold "
        f"is below {CLIPPED} of the largest |x|. {' and '.join(PLACEMENTS)}: after ranges were "
        "shared as that placement does."
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", type=Path, help="the FP32 ONNX file")
    parser.add_argument("images", metavar="IMAGES", type=Path, help="what TensorRT calibrated on")
    parser.add_argument("cache", metavar="CACHE", type=Path, help="the cache that it wrote")
    parser.add_argument(
        "names", metavar="NAMES", type=Path, help="JSON: a tensor of MODEL -> its name in CACHE"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="of TensorRT's calibrator (8)")
    parser.add_argument(
        "--out", type=Path, default=Path("results/native-thresholds"), metavar="FOLDER",
        help="where native-thresholds.csv and .png go (results/native-thresholds)",
    )  # fmt: skip
    options: Any = parser.parse_args(arguments)
    if options.batch_size < 1:
        raise ConfigError(f"--batch-size={options.batch_size} is below 1", "Use 1 or more")
    cache = parse(options.cache.read_bytes(), str(options.cache))
    names = read_names(options.names)
    case = compare(options.model, options.images, cache, names, options.batch_size)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "native-thresholds.png"
    case.thresholds.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    with mpl.rc_context({**RC, "savefig.facecolor": "white"}):
        draw(case).savefig(path, dpi=110)
    print_tables(case, Console(width=None if sys.stdout.isatty() else 100))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
