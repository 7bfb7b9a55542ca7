"""What explains a sweep's rows, stored beside them: histograms of tensors, and each run's ranges.

A row says how much a calibrator loses; its thresholds on the histograms show why. One file of
histograms serves all runs of a calibration set; one file of ranges belongs to each run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bench.cache import write_atomically, write_with
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.store import RowStore
from bench.sealed import UNREADABLE_ARRAYS, DamagedError, is_sealed, sealed, unseal

_FIX = "Figures that need it are left out"


@dataclass(frozen=True, eq=False)
class TensorHistogram:
    """The statistics of one tensor: ``count`` values from ``low`` to ``high``.

    ``counts[i]`` of them have an |x| nearest to ``i * width``; the last bin is that of ``amax``.
    """

    name: str
    low: float
    high: float
    count: int
    counts: npt.NDArray[np.int64]

    @property
    def amax(self) -> float:
        """The largest |x|; 0.0 if all values are zero."""
        return max(abs(self.low), abs(self.high))

    @property
    def width(self) -> float:
        """The width of one bin, in the tensor's unit."""
        return self.amax / (self.counts.size - 1)


@dataclass(frozen=True)
class HistogramStore:
    """The files under a sweep's ``folder``; each is complete or missing, and never changes."""

    folder: Path

    @cached_property
    def _runs(self) -> RowStore:
        return RowStore(self.folder)

    def histograms_path(self, statistics_key: str) -> Path:
        return SweepFolder(self.folder).histograms(statistics_key)

    def ranges_path(self, run_key: str) -> Path:
        return SweepFolder(self.folder).ranges(run_key)

    def has(self, run_key: str, statistics_key: str) -> bool:
        """Whether a run's thresholds can be drawn; an older row names no histograms."""
        return (
            bool(statistics_key)
            and self.histograms_path(statistics_key).is_file()
            and self._runs.has_file("ranges", run_key)
        )

    def add_histograms(
        self, statistics_key: str, make: Callable[[], Sequence[TensorHistogram]]
    ) -> None:
        """Store the histograms of a calibration set, unless an earlier run has done so."""
        path = self.histograms_path(statistics_key)
        if not path.is_file():
            write_with(path, sealed(path, partial(_save, histograms=make())))

    def add_ranges(self, run_key: str, ranges: str) -> None:
        """Store a run's ranges as JSON: tensor -> [-amax, amax]."""
        write_atomically(self.ranges_path(run_key), ranges.encode())

    def add_rules(self, run_key: str, rules: Mapping[str, str]) -> None:
        """Store the rule that gave each tensor its range, as JSON beside the ranges."""
        content = json.dumps(dict(rules), indent=2) + "\n"
        write_atomically(SweepFolder(self.folder).rules(run_key), content.encode())

    def add_cache(self, run_key: str, cache: bytes) -> None:
        """Store the calibration cache that TensorRT wrote for a run, unchanged."""
        write_atomically(SweepFolder(self.folder).calibration_cache(run_key), cache)

    def histograms(self, statistics_key: str) -> dict[str, TensorHistogram]:
        """By tensor, in the order in which they were added; DataError for another kind of file."""
        path = self.histograms_path(statistics_key)
        try:
            content = path.read_bytes()
            whole = unseal(content, path) if is_sealed(content) else content  # the older format
            with np.load(io.BytesIO(whole), allow_pickle=False) as arrays:
                columns = [arrays[key] for key in ("name", "range", "count", "counts")]
        except (DamagedError, *UNREADABLE_ARRAYS) as error:
            raise DataError(f"{path} holds no histograms ({error})", _FIX) from error
        return {
            str(name): TensorHistogram(
                str(name), float(low), float(high), int(count), counts.astype(np.int64)
            )
            for name, (low, high), count, counts in zip(*columns, strict=True)
        }

    def ranges(self, run_key: str) -> dict[str, float]:
        """Tensor -> amax of a run; DataError for another kind of file."""
        path = self.ranges_path(run_key)
        try:
            content = self._runs.read_file("ranges", run_key)
            if content is None:
                raise DataError(f"{path} does not exist", _FIX)
            return {name: float(amax) for name, (_, amax) in json.loads(content).items()}
        except (DamagedError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} holds no ranges ({error})", _FIX) from error

    def rules(self, run_key: str) -> dict[str, str]:
        """Tensor -> the rule that set its range; empty if the run's calibrator is a single rule.

        Raises DataError for another kind of file.
        """
        path = SweepFolder(self.folder).rules(run_key)
        try:
            content = self._runs.read_file("rules", run_key)
            if content is None:
                return {}
            return {name: str(rule) for name, rule in json.loads(content).items()}
        except (DamagedError, ValueError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} holds no rules ({error})", _FIX) from error


def _save(file: BinaryIO, histograms: Sequence[TensorHistogram]) -> None:
    counts = np.stack([histogram.counts for histogram in histograms])
    np.savez_compressed(
        file,
        name=np.array([histogram.name for histogram in histograms]),
        range=np.array([(histogram.low, histogram.high) for histogram in histograms]),
        count=np.array([histogram.count for histogram in histograms], np.int64),
        counts=counts.astype(np.min_scalar_type(counts.max(initial=0))),
    )
