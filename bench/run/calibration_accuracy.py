"""Accuracy on calibration images that have labels: validation images stay unused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.calibration.native import NativeCalibrator
from bench.data.search_images import SearchImages
from bench.engine.base import Int8Model
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import ConfigError
from bench.evaluation.estimate import Interval
from bench.evaluation.racing import Prefixes, most_ahead, seen
from bench.evaluation.task import Score, Task, compare
from bench.quantization.plan import PrecisionPlan
from bench.run.gather import Gathered
from bench.run.inputs import check_batch
from bench.run.measure import baseline_of, build_for_accuracy, task_of, validation_images
from bench.run.race import UNKNOWN_RUNS, fp32_on
from bench.run.spec import Run


@dataclass(frozen=True)
class Accuracy:
    """FP32's and INT8's metric on ``images`` images, and INT8 minus FP32 with its interval over
    them."""

    fp32: float
    int8: float
    difference: Interval
    images: int

    @classmethod
    def of(cls, fp32: Score, int8: Score) -> Accuracy:
        return cls(fp32.value, int8.value, compare(fp32, int8), int8.n_images)


def on_calibration_images(run: Run, images: int, feature: str) -> Run:
    """The run with all layers in INT8 on so many calibration images, one at a time: those behind
    the calibration set first. Nothing is timed.

    Raises BenchError for a run that cannot work, a native calibrator of TensorRT and a model whose
    batch is not 1; ``feature`` names the feature in the message.
    """
    run.check()
    check_batch(run, feature)
    if isinstance(run.calibrator, NativeCalibrator):
        raise ConfigError(
            f"{feature} runs on the CPU, but {run.calibrator.name} is a calibrator of TensorRT",
            "Use another calibrator",
        )
    order = [int(index) for index in run.calibration_order]
    chosen = (order[run.calibration.size :] + order[: run.calibration.size])[:images]
    engine = run.engine if isinstance(run.engine, (OpenVino, OnnxRuntime)) else OpenVino()
    return replace(
        run,
        plan=PrecisionPlan("all"),
        dataset=SearchImages(run.dataset, tuple(sorted(chosen))),
        engine=engine,
        also_build=None,
        measurement=replace(run.measurement, images=None, rounds=0, batch_size=1),
    )


def measure_on(run: Run, model: Int8Model, most_loss: float = math.inf) -> Accuracy:
    """Of a model on the images of a run of ``on_calibration_images``.

    The evaluation ends on a part of the images once they prove that on all of them the model loses
    more than ``most_loss`` of FP32 (``bench.evaluation.racing``).

    Raises ConfigError if FP32 finds nothing there.
    """
    images = validation_images(run)
    baseline, fp32 = baseline_of(run, images)
    task = task_of(run, baseline.predictions)
    if fp32.value <= 0:
        raise ConfigError(
            f"the FP32 model has a {task.metric} of 0 on the search images",
            "Check model.preprocess and the calibration images' labels",
        )
    gathered = Gathered(task, images, run.measurement.batch_size)
    prefixes = Prefixes.of(gathered.batches, run.measurement.seed)
    done = 0
    with build_for_accuracy(run, run.engine, model) as session:  # type: ignore[arg-type]
        for count in prefixes.looks if most_loss < math.inf else ():
            gathered.add(session, prefixes.order[done:count])
            done = count
            chosen = sorted(prefixes.order[:count])
            part = fp32_on(run, task, baseline.predictions, chosen), _score(task, gathered, chosen)
            if _least_loss(*part, prefixes) > most_loss * fp32.value:
                return Accuracy.of(*part)
        gathered.add(session, prefixes.order[done:])
    return Accuracy.of(fp32, _score(task, gathered, range(prefixes.total)))


def _score(task: Task[Any], gathered: Gathered[Any], images: Sequence[int]) -> Score:
    return task.part(images).score(gathered.predictions(images))


def _least_loss(fp32: Score, int8: Score, prefixes: Prefixes) -> float:
    """What INT8 loses on all images at least, as its scores on a part of them prove."""
    unit_of = np.arange(int8.n_images)
    level = prefixes.level(UNKNOWN_RUNS)
    return -most_ahead(seen(int8, unit_of), seen(fp32, unit_of), prefixes.total, level)
