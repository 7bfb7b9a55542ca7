"""The thresholds of one group's calibrators on one calibration set: the data of their charts.

One set of images and one plan are enough to see how the calibrators differ: the largest calibration
size, and the plan that quantizes most tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from bench.errors import DataError
from bench.results.histograms import HistogramStore, TensorHistogram
from bench.sealed import warn

T = TypeVar("T")

TELLING = 6
"""Tensors whose histograms a report shows."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """The thresholds of each calibrator on the tensors of one calibration set.

    ``tensors`` are in network order, the network's input first if it is quantized at all. ``amax``
    gives each calibrator's threshold by tensor; tensors that the plan keeps in float have none.
    """

    plan_label: str
    size: int
    tensors: Mapping[str, TensorHistogram]
    amax: Mapping[str, Mapping[str, float]]

    def of(self, tensor: str) -> dict[str, float]:
        """Calibrator -> threshold, for calibrators that have one for this tensor."""
        return {label: amax[tensor] for label, amax in self.amax.items() if tensor in amax}

    def share(self, calibrator: str, tensor: str) -> float:
        """Threshold / observed maximum; NaN without a threshold, or if all values are zero."""
        seen = self.tensors[tensor].amax
        return self.amax[calibrator].get(tensor, math.nan) / seen if seen else math.nan

    def highest_share(self, tensor: str) -> float:
        """The smallest share of all calibrators that have a threshold for this tensor."""
        return max(self.of(tensor).values()) / self.tensors[tensor].amax

    @property
    def quantized(self) -> list[str]:
        """The tensors that have a share, in network order."""
        return [name for name, seen in self.tensors.items() if seen.amax and self.of(name)]

    def disagreement(self, tensor: str) -> float:
        """The largest threshold over the smallest."""
        amax = self.of(tensor).values()
        return max(amax) / min(amax)

    @property
    def telling(self) -> list[str]:
        """The input, and the tensors on which the calibrators disagree most; in network order."""
        first, rest = self.quantized[:1], self.quantized[1:]
        # Of several tensors that share one range, one is enough.
        alike = {tuple(self.of(name).values()): name for name in reversed(rest)}
        chosen = sorted(alike.values(), key=self.disagreement, reverse=True)[: TELLING - 1]
        return first + [name for name in rest if name in chosen]


def find_thresholds(rows: pd.DataFrame, store: HistogramStore) -> Thresholds | None:
    """The thresholds of one group's tidy, measured rows; None where no file has them.

    Among plans that quantize equally many tensors, the plan with most calibrators is taken.
    Calibrated ranges of the input are preferred to declared ones, which no calibrator set.
    """
    pairs = zip(rows["run_key"], rows["statistics_key"], strict=True)
    candidates = rows[[store.has(run, statistics) for run, statistics in pairs]]
    if candidates.empty:
        return None
    candidates = candidates[candidates["calibration_size"] == candidates["calibration_size"].max()]
    read = {key: _or_warn(store.ranges, key) for key in candidates["run_key"]}
    ranges = {key: group for key, group in read.items() if group is not None}
    candidates = candidates[candidates["run_key"].isin(ranges)]
    if candidates.empty:
        return None

    def weight(group: pd.DataFrame) -> tuple[int, int, bool]:
        tensors = max(len(ranges[key]) for key in group["run_key"])
        return (
            tensors,
            group["calibrator_label"].nunique(),
            bool((group["input_range"] == "calibrated").all()),
        )

    first = max(
        (group for _, group in candidates.groupby(["statistics_key", "plan_label"], sort=False)),
        key=weight,
    )
    row = first.iloc[0]
    tensors = _or_warn(store.histograms, str(row["statistics_key"]))
    if tensors is None:
        return None
    return Thresholds(
        plan_label=str(row["plan_label"]),
        size=int(row["calibration_size"]),
        tensors=tensors,
        amax={
            label: ranges[key]
            for label, key in zip(first["calibrator_label"], first["run_key"], strict=True)
        },
    )


def _or_warn(read: Callable[[str], T], key: str) -> T | None:
    """The content of the file; None for a damaged file, with a warning."""
    try:
        return read(key)
    except DataError as error:
        warn(str(error))
        return None
