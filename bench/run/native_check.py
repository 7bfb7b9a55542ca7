"""Whether TensorRT's own calibrators can be had as asked, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.calibration.native import NativeCalibrator, calibrator_of_others
from bench.engine.base import calibrates, others_natively
from bench.errors import ConfigError
from bench.quantization.plan import IMPLICIT

if TYPE_CHECKING:
    from bench.run.spec import Run


def check_native(run: Run) -> None:
    """Raise ConfigError for ranges of TensorRT's own calibrators that cannot be had or used."""
    own, calibrator = calibrates(run.engine), run.calibrator
    if own and run.placement not in IMPLICIT:
        raise ConfigError(
            f"engine.mode=implicit wants every tensor's range, not placement={run.placement}",
            "Add placement=implicit",
        )
    batch = run.model.network.input_shape[0]
    if not isinstance(calibrator, NativeCalibrator):
        if others_natively(run.engine):
            size = calibrator_of_others(batch, run.calibration.size).batch_size
            _check_size(run, size, f"the batch of {size} that model {run.model.name} has")
        return
    if not own:
        raise ConfigError(
            f"calibrator {calibrator.name} is TensorRT's own, and engine {run.engine.name} "
            "does not calibrate",
            "Use engine=tensorrt engine.mode=implicit placement=implicit",
        )
    size = calibrator.for_batch(batch).batch_size
    if batch is not None and batch != size:
        raise ConfigError(
            f"model {run.model.name} has a fixed batch of {batch}: of "
            f"calibrator.batch_size={size} TensorRT would read no more",
            f"Use calibrator.batch_size={batch}, or export the model with an open batch",
        )
    _check_size(run, size, f"calibrator.batch_size={size}")


def _check_size(run: Run, batch: int | None, what: str) -> None:
    if batch and run.calibration.size % batch:
        raise ConfigError(
            f"calibration.size={run.calibration.size} is no multiple of {what}",
            "Change one of them",
        )
