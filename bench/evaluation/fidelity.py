"""How far raw outputs move from the FP32 model's, independent of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


class Sqnr:
    """Signal to quantization noise ratio of a model's outputs, accumulated over batches.

    10 log10(sum reference^2 / sum (reference - actual)^2), in dB, with energies summed in float64
    over all batches. Of several outputs, each is first brought to its own dB and the mean of these
    is taken: energies added across outputs would speak of the loudest one alone (boxes in pixels
    are a million times louder in energy than scores in [0, 1]). What a single output holds of both
    must be given apart, as a head's ``parts`` are (``bench.run.measure.decibels_of_parts``).

    >>> sqnr = Sqnr()
    >>> sqnr.update([np.array([3.0, 4.0])], [np.array([3.0, 4.5])])
    >>> sqnr.decibels()
    20.0
    """

    def __init__(self) -> None:
        self._signal: npt.NDArray[np.float64] | None = None  # one energy for each output
        self._noise: npt.NDArray[np.float64] | None = None

    def update(self, reference: Sequence[FloatArray], actual: Sequence[FloatArray]) -> None:
        """Add one batch: the outputs of the FP32 model and of the other one, in the same order.

        A NaN or infinity in ``actual`` counts as infinite noise. Raises ValueError when the number
        of outputs or a shape differs.
        """
        shapes = [[output.shape for output in outputs] for outputs in (reference, actual)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"outputs have shapes {shapes[1]}, the reference's {shapes[0]}")
        pairs = list(zip(reference, actual, strict=True))
        signal = np.array([_energy(expected) for expected, _ in pairs], dtype=np.float64)
        noise = np.array([_energy(_difference(*pair)) for pair in pairs], dtype=np.float64)
        if self._signal is None or self._noise is None:
            self._signal, self._noise = np.zeros_like(signal), np.zeros_like(noise)
        if len(signal) != len(self._signal):
            raise ValueError(f"{len(signal)} outputs after batches of {len(self._signal)}")
        self._signal += signal
        self._noise += np.where(np.isnan(noise), np.inf, noise)

    def per_output(self) -> npt.NDArray[np.float64]:
        """(n_outputs,) float64 dB: inf without noise, -inf for noise without signal or without end,
        nan when the reference itself is not finite.

        Raises ValueError before the first batch.
        """
        if self._signal is None or self._noise is None:
            raise ValueError("no batch was added")
        decibels = np.full(len(self._noise), np.inf, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(self._signal, self._noise, out=decibels, where=self._noise > 0)
            np.log10(ratio, out=decibels)
        return 10 * decibels

    def decibels(self) -> float:
        """Mean of ``per_output`` over the outputs that changed; inf when none did.

        An output that comes out exact (a count, a constant) was not touched by quantization; in the
        mean it would make the whole infinite and hide the others.
        """
        values = self.per_output()
        noisy = values[values != np.inf]
        return float(noisy.mean()) if len(noisy) else float("inf")


def _energy(values: FloatArray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _difference(reference: FloatArray, actual: FloatArray) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # inf - inf: the NaN is dealt with by the caller
        return np.subtract(reference, actual, dtype=np.float64)
