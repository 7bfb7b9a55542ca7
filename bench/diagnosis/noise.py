"""How far a network's outputs move: noise by part of the outputs, and Kullback-Leibler divergence.

Boxes and scores are measured apart, as ``bench.evaluation.fidelity`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.model.heads.base import Head, Parts

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

STRONGEST = 1_000
"""How many scores of a detector the divergence uses: the highest ones of the FP32 model."""

_LEAST = 1e-9
"""Probabilities are at least this far from 0 and 1."""

_SUMMABLE = 1e-30
"""An energy in float32 below this may have lost squares that are too small for it."""


@dataclass
class Noise:
    """Sums over images: energies of signal and noise of each part of the outputs, and divergence.

    ``energies`` has (arrays, 2) float64 for each part: signal and noise of each of its arrays.
    """

    energies: dict[str, Floats] = field(default_factory=dict)
    divergence: float = 0.0
    images: int = 0

    def add(self, energies: dict[str, Floats], divergence: float) -> None:
        """Add one image."""
        for part, values in energies.items():
            self.energies[part] = self.energies.get(part, 0.0) + values
        self.divergence += divergence
        self.images += 1

    @property
    def sqnr_db(self) -> dict[str, float]:
        """The signal-to-noise ratio of each part in dB: that of its worst array; inf without
        noise."""
        with np.errstate(divide="ignore"):
            return {
                part: float(-10 * np.log10(_share(values).max()))
                for part, values in self.energies.items()
            }

    @property
    def share(self) -> float:
        """Noise over signal, the mean over the parts' arrays; units are ranked by it."""
        return float(np.concatenate([_share(values) for values in self.energies.values()]).mean())

    @property
    def kl(self) -> float:
        """The mean divergence of an image, nats."""
        return self.divergence / self.images if self.images else 0.0


class NoiseMeter:
    """Compares outputs, with their batch axis of 1, to the FP32 model's ``reference`` of the same
    image."""

    def __init__(self, head: Head, reference: Sequence[Sequence[Array]]) -> None:
        self._head = head
        self._reference = [head.parts([output[0] for output in one]) for one in reference]
        self._signal = [
            {part: [_energy(array) for array in arrays] for part, arrays in parts.items()}
            for parts in self._reference
        ]
        self._distributions = all(
            _is_distribution(array)
            for parts in self._reference
            for array in parts.get("logits", ())
        )
        self._raw_scores = any(
            bool((array < 0).any() or (array > 1).any())
            for parts in self._reference
            for array in parts.get("scores", ())
        )
        self._strongest = [
            [_strongest(array) for array in parts.get("scores", ())] for parts in self._reference
        ]

    def add(self, image: int, outputs: Sequence[Array], noise: Noise) -> None:
        """Add to ``noise`` what these outputs of an image differ by; a divergence from outputs that
        are not numbers is infinite."""
        parts = self._head.parts([output[0] for output in outputs])
        with np.errstate(over="ignore", invalid="ignore"):
            energies = self._energies(image, parts)
            divergence = self._divergence(image, parts)
        noise.add(energies, np.inf if np.isnan(divergence) else divergence)

    def _energies(self, image: int, parts: Parts) -> dict[str, Floats]:
        return {
            part: np.array(
                [
                    (signal, _energy(array - known))
                    for signal, array, known in zip(
                        self._signal[image][part], parts[part], arrays, strict=True
                    )
                ]
            )
            for part, arrays in self._reference[image].items()
        }

    def _divergence(self, image: int, parts: Parts) -> float:
        expected = self._reference[image]
        divergence = 0.0
        for known, array in zip(expected.get("logits", ()), parts.get("logits", ()), strict=True):
            divergence += self._class_kl(known, array)
        for known, array, where in zip(
            expected.get("scores", ()), parts.get("scores", ()), self._strongest[image], strict=True
        ):
            divergence += self._score_kl(known[where], array[where])
        return divergence

    def _class_kl(self, expected: Array, actual: Array) -> float:
        """The divergence of the classes' distributions, by softmax unless the FP32 model's outputs
        are distributions already."""
        p, q = (_distribution(x, self._distributions) for x in (expected, actual))
        return float((p * np.log(p / q)).sum())

    def _score_kl(self, expected: Array, actual: Array) -> float:
        """The sum over scores of the divergence of yes and no."""
        p, q = (
            np.clip(_sigmoid(x) if self._raw_scores else x.astype(np.float64), _LEAST, 1 - _LEAST)
            for x in (expected, actual)
        )
        return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())


def _share(energies: Floats) -> Floats:
    """(arrays,): noise over signal; infinite for noise on an all-zero array, or for values that are
    not numbers."""
    signal, noise = energies[:, 0], energies[:, 1]
    share = np.where(noise == 0, 0.0, np.inf)
    finite = (signal > 0) & np.isfinite(signal) & np.isfinite(noise)
    return np.asarray(np.divide(noise, signal, out=share, where=finite))


def _energy(values: Array) -> float:
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        energy = float(np.dot(flat, flat))
    if _SUMMABLE < energy < np.inf:
        return energy
    return float(np.square(flat, dtype=np.float64).sum())


def _strongest(scores: Array) -> tuple[npt.NDArray[np.intp], ...]:
    """Where the highest scores are."""
    flat = scores.reshape(-1)
    count = min(STRONGEST, flat.size)
    return np.unravel_index(np.argpartition(-flat, count - 1)[:count], scores.shape)


def _is_distribution(values: Array) -> bool:
    return bool(values.min() >= 0 and abs(values.sum(dtype=np.float64) - 1) < 1e-3)


def _distribution(values: Array, already: bool) -> Floats:
    x = values.astype(np.float64).reshape(-1)
    if not already:
        x = np.exp(x - x.max())
        x /= x.sum()
    positive = np.clip(x, _LEAST, None)
    return np.asarray(positive / positive.sum())


def _sigmoid(x: Array) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -60, 60)))
