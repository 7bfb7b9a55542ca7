"""TensorRT's native calibrators, as values of the calibrator axis beside ours.

This module only says which one, and how it is fed: the ranges come from TensorRT itself, which runs
the network on its GPU (``engine=tensorrt engine.mode=implicit``). No other engine has them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from bench.calibration.trt_cache import CalibrationCache, parse
from bench.errors import ConfigError

if TYPE_CHECKING:  # statistics need compiled loops; code that only calls TensorRT does not
    from bench.calibration.statistics import Snapshot

Algorithm = Literal["minmax", "entropy", "entropy2", "legacy"]

HEADERS: dict[Algorithm, str] = {
    "minmax": "MinMaxCalibration",
    "entropy": "EntropyCalibration",
    "entropy2": "EntropyCalibration2",
    "legacy": "LegacyCalibration",
}
"""TensorRT's names of its algorithms in the first line of a cache (libnvinfer 8.5.1)."""


OPEN_BATCH = 8
"""Default number of images at a time."""


@dataclass(frozen=True)
class NativeCalibrator:
    """One of ``IInt8MinMaxCalibrator``, ``IInt8EntropyCalibrator``, ``IInt8EntropyCalibrator2`` and
    ``IInt8LegacyCalibrator``, fed with ``batch_size`` images at a time.

    The batch size is a parameter of the result: the range of TensorRT's histogram begins with what
    the first batch shows (developer guide, "INT8 Calibration Using Python"). None: that of the
    file, or ``OPEN_BATCH`` where the file leaves it open; see ``for_batch``. ``quantile`` and
    ``regression_cutoff`` are legacy's; see ``bench.calibration.legacy``.

    Raises ConfigError for an unknown algorithm and for values out of range.
    """

    algorithm: Algorithm
    batch_size: int | None = None
    quantile: float = 0.9999
    regression_cutoff: float = 1.0
    native: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            known = ", ".join(get_args(Algorithm))
            raise ConfigError(
                f"calibrator.algorithm={self.algorithm} is unknown", f"Use one of {known}"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(
                f"calibrator.batch_size={self.batch_size} is below 1", "Use 1 or more"
            )
        if not (0 <= self.quantile <= 1 and 0 <= self.regression_cutoff <= 1):
            raise ConfigError(
                f"calibrator.quantile={self.quantile} or calibrator.regression_cutoff="
                f"{self.regression_cutoff} is out of range",
                "Use 0 to 1",
            )

    @property
    def name(self) -> str:
        return f"tensorrt_{self.algorithm}"

    def for_batch(self, fixed: int | None) -> NativeCalibrator:
        """The same with its batch size settled, for a file whose batch is ``fixed`` or None."""
        if self.batch_size is not None:
            return self
        return replace(self, batch_size=fixed or OPEN_BATCH)

    @property
    def header(self) -> str:
        """TensorRT's name of the algorithm in the first line of a cache."""
        return HEADERS[self.algorithm]

    @property
    def params(self) -> str:
        fed = f"batch_size={self.batch_size}"
        if self.algorithm != "legacy":
            return fed
        return f"{fed},quantile={self.quantile},regression_cutoff={self.regression_cutoff}"

    def amax(self, snapshot: Snapshot) -> float:
        """Raises ConfigError: TensorRT's result cannot be computed from our statistics."""
        raise ConfigError(
            f"calibrator {self.name} runs inside TensorRT and has no rule here",
            "Use engine=tensorrt engine.mode=implicit",
        )


def calibrator_of_others(fixed: int | None, images: int) -> NativeCalibrator:
    """The calibrator of tensors without a range from our rules, with ``engine.others=native``.

    It is fed with the file's batch; where that is open, with as many of the ``images`` at a time as
    come out even, ``OPEN_BATCH`` at most.
    """
    return NativeCalibrator("entropy2", fixed or math.gcd(images, OPEN_BATCH))


@dataclass(frozen=True)
class NativeCalibration:
    """The result of a native calibrator.

    ``batches`` were really consumed. ``collect_s`` went by from the first batch to the end of the
    data, ``threshold_s`` from there until TensorRT wrote its cache.
    """

    cache: CalibrationCache
    batches: int
    collect_s: float
    threshold_s: float

    def to_bytes(self) -> bytes:
        """The content of a file that ``from_bytes`` reads."""
        values = vars(self) | {"cache": self.cache.to_bytes().decode()}
        return json.dumps(values).encode()

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> NativeCalibration:
        """Read what ``to_bytes`` made of one."""
        values = json.loads(content)
        return cls(**values | {"cache": parse(values["cache"].encode(), where)})
