"""How far a network's outputs move: noise by part of the outputs, and Kullback-Leibler divergence.

Boxes and scores are measured apart, as ``bench.evaluation.fidelity`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.model.heads.base import Head

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

STRONGEST = 1_000
"""Scores of a detector that the divergence looks at: those of the FP32 model that are highest."""

_LEAST = 1e-9
"""Probabilities are at least this far from 0 and 1."""


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
        """Noise over signal, the mean over the parts' arrays: what units are ranked by."""
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
        self._raw_scores = any(
            bool((array < 0).any() or (array > 1).any())
            for parts in self._reference
            for array in parts.get("scores", ())
        )
        self._strongest = [
            [_strongest(array) for array in parts.get("scores", ())] for parts in self._reference
        ]

    def add(self, image: int, outputs: Sequence[Array], noise: Noise) -> None:
        """Add to ``noise`` what these outputs of an image differ by."""
        parts, expected = (
            self._head.parts([output[0] for output in outputs]),
            self._reference[image],
        )
        energies = {
            part: np.array(
                [
                    (signal, _energy(array - known))
                    for signal, array, known in zip(
                        self._signal[image][part], parts[part], arrays, strict=True
                    )
                ]
            )
            for part, arrays in expected.items()
        }
        divergence = sum(_softmax_kl(*pair) for pair in zip(
            expected.get("logits", ()), parts.get("logits", ()), strict=True
        ))  # fmt: skip
        for known, array, where in zip(
            expected.get("scores", ()), parts.get("scores", ()), self._strongest[image], strict=True
        ):
            divergence += self._score_kl(known[where], array[where])
        noise.add(energies, divergence)

    def _score_kl(self, expected: Array, actual: Array) -> float:
        """The sum over scores of the divergence of yes and no."""
        p, q = (
            np.clip(_sigmoid(x) if self._raw_scores else x.astype(np.float64), _LEAST, 1 - _LEAST)
            for x in (expected, actual)
        )
        return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())


def _share(energies: Floats) -> Floats:
    """(arrays,): noise over signal; of a silent array infinite if there is noise."""
    signal, noise = energies[:, 0], np.nan_to_num(energies[:, 1], nan=np.inf)
    silent = np.where(noise > 0, np.inf, 0.0)
    return np.asarray(np.divide(noise, signal, out=silent, where=signal > 0))


def _energy(values: Array) -> float:
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.dot(flat, flat))


def _strongest(scores: Array) -> tuple[npt.NDArray[np.intp], ...]:
    """Where the highest scores are."""
    flat = scores.reshape(-1)
    count = min(STRONGEST, flat.size)
    return np.unravel_index(np.argpartition(-flat, count - 1)[:count], scores.shape)


def _softmax_kl(expected: Array, actual: Array) -> float:
    """The divergence of the classes' distributions; outputs that are one already are taken as
    such."""
    p, q = _distribution(expected), _distribution(actual)
    return float((p * np.log(p / q)).sum())


def _distribution(values: Array) -> Floats:
    x = values.astype(np.float64).reshape(-1)
    if not (x.min() >= 0 and abs(x.sum() - 1) < 1e-3):
        x = np.exp(x - x.max())
        x /= x.sum()
    return np.clip(x, _LEAST, None)


def _sigmoid(x: Array) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -60, 60)))
