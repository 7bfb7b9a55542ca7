"""The advice of a diagnosis: where the loss comes from, why, and what a fix costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from bench.results.diagnosis import Effect, LayerDiagnosis, TensorDiagnosis
from bench.results.noise_shares import gain_db, noise_of, noise_shares

MOST_OF_THE_NOISE = 0.8
MOST_WORST = 10

JUMP_DB = 6.0
"""A tensor with four times the noise of all before it."""

USUAL_DB = 36.0
"""SQNR (dB) of a tensor whose range fits; a jump ends well below it."""

_CLEARLY = 3.0
"""One cause is named alone if the other makes a third or less."""

_BETTER = 0.5
"""Another rule is named where its error is at most this share of the present one's."""

_WIDE = 8.0
_MOSTLY_DEPTHWISE = 0.5
_EXPLAINED = 3
"""How many of the worst layers are explained one by one."""


def worst_layers(layers: Sequence[LayerDiagnosis]) -> tuple[str, ...]:
    """The fewest layers that make most of the noise, worst first."""
    shares, worst, made = noise_shares(layers), list[str](), 0.0
    for name in sorted(shares, key=lambda name: -shares[name]):
        if made >= MOST_OF_THE_NOISE or len(worst) == MOST_WORST or shares[name] == 0:
            break
        worst.append(name)
        made += shares[name]
    return tuple(worst)


def first_jump(tensors: Iterable[TensorDiagnosis], layer_before: Mapping[str, str]) -> str | None:
    """The layer after which a tensor is first much noisier than all before it, in the order of the
    network; ``layer_before`` maps a tensor to the layer that computes it."""
    lowest = USUAL_DB
    for tensor in tensors:
        if tensor.depth_db is None:
            continue
        if tensor.depth_db < lowest - JUMP_DB and tensor.name in layer_before:
            return layer_before[tensor.name]
        lowest = min(lowest, tensor.depth_db)
    return None


def advise(
    layers: Sequence[LayerDiagnosis],
    tensors: Sequence[TensorDiagnosis],
    all_int8: Mapping[str, Effect],
    rule: str,
    network_input: tuple[str, float | None],
) -> tuple[str, ...]:
    """Sentences; ``rule`` names the calibrator in use, ``network_input`` the input's tensor and the
    largest magnitude that preprocessing can give it (None where the range is declared already)."""
    worst = worst_layers(layers)
    if not worst:
        return ("INT8 adds no noise to the outputs on these images.",)
    by_name = {layer.name: layer for layer in layers}
    by_tensor = {tensor.name: tensor for tensor in tensors}
    shares = noise_shares(layers)
    said = [_where(worst, shares, len(layers))]
    for name in worst[:_EXPLAINED]:
        said.append(_why(by_name[name], by_tensor, rule))
    said += _depthwise(layers, shares)
    said += _input_clipped(by_tensor.get(network_input[0]), network_input[1])
    said += _another_rule(tensors, worst, by_name, rule)
    said += _cost(worst, by_name, all_int8)
    said += _sets(all_int8)
    return tuple(said)


def _where(worst: Sequence[str], shares: Mapping[str, float], count: int) -> str:
    made = sum(shares[name] for name in worst)
    if made < MOST_OF_THE_NOISE:
        return (
            f"The noise is spread over many layers: the worst {len(worst)} of {count} cause "
            f"{made:.0%} of it (each layer measured alone)."
        )
    which = "one layer causes" if len(worst) == 1 else f"{len(worst)} layers cause"
    return (
        f"Of {count} layers, {which} {made:.0%} of the noise (each layer measured alone): "
        f"{', '.join(worst)}."
    )


def _why(layer: LayerDiagnosis, tensors: Mapping[str, TensorDiagnosis], rule: str) -> str:
    kind = "depthwise Conv" if layer.depthwise else layer.op
    weights, activations = noise_of(layer.weights_only), noise_of(layer.activations_only)
    begin = f"{layer.name} ({kind}, {layer.mac_share:.2%} of the MACs)"
    if weights > _CLEARLY * activations:
        return (
            f"{begin}: the noise comes from its weights. Try weights.rule=mse, or keep it in float."
        )
    cause = (
        "its activations" if activations > _CLEARLY * weights else "its weights and its activations"
    )
    read = [tensors[name] for name in layer.inputs if name in tensors]
    with_error = [one for one in read if rule in one.rules]
    reasons = []
    if with_error:
        tensor = max(with_error, key=lambda one: one.rules[rule].total)
        reasons.append(_clipped_or_rounded(tensor, rule))
    if layer.channel_spread is not None and layer.channel_spread >= _WIDE:
        reasons.append(
            f"the channels of its input differ: the largest |x| of one channel is "
            f"{layer.channel_spread:.0f} times that of the median channel, with one scale for all"
        )
    return (
        f"{begin}: the noise comes from {cause}"
        + "".join(f"; {reason}" for reason in reasons)
        + "."
    )


def _clipped_or_rounded(tensor: TensorDiagnosis, rule: str) -> str:
    error, largest = tensor.rules[rule], max(abs(tensor.min), abs(tensor.max))
    if error.clipping > _CLEARLY * error.rounding:
        return (
            f"{tensor.name} is clipped at {error.amax:.4g} of {largest:.4g} ({error.clipping:.2%} "
            "of its energy)"
        )
    if error.rounding > _CLEARLY * error.clipping:
        return (
            f"the range of {tensor.name}, up to {error.amax:.4g}, gives steps too coarse for most "
            f"values (rounding error: {error.rounding:.2%} of its energy)"
        )
    return (
        f"{tensor.name} loses {error.clipping:.2%} of its energy by clipping at {error.amax:.4g} "
        f"of {largest:.4g} and {error.rounding:.2%} by rounding"
    )


def _depthwise(layers: Sequence[LayerDiagnosis], shares: Mapping[str, float]) -> list[str]:
    depthwise = [layer for layer in layers if layer.depthwise]
    made, spent = (
        sum(shares[one.name] for one in depthwise),
        sum(one.mac_share for one in depthwise),
    )
    if len(depthwise) < 2 or made < _MOSTLY_DEPTHWISE:
        return []
    return [
        f"The {len(depthwise)} depthwise layers cause {made:.0%} of the noise with {spent:.2%} "
        "of the MACs: plan=float_depthwise keeps them in float."
    ]


def _input_clipped(tensor: TensorDiagnosis | None, declared: float | None) -> list[str]:
    if tensor is None or declared is None:
        return []
    largest = min(declared, max(abs(tensor.min), abs(tensor.max)))
    if tensor.amax > 0.98 * largest:
        return []
    return [
        f"The network's input is clipped at {tensor.amax:.4g} of {declared:.4g} "
        f"({tensor.saturated_share:.1%} of its values are larger): add input_range=declared."
    ]


def _another_rule(
    tensors: Sequence[TensorDiagnosis],
    worst: Sequence[str],
    layers: Mapping[str, LayerDiagnosis],
    rule: str,
) -> list[str]:
    """The rule with the least error on the inputs of the worst layers, if it is much less."""
    read = {name for layer in worst for name in layers[layer].inputs}
    looked_at = [one for one in tensors if one.name in read and rule in one.rules]
    better: dict[str, list[str]] = {}
    for tensor in looked_at:
        least = min(tensor.rules, key=lambda name: tensor.rules[name].total)
        if tensor.rules[least].total < _BETTER * tensor.rules[rule].total:
            better.setdefault(least, []).append(tensor.name)
    return [
        f"calibrator={name} has less than half the error of {rule} on "
        f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}."
        for name, names in sorted(better.items(), key=lambda item: -len(item[1]))
    ]


def _cost(
    worst: Sequence[str], layers: Mapping[str, LayerDiagnosis], all_int8: Mapping[str, Effect]
) -> list[str]:
    spent = sum(layers[name].mac_share for name in worst)
    first = layers[worst[0]]
    take = "it takes" if len(worst) == 1 else "they take"
    said = f"In float, {take} {spent:.2%} of the MACs out of INT8"
    gain = gain_db(first, all_int8)
    if gain is not None and math.isfinite(gain):
        word = "gains" if gain >= 0 else "loses"
        said += (
            f"; {first.name} alone in float takes {first.mac_share:.2%} and {word} "
            f"{abs(gain):.1f} dB"
        )
    return [said + "."]


def _sets(all_int8: Mapping[str, Effect]) -> list[str]:
    if not {"calibration", "other"} <= set(all_int8):
        return []
    calibration, other = (noise_of({name: all_int8[name]}) for name in ("calibration", "other"))
    if not (0 < calibration < math.inf and 0 < other < math.inf):
        return []
    difference = 10 * math.log10(other / calibration)
    if difference < 3:
        return []
    return [
        f"Images outside the calibration set lose {difference:.1f} dB more: their values exceed "
        "those seen in calibration. Calibrate on more images, or on more varied ones."
    ]
