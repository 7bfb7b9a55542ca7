"""What one run is: every object that its row depends on, their key, and what cannot work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.calibration.calibrator import Calibrator
from bench.data.dataset import Dataset
from bench.data.preprocess import CalibrationFit, Preprocess
from bench.engine.base import Engine
from bench.engine.onnxrt import OnnxRuntime
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.model.heads.base import Head
from bench.model.onnx_model import OnnxModel
from bench.quantization.plan import Placement, PrecisionPlan
from bench.results.row import run_key


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what belongs to it: where it came from, its head, its preprocessing."""

    name: str
    weights: str
    network: OnnxModel
    head: Head
    preprocess: Preprocess


@dataclass(frozen=True)
class CalibrationSet:
    """Which calibration images, how fitted, and whose word counts for the network's input."""

    size: int
    seed: int = 0
    preprocess: CalibrationFit = "same"
    input_range: Literal["calibrated", "declared"] = "calibrated"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"calibration.size={self.size} is below 1")
        if self.input_range not in ("calibrated", "declared"):
            raise ConfigError(
                f"calibration.input_range={self.input_range} is unknown",
                "Use calibrated or declared",
            )


@dataclass(frozen=True)
class Protocol:
    """How much is measured: validation images (None for all) and timing."""

    images: int | None
    batch_size: int
    rounds: int
    seconds: float

    def __post_init__(self) -> None:
        counts = {
            "evaluation.images": self.images,
            "evaluation.batch_size": self.batch_size,
            "timing.rounds": self.rounds,
        }
        for key, value in counts.items():
            if value is not None and value < 1:
                raise ConfigError(f"{key}={value} is below 1")


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that one row depends on."""

    model: Model
    dataset: Dataset
    calibrator: Calibrator
    calibration: CalibrationSet
    plan: PrecisionPlan
    placement: Placement
    engine: Engine
    protocol: Protocol
    cache: Path

    @property
    def baseline_engine(self) -> OnnxRuntime:
        return OnnxRuntime(threads=self.engine.threads)

    @property
    def n_images(self) -> int:
        available = len(self.dataset.validation)
        return min(self.protocol.images or available, available)

    @property
    def key(self) -> str:
        """The run's key: equal for runs that must give the same result."""
        return run_key(
            model=self.model.network.sha256,
            name=self.model.name,
            head=self.model.head,
            preprocess=self.model.preprocess,
            dataset=(self.dataset.name, self.dataset.fingerprint, self.n_images),
            calibrator=(self.calibrator.name, self.calibrator.params),
            calibration=self.calibration,
            plan=self.plan,
            placement=self.placement,
            engine=(self.engine.name, self.engine.version, self.engine.options),
            baseline=self.baseline_engine.version,
            protocol=self.protocol,
        )

    def check(self) -> None:
        """Raise ConfigError or ModelError for what cannot work, before anything is computed."""
        available = len(self.dataset.calibration)
        if self.calibration.size > available:
            raise ConfigError(
                f"calibration.size={self.calibration.size} is more than the {available} "
                f"calibration images of dataset {self.dataset.name}",
                "Ask for fewer, or give more images",
            )
        batch = self.model.network.input_shape[0]
        if batch is not None and batch != self.protocol.batch_size:
            raise ConfigError(
                f"model {self.model.name} has a fixed batch of {batch}, "
                f"not batch_size={self.protocol.batch_size}",
                f"Use batch_size={batch}, or export the model with an open batch",
            )
        graph = Graph(self.model.network)
        shapes = [graph.shape(name) for name in graph.output_names]
        network = self.model.network
        self.model.head.check(
            shapes, (network.height, network.width), len(self.dataset.class_names)
        )
