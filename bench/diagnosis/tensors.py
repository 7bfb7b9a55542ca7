"""The values of the quantized activations, in FP32 and with everything before them in INT8.

Both networks go forward together, a stretch at a time, so that few values are held.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.calibration.bins import FINE
from bench.calibration.histogram import regrid
from bench.calibration.quantization_error import quantization_error
from bench.calibration.statistics import Snapshot
from bench.engine.ov_piece import OpenPiece, Workers
from bench.model.cut import CuttableNetwork
from bench.results.diagnosis import RuleError

Array = npt.NDArray[np.float32]

STRETCH = 6
"""Tensors whose values for one image are in memory at a time, in each precision."""

PAIRS = 300
BINS = 64


@dataclass
class Seen:
    """Sums over images of one tensor's values, in FP32 and in the INT8 network.

    ``channel_amax`` (channels,) is the largest |x| of each channel in FP32; (0,) without channels.
    """

    signal: float = 0.0
    noise: float = 0.0
    count: int = 0
    zeros: int = 0
    saturated: int = 0
    not_finite: int = 0
    channel_amax: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    pairs: list[tuple[float, float]] = field(default_factory=list)

    def add(self, x: Array, int8: Array, amax: float, picked: npt.NDArray[np.intp]) -> None:
        """Add an image, (1, ...): its values in FP32 and in INT8, and pairs of those ``picked``."""
        magnitude = np.abs(x)
        finite = int(np.isfinite(x).sum()) + int(np.isfinite(int8).sum())
        self.not_finite += 2 * x.size - finite
        with np.errstate(all="ignore"):
            difference = (int8 - x).reshape(-1)
            self.signal += float(np.dot(x.reshape(-1), x.reshape(-1)))
            self.noise += float(np.dot(difference, difference))
        self.count += x.size
        self.zeros += x.size - int(np.count_nonzero(x))
        self.saturated += int(np.count_nonzero(magnitude > amax))
        if x.ndim == 4:
            largest = magnitude.max(axis=(0, 2, 3))
            known = self.channel_amax
            self.channel_amax = np.maximum(known, largest) if known.size else largest
        pairs = zip(x.reshape(-1)[picked], int8.reshape(-1)[picked], strict=True)
        self.pairs += [(_short(a), _short(b)) for a, b in pairs if np.isfinite((a, b)).all()]

    @property
    def sqnr_db(self) -> float | None:
        """None without noise."""
        if not self.noise > 0:
            return None if self.noise == 0 else -math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf

    @property
    def channel_spread(self) -> float | None:
        """The largest |x| of any channel over the median channel's; None where that is zero, or
        without channels."""
        median = float(np.median(self.channel_amax)) if self.channel_amax.size > 1 else 0.0
        return float(self.channel_amax.max()) / median if median > 0 else None


def observe(
    fp32: CuttableNetwork,
    int8: CuttableNetwork,
    amax: Mapping[str, float],
    images: Sequence[Callable[[], Array]],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Seen]:
    """What each tensor of ``amax`` shows on these images, in the order of the network; beyond its
    amax it saturates."""
    order = sorted(amax, key=lambda name: fp32.made_at(name))
    seen = {name: Seen() for name in order}
    networks = (fp32, int8)
    values: list[list[Mapping[str, npt.NDArray[Any]]]] = [[], []]
    for image in images:
        taken = {fp32.input_name: image()}
        for held in values:
            held.append(taken)
        if fp32.input_name in seen:
            x = taken[fp32.input_name]
            _add(seen, fp32.input_name, x, x, amax, len(images))
    computed = [name for name in order if name != fp32.input_name]
    here = [0, 0]
    with Workers() as workers:
        for start in range(0, len(computed), STRETCH):
            names = computed[start : start + STRETCH]
            stops = [max(network.made_at(name) for name in names) + 1 for network in networks]
            crossing = [
                network.crossing(stop) for network, stop in zip(networks, stops, strict=True)
            ]
            pieces = [
                OpenPiece(network.piece(begin, stop, dict.fromkeys((*names, *carried)), held[0]))
                for network, begin, stop, carried, held in zip(
                    networks, here, stops, crossing, values, strict=True
                )
            ]
            run = partial(_run, pieces, values)
            for number, known in enumerate(workers.map(run, range(len(images)))):
                for name in names:
                    _add(seen, name, known[0][name], known[1][name], amax, len(images))
                for held, carried, computed_here in zip(values, crossing, known, strict=True):
                    held[number] = {name: computed_here[name] for name in carried}
            here = stops
            report(start + len(names), len(computed))
    return seen


def _run(
    pieces: Sequence[OpenPiece],
    values: Sequence[Sequence[Mapping[str, npt.NDArray[Any]]]],
    number: int,
) -> list[dict[str, npt.NDArray[Any]]]:
    """Both networks' values of image ``number``, behind their pieces."""
    return [
        {**held[number], **piece.run(held[number])}
        for piece, held in zip(pieces, values, strict=True)
    ]


def _add(
    seen: Mapping[str, Seen], name: str, x: Array, int8: Array, amax: Mapping[str, float], of: int
) -> None:
    one = seen[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()) + len(one.pairs))
    picked = rng.choice(x.size, min(x.size, math.ceil(PAIRS / of)), replace=False)
    one.add(x, int8, amax[name], np.sort(picked))


def rule_error(snapshot: Snapshot, amax: float) -> RuleError:
    """What INT8 with this threshold does to a tensor that showed ``snapshot``."""
    error = quantization_error(snapshot, amax)
    energy = error.energy
    shares = (error.clipping / energy, error.rounding / energy) if energy > 0 else (0.0, 0.0)
    return RuleError(amax, *shares)


def histogram(snapshot: Snapshot, bins: int = BINS) -> tuple[int, ...]:
    """The values that a tensor showed in equal bins from its lowest to its highest; none if it was
    one value throughout."""
    if not snapshot.max > snapshot.min:
        return ()
    inner = np.linspace(snapshot.min, snapshot.max, bins + 1, dtype=np.float64)[1:-1]
    edges: npt.NDArray[np.float64] = inner / 2.0**snapshot.exponent * FINE + (FINE + 1)
    counts = regrid(np.concatenate((snapshot.negative[::-1], snapshot.positive)), edges)
    return tuple(counts.tolist())


def _short(value: np.float32) -> float:
    return float(f"{float(value):.5g}")
