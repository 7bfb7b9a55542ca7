"""Draw what a calibrator leaves of the network's input: ``python scripts/clipped_input.py FOLDER``.

Above, the input's histogram over the calibration images with every calibrator's threshold; below,
one validation image as the network gets it in float and through each of two calibrators' INT8.
FOLDER is a finished sweep's; ``--histogram FOLDER`` takes the histogram from another one, whose
images may not be shown.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.cache import write_atomically
from bench.cli.compose import build_run
from bench.cli.config import register
from bench.cli.messages import command
from bench.environment import CONF
from bench.errors import ConfigError, DataError
from bench.report.charts_tensors import draw_histogram
from bench.report.drawing import WIDTH
from bench.report.figures import Chart, ChartGroup, groups_of, to_png
from bench.report.style import RC
from bench.report.thresholds import Thresholds, find_thresholds
from bench.results.histograms import HistogramStore
from bench.results.table import read_table
from bench.run.spec import Run

LOOKED_AT = 50
Image = npt.NDArray[np.float32]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a sweep's results")
    parser.add_argument("--histogram", metavar="FOLDER", type=Path, help="another sweep's")
    parser.add_argument(
        "--image",
        type=int,
        help=f"which validation image (of the first {LOOKED_AT} what loses most)",
    )
    parser.add_argument("--rules", nargs=2, default=["minmax", "entropy2"], metavar="CALIBRATOR")
    parser.add_argument("--out", type=Path, help="where the PNG goes (FOLDER/clipped-input.png)")
    options = parser.parse_args(arguments)
    out = options.out or options.folder / "clipped-input.png"
    chart = draw(options.folder, options.histogram, options.image, options.rules)
    write_atomically(out, to_png(chart))
    print(out)
    return 0


def draw(folder: Path, other: Path | None, number: int | None, rules: Sequence[str]) -> Chart:
    """The figure; raises BenchError for a sweep that has no ranges of its input by these rules."""
    group, thresholds = _thresholds(folder)
    run = _run(group)
    name = run.model.network.input_name
    amax = thresholds.of(name)
    if missing := [rule for rule in rules if rule not in amax]:
        raise ConfigError(
            f"{folder} has no range of the network's input by {' or '.join(missing)}",
            f"There is {', '.join(amax) or 'none: the plan keeps the first layer in float'}",
        )
    why = ""
    if number is None:
        why = f", which loses most of the first {LOOKED_AT}"
        number = most_clipped(run, min(amax[rule] for rule in rules))
    elif not 0 <= number < (count := len(run.dataset.validation)):
        raise ConfigError(f"--image {number} is unknown", f"There are 0 to {count - 1}")
    above, shown = _thresholds(other) if other else (group, thresholds)
    first = shown.quantized[0]
    named = " and ".join(f"{amax[rule]:.3g} ({rule})" for rule in rules)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 7.6), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.15])
        draw_histogram(top.subplots(), shown, first, above.look)
        image = network_input(run, number)
        pictures = {"FP32": image} | {
            f"INT8, {rule}: clipped at {amax[rule]:.3g}": quantized(image, amax[rule])
            for rule in rules
        }
        for axes, (title, picture) in zip(bottom.subplots(1, 3), pictures.items(), strict=True):
            axes.imshow(as_seen(run, picture), interpolation="nearest")
            axes.set_title(title, loc="left")
            axes.set_axis_off()
    return Chart(
        "clipped-input",
        f"above: {above.title}, tensor {first}; below: {group.title}, image {number}{why}",
        f"The network's input with every threshold, and what INT8 leaves of it at {named}",
        "What lies to the right of a threshold saturates.",
        figure,
    )


def most_clipped(run: Run, amax: float) -> int:
    """The evaluated image of whose values most lie beyond ``amax``, of the first ones."""
    looked_at = run.validation_indices[:LOOKED_AT]
    return max(looked_at, key=lambda number: np.mean(np.abs(network_input(run, number)) > amax))


def network_input(run: Run, number: int) -> Image:
    """Validation image ``number`` as the network gets it: (3, height, width)."""
    fitted, _ = run.model.preprocess.place(run.dataset.validation.image(number))
    return np.asarray(run.model.preprocess.normalise(fitted[None])[0], dtype=np.float32)


def quantized(image: Image, amax: float) -> Image:
    """What symmetric INT8 on [-amax, amax] makes of it: rounded to amax / 127, saturated."""
    scale = np.float32(amax / 127)
    return np.asarray(np.clip(np.rint(image / scale), -128, 127) * scale, dtype=np.float32)


def as_seen(run: Run, image: Image) -> Image:
    """A network's input as a picture, (height, width, 3): its smallest possible value is black and
    its largest white."""
    low, high = run.model.preprocess.input_range()
    return np.asarray(np.clip((image - low) / (high - low), 0, 1).transpose(1, 2, 0))


def _thresholds(folder: Path) -> tuple[ChartGroup, Thresholds]:
    """Those of the first group that has any."""
    store = HistogramStore(folder)
    for group in groups_of(read_table(folder)):
        if (found := find_thresholds(group.rows, store)) and found.quantized:
            return group, found
    raise DataError(f"{folder} has no histograms", "Run the sweep again, into a new folder")


def _run(group: ChartGroup) -> Run:
    """The objects of the group's first row, from what was typed for it.

    Raises DataError where that gives another model now: rows from before it was kept say nothing.
    """
    register()
    first = group.rows.iloc[0]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = compose("config", shlex.split(first["overrides"]))
    run = build_run(config)
    if run.model.network.sha256 != first["model_sha256"]:
        raise DataError(
            f"what was typed for {group.title} ('{first['overrides']}') gives another model now",
            "Run the sweep again",
        )
    return run


if __name__ == "__main__":
    sys.exit(main())
