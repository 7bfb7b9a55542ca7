"""What came back, scored here: with the project's evaluation, on this machine's labels."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.calibration.native import Algorithm, NativeCalibrator
from bench.calibration.trt_cache import CalibrationCache
from bench.cli.compose import build_typed
from bench.deploy.kit.reduction import expand
from bench.engine.onnxrt import OnnxRuntime
from bench.errors import ConfigError, DataError
from bench.evaluation.task import Evidence, Score, Task
from bench.model.edit import with_batch
from bench.quantization.plan import PrecisionPlan
from bench.quantization.qdq import insert_qdq
from bench.results.row import Row
from bench.run.measure import baseline_of, evaluate, task_of, validation_images
from bench.run.ranges import points_with
from bench.run.spec import Run


@dataclass(frozen=True, eq=False)
class Scoring:
    """The run behind a kit's first row: its images, labels and FP32 baseline serve all rows."""

    run: Run
    reduction: Mapping[str, Any]

    @cached_property
    def _baseline(self) -> tuple[Evidence[Any], Score]:
        return baseline_of(self.run, validation_images(self.run))

    @property
    def fp32(self) -> Score:
        """The FP32 ONNX baseline, computed here."""
        return self._baseline[1]

    @cached_property
    def task(self) -> Task[Any]:
        return task_of(self.run, self._baseline[0].predictions)

    def score(self, content: bytes, path: Path) -> Score:
        """Of predictions that came back; DataError if they are damaged."""
        images = validation_images(self.run)
        outputs = expand(content, self.reduction, len(images), path)
        predictions = [
            self.task.predict(own, fitting)
            for own, fitting in zip(outputs, images.fittings, strict=True)
        ]
        return self.task.score(predictions)

    def emulate(self, run: Run, cache: CalibrationCache) -> Score:
        """What the ranges of a native cache give, computed exactly here, with all layers in INT8.

        Raises DataError for a cache without ranges of this network.
        """
        ranges, network = dict(cache.complete_ranges()), run.model.network
        points = points_with(run, run.graph, ranges)
        if not points.tensors:
            raise DataError("a calibration cache has no tensor of this network", "Calibrate again")
        quantized = insert_qdq(network, run.graph, points, ranges, run.weights)
        qdq = with_batch(quantized, network.input_name, run.measurement.batch_size)
        with OnnxRuntime().build_exact(qdq) as session:
            return self.task.score(evaluate(run, session, validation_images(run)).predictions)


def open_scoring(rows: Sequence[Row], record: Mapping[str, Any]) -> Scoring:
    """Raises ConfigError where model, images or labels are no longer those of the kit."""
    row = next(own for own in rows if own.run_key in record["rows"])
    run = build_typed(shlex.split(row.overrides))
    now = {
        "model": (record["model_sha256"], run.model.network.sha256),
        "validation images": (
            record["dataset_fingerprint"],
            run.dataset.validation.fingerprint,
        ),
        "sample of validation images": (record["validation_indices"], list(run.validation_indices)),
    }
    if changed := [what for what, (then, is_now) in now.items() if then != is_now]:
        raise ConfigError(
            f"the {' and the '.join(changed)} changed since the kit was made",
            "Merge with the same files, or make the kit again",
        )
    return Scoring(run, record["reduction"])


def native_run(row: Row, algorithm: Algorithm) -> Run:
    """The run of a native calibrator on the calibration images of a row."""
    run = build_typed(shlex.split(row.overrides))
    calibrator = NativeCalibrator(algorithm, batch_size=run.measurement.batch_size)
    return replace(run, calibrator=calibrator, plan=PrecisionPlan("all"), placement="implicit")
