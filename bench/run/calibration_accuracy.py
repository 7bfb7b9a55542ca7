"""Accuracy on calibration images that have labels: validation images stay unused."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.calibration.native import NativeCalibrator
from bench.data.search_images import SearchImages
from bench.engine.base import Int8Model
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import ConfigError
from bench.evaluation.estimate import Interval
from bench.evaluation.task import compare
from bench.quantization.plan import PrecisionPlan
from bench.run.inputs import check_batch
from bench.run.measure import measure_accuracy, task_of
from bench.run.spec import Run


@dataclass(frozen=True)
class Accuracy:
    """FP32's and INT8's metric, and INT8 minus FP32 with its interval over the images."""

    fp32: float
    int8: float
    difference: Interval


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


def measure_on(run: Run, model: Int8Model) -> Accuracy:
    """Of a model on the images of a run of ``on_calibration_images``; ConfigError if FP32 finds
    nothing there."""
    fp32, int8 = measure_accuracy(run, run.engine, model)  # type: ignore[arg-type]
    if fp32.value <= 0:
        raise ConfigError(
            f"the FP32 model has a {task_of(run).metric} of 0 on the search images",
            "Check model.preprocess and the calibration images' labels",
        )
    return Accuracy(fp32.value, int8.value, compare(fp32, int8))
