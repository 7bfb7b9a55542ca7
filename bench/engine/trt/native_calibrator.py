"""Calibrators for TensorRT's builder: one that feeds images, one that passes known ranges.

They subclass TensorRT's classes when it is installed. Three behaviours of TensorRT hide errors, and
are corrected here:

* It swallows an exception raised in ``get_batch`` and continues with the images it has. So the
  exception is stored, and ``check`` raises it after the build.
* It takes a cache only if the header has its version and algorithm; otherwise it calibrates again,
  with the batches of ``get_batch``. So the reading calibrator writes the header itself, gives no
  batch, and ``check`` raises an error if one was requested.
* From a batch larger than the network's it reads only the beginning. So batches whose shape is not
  that of the network's input are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.calibration.native import NativeCalibration, NativeCalibrator
from bench.calibration.trt_cache import from_ranges, parse, version_digits
from bench.engine.base import Array
from bench.errors import EngineError

if TYPE_CHECKING:
    from tensorrt_api import IInt8Calibrator, TensorRT
    from typing_extensions import Buffer
else:
    IInt8Calibrator = object


def base_class(trt: TensorRT, header: str) -> type[IInt8Calibrator]:
    """TensorRT's class for an algorithm, by its name in caches."""
    classes: dict[str, type[IInt8Calibrator]] = {
        "MinMaxCalibration": trt.IInt8MinMaxCalibrator,
        "EntropyCalibration": trt.IInt8EntropyCalibrator,
        "EntropyCalibration2": trt.IInt8EntropyCalibrator2,
        "LegacyCalibration": trt.IInt8LegacyCalibrator,
    }
    return classes[header]


class _LegacyParameters:
    """Further methods that only ``IInt8LegacyCalibrator`` calls."""

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


class Feeding(_LegacyParameters, IInt8Calibrator):
    """Our part of a native calibrator over ``batches``; see ``make_feeding``."""

    def __init__(
        self,
        trt: TensorRT,
        asked: NativeCalibrator,
        shape: tuple[int, ...],
        batches: Iterator[Array],
        upload: Callable[[Array], int],
        tell: Callable[[], object],
        clock: Callable[[], float],
    ) -> None:
        self.quantile, self.regression_cutoff = asked.quantile, asked.regression_cutoff
        self._version, self._header = trt.__version__, asked.header
        self._shape, self._batches, self._upload, self._clock = shape, batches, upload, clock
        self._tell = tell
        self.consumed = 0
        self.error: BaseException | None = None
        self.written: bytes | None = None
        self._began = self._ended = self._wrote = clock()

    def get_batch_size(self) -> int:
        return self._shape[0]

    def get_batch(self, names: Sequence[str]) -> list[int] | None:
        if self.consumed == 0:
            self._began = self._clock()
        try:
            batch = None if self.error else next(self._batches, None)
            if batch is None:
                self._ended = self._clock()
                return None
            if batch.shape != self._shape:
                raise EngineError(
                    f"a calibration batch has shape {batch.shape}, the network takes {self._shape}",
                    "Use a calibration.size that is a multiple of calibrator.batch_size",
                )
            pointer = self._upload(batch)
        except BaseException as error:  # TensorRT would drop it
            self.error = error
            return None
        self.consumed += 1
        return [pointer]

    def read_calibration_cache(self) -> bytes | None:
        return None  # earlier results are cached elsewhere, under a key of ours

    def write_calibration_cache(self, cache: Buffer) -> None:
        self.written, self._wrote = bytes(cache), self._clock()
        self._tell()

    def check(self) -> None:
        """Raise what ``get_batch`` raised."""
        if self.error is not None:
            raise self.error

    def result(self, expected: int) -> NativeCalibration:
        """Raises EngineError unless all ``expected`` batches were consumed and a cache of this
        version and algorithm was written."""
        if self.consumed != expected:
            raise EngineError(f"TensorRT read {self.consumed} of {expected} calibration batches")
        if self.written is None:
            raise EngineError("TensorRT calibrated, but wrote no ranges")
        cache = parse(self.written, "TensorRT's calibration cache")
        if (cache.version, cache.algorithm) != (version_digits(self._version), self._header):
            raise EngineError(
                f"TensorRT {self._version} wrote a cache with the header {cache.header}"
            )
        collect_s, threshold_s = self._ended - self._began, self._wrote - self._ended
        return NativeCalibration(cache, self.consumed, collect_s, threshold_s)


def make_feeding(
    trt: TensorRT,
    asked: NativeCalibrator,
    shape: tuple[int, ...],
    batches: Iterator[Array],
    upload: Callable[[Array], int],
    tell: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Feeding:
    """A native calibrator over ``batches``; ``shape`` is that of the network's input.

    ``upload`` copies a batch to the device and returns its address. When TensorRT has written its
    cache, ``tell`` is called, and ``result`` returns the ranges even if the build fails later.
    """
    base = base_class(trt, asked.header)

    class Native(Feeding, base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)
            Feeding.__init__(self, trt, asked, shape, batches, upload, tell, clock)

    return Native()


class Reading(_LegacyParameters, IInt8Calibrator):
    """Our part of a calibrator that has a cache; see ``make_reading``."""

    def __init__(self, trt: TensorRT, content: bytes) -> None:
        self._version, self._content = trt.__version__, content
        self.asked = False

    def get_batch_size(self) -> int:
        return 1

    def get_batch(self, names: Sequence[str]) -> None:
        self.asked = True

    def read_calibration_cache(self) -> bytes:
        return self._content

    def write_calibration_cache(self, cache: Buffer) -> None:
        return None

    def check(self) -> None:
        """Raise EngineError if TensorRT did not take the cache."""
        if self.asked:
            raise EngineError(
                f"TensorRT {self._version} did not take the ranges as a calibration cache",
                "Use engine.ranges=dynamic",
            )


def make_reading(trt: TensorRT, amax: Mapping[str, float], header: str) -> Reading:
    """A calibrator that passes known ranges to TensorRT as a cache, and no batches."""
    base = base_class(trt, header)
    content = from_ranges(amax, trt.__version__, header).to_bytes()

    class Native(Reading, base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)
            Reading.__init__(self, trt, content)

    return Native()
