"""What is measured: a model, and the tensors that each placement asks about."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from bench.calibration.collector import Collector
from bench.calibration.statistics import Snapshot
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.model.zoo import CARRIED
from bench.quantization.plan import Placement, PrecisionPlan, place

EMBEDDED = CARRIED / "yolov8n_shapes.onnx"
PLACEMENTS: tuple[Placement, ...] = ("explicit", "implicit")

Images = Callable[[int], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and, by placement, the activation tensors that get a range."""

    model: OnnxModel
    tensors: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.model.path.stem

    @property
    def size(self) -> tuple[int, int]:
        return self.model.height, self.model.width


def load_subject(path: Path) -> Subject:
    """Raises ModelError for a file that the harness cannot quantize."""
    model = load_model(path)
    graph = Graph(model)
    return Subject(
        model,
        {name: tuple(place(PrecisionPlan("all"), name, graph).sources) for name in PLACEMENTS},
    )


def collect(
    model: OnnxModel, tensors: tuple[str, ...], images: Images, size: int
) -> tuple[Snapshot, ...]:
    """One pass with statistics, into a cache that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(model, tensors, images, "benchmark", Path(folder))
        return collector.collect(size, perf_counter).snapshots


def find_models(given: list[Path]) -> list[Path]:
    """The embedded model, then those given, or else the first YOLOX-nano that lies about."""
    folders = [Path(os.environ[key]) for key in ("BENCH_MODELS",) if os.environ.get(key)]
    found = [
        file for f in (*folders, Path("models")) for file in sorted(f.glob("yolox_nano*.onnx"))
    ]
    return list(dict.fromkeys([EMBEDDED, *(given or found[:1])]))
