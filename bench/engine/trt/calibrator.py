"""Calibrators for TensorRT's builder: one that feeds images, one that hands over known ranges.

They subclass TensorRT's classes when it is there. Three of its habits make quiet mistakes of loud
ones, and are undone here:

* It swallows an exception raised in ``get_batch`` and goes on with the images it has. So the
  exception is kept, and ``check`` raises it after the build.
* It takes a cache only if the header names its own version and algorithm; otherwise it calibrates
  again, with whatever ``get_batch`` gives. So the reading calibrator writes the header itself,
  gives no batch, and ``check`` tells if one was asked for.
* Of a batch larger than the network's own it reads only the beginning. So batches of another shape
  than the network's input are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.calibration.native import NativeCalibration, NativeCalibrator
from bench.calibration.trt_cache import CalibrationCache, from_ranges, parse, version_digits
from bench.engine.base import Array
from bench.errors import EngineError


def base_class(trt: Any, header: str) -> Any:
    """TensorRT's class for an algorithm, by its name in caches."""
    return {
        "MinMaxCalibration": trt.IInt8MinMaxCalibrator,
        "EntropyCalibration": trt.IInt8EntropyCalibrator,
        "EntropyCalibration2": trt.IInt8EntropyCalibrator2,
        "LegacyCalibration": trt.IInt8LegacyCalibrator,
    }[header]


class _LegacyParameters:
    """What ``IInt8LegacyCalibrator`` asks for besides; the others never do."""

    quantile = 0.9999
    regression_cutoff = 1.0

    def get_quantile(self) -> float:
        return self.quantile

    def get_regression_cutoff(self) -> float:
        return self.regression_cutoff

    def read_histogram_cache(self, length: int) -> None:
        return None

    def write_histogram_cache(self, pointer: int, length: int) -> None:
        return None


def make_feeding(
    trt: Any,
    asked: NativeCalibrator,
    shape: tuple[int, ...],
    batches: Iterator[Array],
    upload: Callable[[Array], int],
    clock: Callable[[], float] = time.perf_counter,
) -> Any:
    """A native calibrator over ``batches``; ``shape`` is that of the network's input.

    ``upload`` takes a batch to the device and gives its address. After the build ``result`` gives
    what was calibrated.
    """
    header = asked.header
    base: Any = base_class(trt, header)

    class Feeding(base, _LegacyParameters):  # type: ignore[misc]
        quantile = asked.quantile
        regression_cutoff = asked.regression_cutoff

        def __init__(self) -> None:
            base.__init__(self)
            self.consumed = 0
            self.error: BaseException | None = None
            self.written: bytes | None = None
            self._began = self._ended = self._wrote = clock()

        def get_batch_size(self) -> int:
            return shape[0]

        def get_batch(self, names: list[str]) -> list[int] | None:
            if self.consumed == 0:
                self._began = clock()
            try:
                batch = None if self.error else next(batches, None)
                if batch is None:
                    self._ended = clock()
                    return None
                if batch.shape != shape:
                    raise EngineError(
                        f"a calibration batch is {batch.shape}, the network takes {shape}",
                        "Use a calibration.size that is a multiple of calibrator.batch_size",
                    )
                pointer = upload(batch)
            except BaseException as error:  # TensorRT would drop it
                self.error = error
                return None
            self.consumed += 1
            return [pointer]

        def read_calibration_cache(self) -> bytes | None:
            return None  # what was calibrated before is asked for elsewhere, under a key of ours

        def write_calibration_cache(self, cache: Any) -> None:
            self.written, self._wrote = bytes(cache), clock()

        def check(self) -> None:
            """Raise what ``get_batch`` raised."""
            if self.error is not None:
                raise self.error

        def result(self, expected: int) -> NativeCalibration:
            """Raises EngineError unless all ``expected`` batches were consumed and a cache of this
            version and algorithm was written."""
            if self.consumed != expected:
                raise EngineError(
                    f"TensorRT read {self.consumed} of {expected} calibration batches"
                )
            if self.written is None:
                raise EngineError("TensorRT calibrated, but wrote no ranges")
            cache = _checked(parse(self.written, "TensorRT's calibration cache"), trt, header)
            collect_s, threshold_s = self._ended - self._began, self._wrote - self._ended
            return NativeCalibration(cache, self.consumed, collect_s, threshold_s)

    return Feeding()


def _checked(cache: CalibrationCache, trt: Any, header: str) -> CalibrationCache:
    if (cache.version, cache.algorithm) != (version_digits(trt.__version__), header):
        raise EngineError(f"TensorRT {trt.__version__} wrote a cache that says {cache.header}")
    return cache


def make_reading(trt: Any, amax: Mapping[str, float], header: str) -> Any:
    """A calibrator that gives TensorRT known ranges as a cache, and no batch."""
    base: Any = base_class(trt, header)
    content = from_ranges(amax, str(trt.__version__), header).to_bytes()

    class Reading(base, _LegacyParameters):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.asked = False

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            self.asked = True

        def read_calibration_cache(self) -> bytes:
            return content

        def write_calibration_cache(self, cache: Any) -> None:
            return None

        def check(self) -> None:
            """Raise EngineError if TensorRT did not take the cache."""
            if self.asked:
                raise EngineError(
                    f"TensorRT {trt.__version__} did not take the ranges as a calibration cache",
                    "Use engine.ranges=dynamic",
                )

    return Reading()
