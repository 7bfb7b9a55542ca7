"""The share of the noise that each layer of a diagnosis makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.results.diagnosis import Effect, LayerDiagnosis

SHOWN_FIRST = ("other", "calibration")
"""The set for numbers of a single set of images: images that calibration has not seen."""


def noise_of(effects: Mapping[str, Effect]) -> float:
    """Noise over signal on the set that is shown first; infinite for outputs that are not finite,
    0 where nothing was measured."""
    name = next((name for name in (*SHOWN_FIRST, *effects) if name in effects), None)
    if name is None:
        return 0.0
    noise = effects[name].noise
    return math.inf if noise is None else noise


def noise_shares(layers: Sequence[LayerDiagnosis]) -> dict[str, float]:
    """The noise of each layer alone, as a share of the sum of these noises."""
    noise = {layer.name: noise_of(layer.only) for layer in layers}
    endless = [name for name, value in noise.items() if math.isinf(value)]
    if endless:
        return {name: (name in endless) / len(endless) for name in noise}
    whole = sum(noise.values())
    return {name: value / whole if whole > 0 else 0.0 for name, value in noise.items()}


def gain_db(layer: LayerDiagnosis, all_int8: Mapping[str, Effect]) -> float | None:
    """What the outputs gain with this layer alone in float, infinite if no noise is left; None
    where the noise before is zero or infinite."""
    before, after = noise_of(all_int8), noise_of(layer.all_but)
    if not (0 < before < math.inf and after < math.inf):
        return None
    if after == 0:
        return math.inf
    return 10 * math.log10(before / after)
