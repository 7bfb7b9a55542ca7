"""Diagnoses that look like real ones: a small detector's layers, or as many as a test wants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.results.diagnosis import (
    BlockDiagnosis,
    Diagnosis,
    Effect,
    LayerDiagnosis,
    RuleError,
    TensorDiagnosis,
)

RULES = ("minmax", "entropy2", "percentile 99.99", "mse", "legacy", "moving_average")
SETS = ("calibration", "other")
HARMFUL = 5
"""Every so many blocks a depthwise layer is far noisier than the others."""
JUMP = 7
"""The place of the tensor from which on the error is larger."""


def effect(noise: float) -> Effect:
    """What makes ``noise`` on boxes, and half as much on scores."""
    if noise <= 0:
        return Effect({"boxes": None, "scores": None}, 0.0, 0.0)
    db = float(-10 * np.log10(noise))
    return Effect({"boxes": db, "scores": db + 3.01}, 0.75 * noise, noise / 3)


def effects(noise: float) -> dict[str, Effect]:
    return {"calibration": effect(0.8 * noise), "other": effect(noise)}


def make_diagnosis(count: int = 63, seed: int = 0) -> Diagnosis:
    """``count`` layers in blocks of three: /model.0/conv/Conv, /model.0/dw/Conv, /model.0/Add."""
    rng = np.random.default_rng(seed)
    whole = 0.08
    layers = [_layer(place, rng, whole) for place in range(count)]
    worst = sorted(layers, key=lambda layer: -(layer.only["other"].noise or 0))[:6]
    measured = {layer.name for layer in worst[:3]}
    layers = [
        replace(layer, metric_loss=0.021, metric_loss_low=0.004, metric_loss_high=0.038)
        if layer.name in measured
        else layer
        for layer in layers
    ]
    tensors = tuple(_tensor(layer, place, rng) for place, layer in enumerate(layers))
    names = tuple(layer.name for layer in worst)
    return Diagnosis(
        {
            "model": "yolov8n", "dataset": "coco128", "calibrator": "percentile 99.99",
            "calibration images": "64", "other images": "32", "plan": "all",
            "engine": "onnxruntime",
        },
        41.7, effects(whole), tuple(layers), _blocks(layers), tensors,
        _producer(JUMP - 1) if count > JUMP else None, names,
        (
            f"Keep {names[0]} in float: the network's noise falls by 1.9 dB for 0.4 % of its MACs.",
            "The noise of 4 of the 6 worst layers comes from their activations: mse instead of "
            "percentile 99.99 has less error on 5 of their 6 inputs.",
            "The weights of depthwise layers have a channel spread above 30; equalize them.",
        ),
        {
            "int8bench": f"plan=all plan.float_nodes='[{','.join(names)}]'",
            "trtexec --layerPrecisions": ",".join(f"{name}:fp16" for name in names),
            "ModelOpt nodes_to_exclude": "[\n" + "".join(f'    "{n}",\n' for n in names) + "]",
        },
    )  # fmt: skip


def _layer(place: int, rng: np.random.Generator, whole: float) -> LayerDiagnosis:
    block, kind = divmod(place, 3)
    name, op = ((f"/model.{block}/conv/Conv", "Conv"), (f"/model.{block}/dw/Conv", "Conv"),
                (f"/model.{block}/Add", "Add"))[kind]  # fmt: skip
    noise = float(10 ** rng.normal(-4.2, 0.5))
    if kind == 1 and block % HARMFUL == 2:
        noise = 0.03 / (1 + block / 30)
    weights = 0.0 if op == "Add" else noise * float(rng.uniform(0.02, 0.9))
    return LayerDiagnosis(
        name, op, int(4e6), 0.0 if op == "Add" else float(rng.uniform(0.001, 0.05)), kind == 1,
        f"/model.{block}", (f"{name}_input",), effects(noise), effects(weights),
        effects(noise - weights), effects(max(whole - noise, 1e-6)),
        None if op == "Add" else float(rng.lognormal(1.5, 0.8)),
    )  # fmt: skip


def _blocks(layers: list[LayerDiagnosis]) -> tuple[BlockDiagnosis, ...]:
    groups: dict[str, list[LayerDiagnosis]] = {}
    for layer in layers:
        groups.setdefault(layer.block, []).append(layer)
    return tuple(
        BlockDiagnosis(
            name, tuple(layer.name for layer in own), sum(layer.mac_share for layer in own),
            effects(sum(layer.only["other"].noise or 0.0 for layer in own)),
        )
        for name, own in groups.items()
    )  # fmt: skip


def _tensor(layer: LayerDiagnosis, place: int, rng: np.random.Generator) -> TensorDiagnosis:
    values = np.maximum(rng.standard_t(3, 4000), -0.28)  # as after SiLU
    low, high = float(values.min()), float(values.max())
    amax = float(np.quantile(np.abs(values), 0.999))
    counts, _ = np.histogram(values, bins=512, range=(low, high))
    rounded = np.clip(np.round(values / amax * 127), -127, 127) * amax / 127
    noisy = rounded + amax / 127 * rng.integers(-3, 4, rounded.size)
    rules = {
        rule: RuleError(high * share, float(10 ** rng.normal(-5, 1)) * (share < 1),
                        float(10 ** rng.normal(-4, 0.5)))
        for rule, share in zip(RULES, (1.0, 0.6, 0.9, 0.7, 0.8, 1.0), strict=True)
    }  # fmt: skip
    drop = 8.0 if place >= JUMP else 0.0
    depth = None if place == 0 else 42 - drop - 10 * np.log10(1 + place) + float(rng.normal(0, 0.6))
    producer = "" if place == 0 else _producer(place - 1)
    return TensorDiagnosis(
        layer.inputs[0], producer, low, high, amax, rules, depth, float(rng.uniform(0, 0.02)),
        0.001, int(rng.integers(0, 3)), 64, 0, tuple(map(int, counts)), low, high,
        tuple((float(x), float(y)) for x, y in zip(values[:900], noisy[:900], strict=True)),
    )  # fmt: skip


def _producer(place: int) -> str:
    block, kind = divmod(place, 3)
    return f"/model.{block}/" + ("conv/Conv", "dw/Conv", "Add")[kind]
