"""The tables of a diagnosis: its layers, blocks and tensors, with a tooltip for every column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from string import ascii_lowercase

from bench.report.diagnosis_columns import (
    Column,
    Head,
    Marks,
    T,
    Table,
    make_table,
    name_column,
    places,
    text_cell,
)
from bench.report.diagnosis_numbers import (
    NOTHING,
    Cell,
    count_cell,
    decibels_cell,
    first_set,
    noise_of,
    number_cell,
    number_text,
    percent_text,
    set_words,
    sets_of,
    share_cell,
    small_share_cell,
    sqnr_cell,
    worst_part,
)
from bench.report.drawing import short_name
from bench.report.wording import calibrator_order
from bench.results.diagnosis import (
    BlockDiagnosis,
    Diagnosis,
    Effect,
    LayerDiagnosis,
    RuleError,
    TensorDiagnosis,
)
from bench.results.noise_shares import gain_db

MOST_WORST = 10
"""Layers in the table of the worst; each has a letter that charts use too."""

LEFT_OUT = ("worst part", "KL (nats)")
"""Columns of the table of all layers that do not fit into the table of the worst."""

LONGEST_OP = 24

MOSTLY = 4.0
"""From this ratio on, weights or activations make most of a layer's noise."""


def letters_of(diagnosis: Diagnosis) -> dict[str, str]:
    """The worst layers, worst first, each with its letter."""
    known = {layer.name for layer in diagnosis.layers}
    worst = [name for name in dict.fromkeys(diagnosis.worst) if name in known]
    return dict(zip(worst[:MOST_WORST], ascii_lowercase, strict=False))


def worst_table(diagnosis: Diagnosis) -> Table:
    """The worst layers, worst first."""
    letters = letters_of(diagnosis)
    by_name = {layer.name: layer for layer in diagnosis.layers}
    layers = [by_name[name] for name in letters]
    head = Head("mark", "the layer's letter in the charts", numeric=False)
    marks = Marks(head, tuple(Cell(f"({letter})", letter) for letter in letters.values()))
    columns = _layer_columns(diagnosis)
    brief = [column for column in columns if column.head.label not in LEFT_OUT]
    return make_table("The worst layers", "layers", brief, layers, marks)


def layer_table(diagnosis: Diagnosis) -> Table:
    """Every layer, in the order of the network."""
    worst = letters_of(diagnosis)
    return make_table(
        "All layers, in network order", "layers", _layer_columns(diagnosis), diagnosis.layers,
        places(len(diagnosis.layers)),
        frozenset(at for at, layer in enumerate(diagnosis.layers) if layer.name in worst),
    )  # fmt: skip


def block_table(diagnosis: Diagnosis) -> Table:
    columns = [
        name_column("block", "the name prefix that its layers share"),
        Column[BlockDiagnosis](
            Head("layers", "how many layers it has"), lambda block: count_cell(len(block.layers))
        ),
        Column[BlockDiagnosis](_MACS, lambda block: share_cell(block.mac_share)),
        *_sqnr_columns(diagnosis, lambda block: block.only),
        Column[BlockDiagnosis](_KL, lambda block: _kl(block, first_set(diagnosis))),
    ]
    return make_table("All blocks, in network order", "blocks", columns, diagnosis.blocks,
                  places(len(diagnosis.blocks)))  # fmt: skip


def tensor_table(diagnosis: Diagnosis) -> Table:
    """Every quantized activation, with the error of each calibrator's threshold."""
    rules = sorted({rule for tensor in diagnosis.tensors for rule in tensor.rules},
                   key=calibrator_order)  # fmt: skip
    columns = [
        name_column("tensor", "its name in the ONNX file; tooltip: the layer that computes it"),
        Column[TensorDiagnosis](
            Head("range", "the smallest and the largest value observed"),
            lambda tensor: Cell(
                f"{number_text(tensor.min, 3)} to {number_text(tensor.max, 3)}",
                str(max(abs(tensor.min), abs(tensor.max))),
            ),
        ),
        Column[TensorDiagnosis](
            Head("amax", "the threshold in use: INT8 covers −amax to amax"),
            lambda tensor: number_cell(tensor.amax),
        ),
        Column[TensorDiagnosis](
            Head("SQNR here (dB)", "signal to noise ratio here, with everything before it in INT8"),
            lambda tensor: decibels_cell(
                math.inf if tensor.depth_db is None else tensor.depth_db
            ),
        ),
        Column[TensorDiagnosis](
            Head("zeros (%)", "share of exact zeros"),
            lambda tensor: small_share_cell(tensor.zero_share),
        ),
        Column[TensorDiagnosis](
            Head("saturated (%)", "share of values beyond the range in use"),
            lambda tensor: small_share_cell(tensor.saturated_share),
        ),
        Column[TensorDiagnosis](
            Head("dead channels", "channels that never differ from zero, of all channels"), _dead
        ),
        Column[TensorDiagnosis](
            Head("not finite", "how many values are NaN or infinite"),
            lambda tensor: count_cell(tensor.not_finite, bad=tensor.not_finite > 0),
        ),
        *(_rule_column(rule) for rule in rules),
    ]  # fmt: skip
    return make_table("All tensors, in network order", "tensors", columns, diagnosis.tensors,
                  places(len(diagnosis.tensors)))  # fmt: skip


def kind_of(layer: LayerDiagnosis) -> str:
    """The operator, and whether it is depthwise: this colours a layer in a chart."""
    op = short_name(layer.op, LONGEST_OP)
    return f"depthwise {op}" if layer.depthwise else op


def gain_of(diagnosis: Diagnosis, layer: LayerDiagnosis) -> float | None:
    """By how many dB the network's noise falls when this layer alone is in float."""
    return gain_db(layer, diagnosis.all_int8)


def source_of(layer: LayerDiagnosis, images: str) -> str:
    """Whether a layer's noise comes from its weights or its activations; "" where unknown."""
    weights, activations = (
        noise_of(effects, images) for effects in (layer.weights_only, layer.activations_only)
    )
    if weights is None or activations is None or (weights <= 0 and activations <= 0):
        return ""
    if weights >= MOSTLY * activations:
        return "weights"
    return "activations" if activations >= MOSTLY * weights else "both"


_MACS = Head("MACs (%)", "share of the network's multiply-accumulates")
_KL = Head("KL (nats)", "Kullback-Leibler divergence of an image's scores or classes from FP32's")


def _layer_columns(diagnosis: Diagnosis) -> list[Column[LayerDiagnosis]]:
    images = first_set(diagnosis)
    on = f"on {set_words(images)}"
    several = any(
        len(effect.sqnr_db) > 1 for layer in diagnosis.layers for effect in layer.only.values()
    )
    return [
        name_column("layer", "its node's name in the ONNX file"),
        Column(Head("op", "its operator", numeric=False), lambda layer: text_cell(kind_of(layer))),
        Column(_MACS, lambda layer: share_cell(layer.mac_share)),
        *_sqnr_columns(diagnosis, lambda layer: layer.only),
        Column(
            Head("worst part", f"the part of the outputs with the lowest SQNR, {on}", False),
            lambda layer: text_cell(_part(layer, images) if several else ""),
        ),
        Column(
            Head("weights only (dB)", f"SQNR with its weights alone in INT8, {on}"),
            lambda layer: sqnr_cell(layer.weights_only.get(images)),
        ),
        Column(
            Head("activ. only (dB)", f"SQNR with its activations alone in INT8, {on}"),
            lambda layer: sqnr_cell(layer.activations_only.get(images)),
        ),
        Column(
            Head("noise from", f"which of the two makes {MOSTLY:g} times as much noise", False),
            lambda layer: text_cell(source_of(layer, images)),
        ),
        Column(
            Head("gain in float (dB)", f"by how much the network's noise falls, {on}, "
                 "with this layer alone in float and all others in INT8"),
            lambda layer: decibels_cell(gain_of(diagnosis, layer), sign="+"),
        ),
        Column(_KL, lambda layer: _kl(layer, images)),
        Column(
            Head("channel spread", "of its first input: the largest |x| of any channel over the "
                 "median channel's"),
            lambda layer: number_cell(layer.channel_spread),
        ),
        Column(
            Head("metric loss (%)", "loss of the metric with this layer alone in INT8, as a share "
                 "of FP32, with its 95 % interval"),
            _metric_loss,
        ),
    ]  # fmt: skip


def _sqnr_columns(
    diagnosis: Diagnosis, effects: Callable[[T], Mapping[str, Effect]]
) -> list[Column[T]]:
    """SQNR alone in INT8, for each set of images."""

    def column(images: str) -> Column[T]:
        meaning = "signal to noise ratio at the outputs (worst part), with only this in INT8"
        head = Head(f"SQNR, {set_words(images)} (dB)", meaning)
        return Column(head, lambda item: sqnr_cell(effects(item).get(images)))

    return [column(images) for images in sets_of(diagnosis)]


def _rule_column(rule: str) -> Column[TensorDiagnosis]:
    meaning = f"error of {rule}'s threshold in per cent of the tensor's energy: clipping + rounding"
    return Column(Head(f"{rule}: clip + round (%)", meaning), lambda tensor: _errors(tensor, rule))


def _errors(tensor: TensorDiagnosis, rule: str) -> Cell:
    error = tensor.rules.get(rule)
    if error is None or not math.isfinite(error.total):
        return NOTHING
    text = f"{percent_text(error.clipping)} + {percent_text(error.rounding)}"
    note = f"amax {number_text(error.amax)}"
    return Cell(text, str(error.total), note, least=error.total <= _least(tensor.rules))


def _least(rules: Mapping[str, RuleError]) -> float:
    totals = (error.total for error in rules.values())
    return min((total for total in totals if math.isfinite(total)), default=math.inf)


def _dead(tensor: TensorDiagnosis) -> Cell:
    if not tensor.channels:
        return NOTHING
    text = f"{tensor.dead_channels:,} of {tensor.channels:,}"
    return Cell(text, str(tensor.dead_channels))


def _metric_loss(layer: LayerDiagnosis) -> Cell:
    loss, low, high = layer.metric_loss, layer.metric_loss_low, layer.metric_loss_high
    cell = share_cell(loss)
    if cell.is_missing or low is None or high is None:
        return cell
    text = f"{cell.text} ({share_cell(low).text} to {share_cell(high).text})"
    return Cell(text, cell.key)


def _kl(item: LayerDiagnosis | BlockDiagnosis, images: str) -> Cell:
    effect = item.only.get(images)
    return NOTHING if effect is None else number_cell(effect.kl, 2)


def _part(layer: LayerDiagnosis, images: str) -> str:
    worst = worst_part(layer.only.get(images))
    return worst[0] if worst is not None and math.isfinite(worst[1]) else ""
