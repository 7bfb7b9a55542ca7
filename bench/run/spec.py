"""The definition of a run: every object that its row depends on, their key, and checks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from bench.cache import content_key
from bench.calibration.calibrator import Calibrator
from bench.calibration.engine_file import EngineFile
from bench.data.calibration_order import ImageList, Order, Strategy, calibration_order
from bench.data.dataset import Dataset
from bench.data.overlap import count_shared
from bench.data.preprocess import CalibrationFit, Pad, Preprocess
from bench.engine.base import (
    AccuracyBy,
    AotCompiler,
    Emulating,
    Engine,
    calibrates,
)
from bench.engine.onnxrt import OnnxRuntime, Provider
from bench.engine.probe import settle_accuracy_by
from bench.errors import ConfigError, ModelError
from bench.model.graph import Graph
from bench.model.heads.base import Head
from bench.model.onnx_model import MOST_PIXELS, OnnxModel
from bench.model.published import Published
from bench.quantization.grid import Scheme
from bench.quantization.plan import Placement, PrecisionPlan
from bench.quantization.weight_scales import WeightScales
from bench.results.row import LARGEST, run_key
from bench.run.machine import Machine
from bench.run.native_check import check_native
from bench.run.shared import Shared

RESULT_VERSION = 4
"""Increase it with every change to what a run computes: finished rows are then made again."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its source, its head, its preprocessing, and its published metric."""

    name: str
    weights: str
    network: OnnxModel
    head: Head
    preprocess: Preprocess
    published: Published | None = None


def _check_seed(option: str, seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"{option}={seed} is below 0", "Use 0 or more")
    if seed > LARGEST:
        raise ConfigError(f"{option}={seed} is more than a table holds", f"Use {LARGEST} or less")


@dataclass(frozen=True)
class CalibrationSet:
    """Which calibration images, how they are fitted, and the source of the input's range.

    ``strategy`` and ``seed`` order the images unless they are ``listed``. ``pad`` is the padding of
    their letterbox; None: the same as for all images.
    """

    size: int
    seed: int = 0
    preprocess: CalibrationFit = "same"
    input_range: Literal["calibrated", "declared"] = "calibrated"
    strategy: Strategy = "random"
    listed: ImageList | None = None
    pad: Pad | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"calibration.size={self.size} is below 1", "Use 1 or more")
        _check_seed("calibration.seed", self.seed)
        if self.listed is not None and self.strategy != "random":
            raise ConfigError(
                f"calibration.list={self.listed.file} sets the order, and so would "
                f"calibration.strategy={self.strategy}",
                "Drop one of them",
            )

    @property
    def how(self) -> str:
        """What set the order, in a word or two."""
        return f"list {Path(self.listed.file).name}" if self.listed else self.strategy


@dataclass(frozen=True)
class MeasurementSettings:
    """How much is measured: validation images and timing.

    ``images`` is the size of a sample of the validation images, drawn with ``seed``; None for all.
    Without ``rounds`` nothing is timed. Where there are no labels, FP32 detections above
    ``agreement_score`` are the truth.
    """

    images: int | None
    batch_size: int
    rounds: int
    seconds: float
    agreement_score: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {
            "evaluation.images": self.images,
            "evaluation.batch_size": self.batch_size,
        }
        for key, value in counts.items():
            if value is not None and value < 1:
                raise ConfigError(f"{key}={value} is below 1", "Use 1 or more")
            if value is not None and value > LARGEST:
                raise ConfigError(f"{key}={value} is more than a table holds", "Use fewer")
        _check_seed("evaluation.seed", self.seed)
        if not 0 <= self.rounds <= LARGEST:
            fault = "below 0" if self.rounds < 0 else "more than a table holds"
            raise ConfigError(f"timing.rounds={self.rounds} is {fault}", "Or use timing=off")
        if not 0 <= self.seconds < math.inf:
            raise ConfigError(
                f"timing.seconds={self.seconds} is not possible", "Use a number of seconds"
            )
        if not 0 <= self.agreement_score < 1:
            raise ConfigError(
                f"evaluation.agreement_score={self.agreement_score} is not a score",
                "Use 0 or more, below 1",
            )


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that one row depends on."""

    model: Model
    dataset: Dataset
    calibrator: Calibrator
    calibration: CalibrationSet
    plan: PrecisionPlan
    placement: Placement
    scheme: Scheme
    weights: WeightScales
    engine: Engine | AotCompiler
    measurement: MeasurementSettings
    cache: Path
    also_build: AotCompiler | None = None
    """A builder of further engines from the measured Q/DQ file."""
    baseline_provider: Provider = "cpu"
    dataset_options: str = ""
    """Options of the dataset that differ from the default: "calibration_domain=day"."""
    machine: Machine = field(default_factory=Machine)
    """What it shares with the runs of other processes on this machine."""
    shared: Shared = field(default_factory=Shared)
    """What it shares with other runs of its sweep; a single run has an object alone."""

    @property
    def graph(self) -> Graph:
        network = self.model.network
        return self.shared.once("graph", network.sha256, lambda: Graph(network))

    @property
    def sharing(self) -> Placement:
        """The placement whose sharing of ranges applies.

        TensorRT's implicit mode, 8.5 to 10, no longer passes a Concat's range on to its inputs as
        7.1 did (caches of 8.5.1 and 10): there ``implicit`` is ``implicit_tensorrt10``.
        """
        if self.placement == "implicit" and calibrates(self.engine):
            return "implicit_tensorrt10"
        return self.placement

    @property
    def baseline_engine(self) -> OnnxRuntime:
        return OnnxRuntime(self.engine.threads, self.baseline_provider)

    @property
    def builder(self) -> AotCompiler | None:
        """The builder ahead of time, if any: the engine itself, or ``also_build``."""
        return self.engine if isinstance(self.engine, AotCompiler) else self.also_build

    @cached_property
    def accuracy_by(self) -> AccuracyBy | None:
        """How its accuracy is computed here; None where nothing is run.

        Raises EngineError where the engine cannot compute exactly.
        """
        if isinstance(self.engine, AotCompiler):
            return None
        if isinstance(self.calibrator, EngineFile):
            return "serialized engine"
        return settle_accuracy_by(self.engine, self.cache)

    @property
    def n_images(self) -> int:
        """How many validation images are evaluated."""
        available = len(self.dataset.validation)
        return min(self.measurement.images or available, available)

    @cached_property
    def validation_indices(self) -> tuple[int, ...]:
        """The validation images that are evaluated, in the dataset's order: a sample without
        replacement.

        The first images alone would not work: in class folders they all have one class.
        """
        rng = np.random.default_rng(self.measurement.seed)
        drawn = rng.permutation(len(self.dataset.validation))[: self.n_images]
        return tuple(sorted(drawn.tolist()))

    @cached_property
    def calibration_order(self) -> Order:
        """The calibration images in order: the set is made of the first ones."""
        how, samples = self.calibration, self.dataset.calibration
        return self.shared.once(
            "calibration order",
            (samples.fingerprint, how.strategy, how.seed, how.listed),
            lambda: calibration_order(
                samples.names, how.strategy, how.seed, how.listed, self.dataset.calibration_classes
            ),
        )

    @property
    def calibration_preprocess(self) -> Preprocess:
        """How calibration images become the network's input; ConfigError for what cannot be."""
        how = self.calibration
        return self.model.preprocess.for_calibration(how.preprocess, how.pad)

    @cached_property
    def calibration_images(self) -> str:
        """A key of the calibration images in their order, however that was set."""
        order = ",".join(map(str, self.calibration_order.tolist()))
        return content_key(self.dataset.calibration.fingerprint, order)

    @cached_property
    def calibration_overlap(self) -> int | None:
        """How many calibration images are also evaluated; None where they are not files."""
        used = self.calibration_order[: self.calibration.size].tolist()
        return count_shared(
            self.dataset.calibration, used, self.dataset.validation, self.validation_indices
        )

    @cached_property
    def key(self) -> str:
        """The run's key: equal for runs that must give the same result.

        The processor is not part of it, on purpose: a row's accuracy is that of its Q/DQ file
        computed exactly, which is the same everywhere except for rounding, and rows state the
        hardware of their latencies. So rows from another machine are not made again. The keys of
        intermediate results do contain the processor, since these differ by rounding.
        """
        engines = [one for one in (self.engine, self.also_build) if one is not None]
        return run_key(
            method=RESULT_VERSION,
            model=self.model.network.sha256,
            name=self.model.name,
            head=self.model.head,
            preprocess=self.model.preprocess,
            dataset=(self.dataset.name, self.dataset.fingerprint, self.validation_indices),
            calibrator=(self.calibrator.name, self.calibrator.params),
            calibration=(self.calibration, self.calibration_images),
            plan=self.plan,
            placement=self.placement,
            scheme=self.scheme,
            weights=self.weights,
            engine=[part for e in engines for part in (e.name, e.version, e.options)],
            accuracy_by=self.engine.accuracy_by if isinstance(self.engine, Emulating) else None,
            baseline=self.baseline_engine.version,
            protocol=self._timing_key,
        )

    @property
    def _timing_key(self) -> str:
        """The measurement's part of the key, in its first format, so that old rows keep their keys.

        The dataset's part contains the evaluated images.
        """
        how = self.measurement
        return (
            f"Protocol(images=None, batch_size={how.batch_size}, rounds={how.rounds}, "
            f"seconds={how.seconds}, agreement_score={how.agreement_score}, seed=0)"
        )

    @property
    def _source(self) -> str:
        listed = self.calibration.listed
        return listed.file if listed else f"dataset {self.dataset.name}"

    def check(self) -> None:
        """Raise ConfigError or ModelError for what cannot work, before anything is computed."""
        available = len(self.calibration_order)
        if self.calibration.size > available:
            raise ConfigError(
                f"calibration.size={self.calibration.size} is more than the {available} "
                f"calibration images of {self._source}",
                "Use a smaller size, or give more images",
            )
        batch = self.model.network.input_shape[0]
        if batch is not None and batch != self.measurement.batch_size:
            raise ConfigError(
                f"model {self.model.name} has a fixed batch of {batch}, "
                f"not evaluation.batch_size={self.measurement.batch_size}",
                f"Use evaluation.batch_size={batch}, or export the model with an open batch",
            )
        if self.scheme not in self.engine.schemes:
            raise ConfigError(
                f"engine {self.engine.name} has no {self.scheme} quantization",
                f"Use scheme={' or '.join(self.engine.schemes)}, or another engine",
            )
        if self.also_build is not None and self.engine.name.startswith("tensorrt"):
            raise ConfigError(
                f"engine {self.engine.name} already builds NVIDIA engines", "Drop also_build"
            )
        _ = self.calibration_preprocess
        check_native(self)
        self._check_memory()
        graph = self.graph
        if not graph.compute:
            raise ModelError(
                f"model {self.model.name} has no Conv, Gemm or MatMul: nothing to quantize",
                "Check model.path",
            )
        shapes = [graph.shape(name) for name in graph.output_names]
        network = self.model.network
        self.model.head.check(
            shapes, (network.height, network.width), len(self.dataset.class_names)
        )

    def _check_memory(self) -> None:
        network, batch = self.model.network, self.measurement.batch_size
        if batch * network.height * network.width > MOST_PIXELS:
            raise ConfigError(
                f"evaluation.batch_size={batch} images of {network.height}x{network.width} are "
                f"more than {MOST_PIXELS:,} pixels",
                "Use a smaller batch",
            )
