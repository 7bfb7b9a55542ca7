"""TensorRT, imported when it is needed, and the features of its versions.

Sources: NVIDIA's migration guide from 10 to 11, and the names of the bindings of 8.5.1.7, 8.6.0,
10.16.1.11 and 11.4.0.106, which are in ``tests/engine/tensorrt_api``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from bench.errors import ConfigError

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

Number = tuple[int, int]
FIRST, LAST = (8, 5), (11, 99)
"""The supported versions."""

_UNTIL_10 = (FIRST, (10, 99))
GATED: dict[str, tuple[Number, Number]] = {
    "BuilderFlag.FP16": _UNTIL_10,
    "BuilderFlag.INT8": _UNTIL_10,
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": _UNTIL_10,
    "IBuilderConfig.builder_optimization_level": ((8, 6), LAST),
    "IBuilderConfig.int8_calibrator": _UNTIL_10,
    "IBuilderConfig.set_calibration_profile": _UNTIL_10,
    "ICudaEngine.device_memory_size": (FIRST, (10, 0)),
    "ICudaEngine.device_memory_size_v2": ((10, 1), LAST),
    "IInt8Calibrator": _UNTIL_10,
    "IInt8EntropyCalibrator": _UNTIL_10,
    "IInt8EntropyCalibrator2": _UNTIL_10,
    "IInt8LegacyCalibrator": _UNTIL_10,
    "IInt8MinMaxCalibrator": _UNTIL_10,
    "ILayer.precision": _UNTIL_10,
    "ILayer.set_output_type": _UNTIL_10,
    "ITensor.set_dynamic_range": _UNTIL_10,
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": (FIRST, (9, 99)),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ((10, 0), LAST),
}
"""Names that not every version has, with the first and the last version in which we use them."""


def load_tensorrt() -> TensorRT:
    """The module; ConfigError where it is absent, cannot be loaded, or is not supported."""
    try:
        trt = cast("TensorRT", importlib.import_module("tensorrt"))
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"engine tensorrt needs TensorRT, which cannot be imported ({error})",
            "Run make sweep ENGINE=tensorrt TENSORRT=8.5.1.7 (or 10, 11), which installs it",
        ) from error
    if not FIRST <= number(trt) <= LAST:
        raise ConfigError(
            f"engine tensorrt does not support TensorRT {trt.__version__}", "Install 8.5 to 11"
        )
    return trt


def number(trt: TensorRT) -> Number:
    """Major and minor version."""
    major, minor = str(trt.__version__).split(".")[:2]
    return int(major), int(minor)


def has(trt: TensorRT, name: str) -> bool:
    """Whether this version has one of the ``GATED`` names."""
    first, last = GATED[name]
    return first <= number(trt) <= last


def check_implicit(trt: TensorRT) -> None:
    """Raise ConfigError for a version without calibrators and dynamic ranges."""
    if not has(trt, "IInt8EntropyCalibrator2"):
        raise ConfigError(
            f"TensorRT {trt.__version__} has no implicit quantization: 11 removed calibrators, "
            "dynamic ranges and layer precisions",
            "Use engine.mode=explicit, or TensorRT 8.5 to 10",
        )
