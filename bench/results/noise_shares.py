"""How much of the noise each layer of a diagnosis makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.results.diagnosis import Effect, LayerDiagnosis


def mean_noise(effects: Mapping[str, Effect]) -> float:
    """Noise over signal, the mean over the sets of images; infinite for outputs that are not
    finite."""
    shares = [math.inf if one.noise is None else one.noise for one in effects.values()]
    return sum(shares) / len(shares) if shares else 0.0


def noise_shares(layers: Sequence[LayerDiagnosis]) -> dict[str, float]:
    """What each layer alone adds, as a share of what all of them add one by one."""
    noise = {layer.name: mean_noise(layer.only) for layer in layers}
    endless = [name for name, value in noise.items() if math.isinf(value)]
    if endless:
        return {name: (name in endless) / len(endless) for name in noise}
    whole = sum(noise.values())
    return {name: value / whole if whole > 0 else 0.0 for name, value in noise.items()}


def gain_db(layer: LayerDiagnosis, all_int8: Mapping[str, Effect]) -> float | None:
    """What the outputs gain with this layer alone in float; None where one of the two has no
    noise, or no end of it."""
    before, after = mean_noise(all_int8), mean_noise(layer.all_but)
    if not (0 < before < math.inf and 0 < after < math.inf):
        return None
    return 10 * math.log10(before / after)
