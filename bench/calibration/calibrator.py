"""A calibrator turns the statistics of a tensor into its dynamic range; each rule is one file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.calibration.bins import LEAST_RANGE
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.calibration.statistics import Snapshot

SILENT_AMAX = 1.0
"""The range of a tensor with only zeros.

A Q/DQ scale must be positive, whereas TensorRT's cache has 0. A tiny scale would be bad, too:
engines multiply and divide scales, which overflows, and the first value at inference saturates. So
the tensor gets a default range. ONNX Runtime likewise uses a scale of 1.
"""


class Calibrator(Protocol):
    """A rule for the clipping threshold: a pure function of a snapshot, without state.

    A rule of TensorRT that works after layer fusion also has ``after_fusion = True``. A native
    calibrator of TensorRT, without thresholds here, has ``native = True``. A calibrator that reads
    another tool's file has ``from_file = True``.
    """

    @property
    def name(self) -> str:
        """The rule's name in configuration and results, such as "percentile"."""
        ...

    @property
    def params(self) -> str:
        """Its parameters in a result row, such as "percentile=99.99"; "" if it has none."""
        ...

    def amax(self, snapshot: Snapshot) -> float:
        """The clipping threshold of |x|, in the tensor's unit; 0.0 only if all values are zero."""
        ...


def after_fusion(calibrator: Calibrator) -> bool:
    """Whether tensors inside a fused layer get no range; False unless the rule says so."""
    return bool(getattr(calibrator, "after_fusion", False))


def is_native(calibrator: Calibrator) -> bool:
    """Whether TensorRT computes the ranges; False unless the calibrator says so."""
    return bool(getattr(calibrator, "native", False))


def is_from_file(calibrator: Calibrator) -> bool:
    """Whether the ranges come from a file, independent of the calibration images."""
    return bool(getattr(calibrator, "from_file", False))


def is_silent(snapshot: Snapshot) -> bool:
    """Whether a tensor has only zeros, or no value above ``LEAST_RANGE``, whose float32 scale would
    be close to subnormal."""
    return snapshot.amax <= LEAST_RANGE


@dataclass(frozen=True, eq=False)
class DynamicRanges(Mapping[str, float]):
    """The clipping threshold amax > 0 of each tensor by name: it is quantized on [-amax, amax].

    Raises DataError for a threshold that is not finite and positive.
    """

    amax: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "amax", dict(self.amax))
        for name, amax in self.amax.items():
            if not (math.isfinite(amax) and amax > 0):
                raise DataError(
                    f"the dynamic range of tensor '{name}' is {amax}",
                    "A range must be finite and above zero",
                )

    def __getitem__(self, name: str) -> float:
        return self.amax[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.amax)

    def __len__(self) -> int:
        return len(self.amax)


def completed(amax: Mapping[str, float]) -> DynamicRanges:
    """Ranges with ``SILENT_AMAX`` for a tensor with only zeros, whoever computed them."""
    return DynamicRanges({name: value or SILENT_AMAX for name, value in amax.items()})


def find_ranges(calibrator: Calibrator, snapshots: Iterable[Snapshot]) -> DynamicRanges:
    """The range of every tensor by ``calibrator``.

    A silent tensor gets ``SILENT_AMAX`` with every calibrator.
    """
    return DynamicRanges(
        {s.name: SILENT_AMAX if is_silent(s) else calibrator.amax(s) for s in snapshots}
    )
