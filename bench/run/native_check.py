"""Whether TensorRT's native calibrators can run as configured, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.calibration.native import NativeCalibrator, calibrator_of_others
from bench.engine.base import calibrates, others_natively
from bench.errors import ConfigError
from bench.quantization.plan import IMPLICIT

if TYPE_CHECKING:
    from bench.run.spec import Run


def check_native(run: Run) -> None:
    """Raise ConfigError for ranges of native calibrators that cannot be computed or used."""
    is_native, calibrator = calibrates(run.engine), run.calibrator
    if is_native and run.placement not in IMPLICIT:
        raise ConfigError(
            f"engine.mode=implicit needs every tensor's range, not placement={run.placement}",
            "Add placement=implicit",
        )
    batch = run.model.network.input_shape[0]
    if not isinstance(calibrator, NativeCalibrator):
        if others_natively(run.engine):
            size = calibrator_of_others(batch, run.calibration.size).batch_size
            _check_size(run, size, f"the batch of {size} of model {run.model.name}")
        return
    if not is_native:
        raise ConfigError(
            f"calibrator {calibrator.name} runs inside TensorRT, but engine {run.engine.name} "
            "does not calibrate",
            "Use engine=tensorrt engine.mode=implicit placement=implicit",
        )
    size = calibrator.for_batch(batch).batch_size
    if batch is not None and batch != size:
        raise ConfigError(
            f"model {run.model.name} has a fixed batch of {batch}, not "
            f"calibrator.batch_size={size}: TensorRT reads exactly {batch} images per batch",
            f"Use calibrator.batch_size={batch}, or export the model with an open batch",
        )
    _check_size(run, size, f"calibrator.batch_size={size}")


def _check_size(run: Run, batch: int | None, what: str) -> None:
    if batch and run.calibration.size % batch:
        raise ConfigError(
            f"calibration.size={run.calibration.size} is not a multiple of {what}",
            "Change one of them",
        )
