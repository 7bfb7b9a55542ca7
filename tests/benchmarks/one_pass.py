"""Our side of the comparison: one pass serves every calibrator and every size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import onnx

from bench.calibration.calibrator import Calibrator, find_ranges
from bench.calibration.collector import Collector
from bench.calibration.entropy import Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.percentile import Percentile
from bench.model.graph import Graph
from bench.model.onnx_model import load_model
from bench.quantization.plan import PrecisionPlan, place
from bench.quantization.qdq import insert_qdq
from tests.benchmarks.scenes import Scenes

CALIBRATORS: tuple[Calibrator, ...] = (MinMax(), Entropy2(), Percentile())


def quantize_all(
    path: Path, scenes: Scenes, sizes: tuple[int, ...], folder: Path
) -> dict[str, float]:
    """From the FP32 file to a quantized file of every calibrator and size, in ``folder``.

    Returns the seconds of the steps.
    """
    seconds = dict.fromkeys(("load", "collect", "thresholds", "write"), 0.0)

    @contextmanager
    def step(name: str) -> Iterator[None]:
        begin = perf_counter()
        yield
        seconds[name] += perf_counter() - begin

    with step("load"):
        model = load_model(path)
        graph = Graph(model)
        points = place(PrecisionPlan("all"), "explicit", graph)
    collector = Collector(model, tuple(points.sources), scenes, "benchmark", folder)
    for size in sizes:
        with step("collect"):
            snapshots = collector.collect(size, perf_counter).snapshots
        for calibrator in CALIBRATORS:
            with step("thresholds"):
                ranges = find_ranges(calibrator, snapshots)
            with step("write"):
                quantized = insert_qdq(model, graph, points, ranges)
                onnx.save(quantized, folder / f"{calibrator.name}-{size}.onnx")
    return seconds
