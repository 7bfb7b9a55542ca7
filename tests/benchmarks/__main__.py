"""``make benchmark``: what collection and threshold search cost, measured in one run.

Writes ``results/benchmark/benchmark.json`` and prints a table. Every comparison alternates its
two sides in this process, so that a drift of the machine's speed hits both alike; medians and
ratios are what to quote. ``--model FILE.onnx`` measures a detector of your own (letterboxed
scenes of ``shapes`` are its input whatever it was trained on: cost does not depend on content).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from bench.cache import write_atomically
from bench.calibration.calibrator import Calibrator
from bench.calibration.collector import Collector
from bench.calibration.entropy import Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot
from bench.data.preprocess import Preprocess
from bench.data.shapes import draw_scene, split_seed
from bench.engine.onnxrt import OnnxRuntime
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.model.zoo import CARRIED
from bench.quantization.plan import Placement, PrecisionPlan, place
from bench.timing import peak_memory

CALIBRATORS: tuple[Calibrator, ...] = (MinMax(), Entropy2(), Percentile(), Mse())
PLACEMENTS: tuple[Placement, ...] = ("explicit", "implicit")
Images = Callable[[int], npt.NDArray[np.float32]]


def collect(
    model: OnnxModel, tensors: tuple[str, ...], image: Images, size: int
) -> tuple[Snapshot, ...]:
    """One pass with statistics, into a cache that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(model, tensors, image, "benchmark", Path(folder))
        return collector.collect(size, perf_counter).snapshots


def pass_times(
    model: OnnxModel, image: Images, size: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, tuple[Snapshot, ...]]]:
    """Seconds of the bare FP32 pass and of the pass with statistics of each placement, in turn."""
    tensors = {
        placement: place(PrecisionPlan("all"), placement, Graph(model)).tensors
        for placement in PLACEMENTS
    }
    seconds: dict[str, list[float]] = {"bare": [], **{name: [] for name in PLACEMENTS}}
    snapshots: dict[str, tuple[Snapshot, ...]] = {}
    for name in PLACEMENTS:  # compiles the kernels
        collect(model, tensors[name], image, 1)
    for _ in range(rounds):
        begin = perf_counter()
        with OnnxRuntime().build(model.proto) as session:
            for index in range(size):
                session.run(image(index))
        seconds["bare"].append(perf_counter() - begin)
        for name in PLACEMENTS:
            begin = perf_counter()
            snapshots[name] = collect(model, tensors[name], image, size)
            seconds[name].append(perf_counter() - begin)
    return seconds, snapshots


def threshold_times(snapshots: tuple[Snapshot, ...]) -> dict[str, float]:
    """Milliseconds a tensor of each calibrator."""
    times = {}
    for calibrator in CALIBRATORS:
        calibrator.amax(snapshots[0])  # compiles
        begin = perf_counter()
        for snapshot in snapshots:
            calibrator.amax(snapshot)
        times[calibrator.name] = (perf_counter() - begin) * 1e3 / len(snapshots)
    return times


def main() -> None:
    options = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    options.add_argument("--model", type=Path, default=CARRIED / "yolov8n_shapes.onnx")
    options.add_argument("--images", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", type=Path, default=Path("results/benchmark"))
    given = options.parse_args()

    model = load_model(given.model)
    preprocess = Preprocess((model.height, model.width))
    fitted = [
        preprocess.place(draw_scene(split_seed("calibration", index)).image)[0]
        for index in range(given.images)
    ]

    def image(index: int) -> npt.NDArray[np.float32]:
        return preprocess.normalise(fitted[index][None])

    seconds, snapshots = pass_times(model, image, given.images, given.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    with peak_memory() as memory:
        tensors = tuple(snapshot.name for snapshot in snapshots["explicit"])
        collect(model, tensors, image, given.images)
    thresholds = threshold_times(snapshots["explicit"])

    table = Table(title=f"{given.model.name}, {given.images} images, medians of {given.rounds}")
    for head in ("what", "tensors", "seconds", "ratio to the bare pass"):
        table.add_column(head, justify="left" if head == "what" else "right")
    table.add_row("bare FP32 pass", "", f"{medians['bare']:.2f}", "1.00")
    for name in PLACEMENTS:
        ratio = medians[name] / medians["bare"]
        count = str(len(snapshots[name]))
        table.add_row(f"collection, {name}", count, f"{medians[name]:.2f}", f"{ratio:.2f}")
    console = Console()
    console.print(table)
    for name, milliseconds in thresholds.items():
        console.print(f"{name}: {milliseconds:.2f} ms a tensor")
    console.print(f"peak resident memory of collection: {memory.megabytes:.0f} MB")

    found = {
        "model": given.model.name,
        "images": given.images,
        "seconds": seconds,
        "collect_ratio_explicit": medians["explicit"] / medians["bare"],
        "collect_ratio_implicit": medians["implicit"] / medians["bare"],
        "collect_peak_memory_mb": memory.megabytes,
        **{f"{name}_ms_per_tensor": value for name, value in thresholds.items()},
        "entropy_ms_per_tensor": thresholds["entropy2"],
    }
    write_atomically(given.out / "benchmark.json", json.dumps(found, indent=1).encode())


if __name__ == "__main__":
    main()
