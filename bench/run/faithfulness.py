"""The faithfulness check: is a row's accuracy that of its Q/DQ file?

The outputs behind the accuracy are compared with an exact computation of the same file by another
library, on the first validation images. Rounding also changes outputs, in some networks strongly.
So the file is computed three more times with slightly different scales, which gives the rounding
noise of each channel.

Outputs are compared channel by channel, each against its own rounding noise. A single number for a
joined output would not do: boxes in pixels are a million times louder than scores below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from bench.engine.base import Emulating, Engine, calibrates
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.evaluation.task import Evidence, compare
from bench.model.edit import copy_of
from bench.run.measure import evaluate, task_of, validation_images
from bench.run.spec import Run

NUDGE, HALF_NUDGE = 1e-6, 2.0**-11
"""Relative effect of the order of summation in float32, and of rounding to FP16."""

NUDGES = 3

QUIETEST_DB = 40.0
"""A channel may always differ by this: quantization itself leaves 20 to 35 dB."""

MEAN_MARGIN_DB, DECILE_MARGIN_DB = 5.0, 7.0
"""How much louder than rounding a difference may be: in the mean of all channels, and in the tenth
of them where it is loudest. Measured once on six networks: rounding alone is up to 0.8 and 3.1 dB
louder, FP32 outputs 5.5 to 31 and 8 to 34 dB. Of 312 runs of three classifiers with exact int8
kernels none is more than 1.4 dB louder in the mean."""

LEAST_DIFFERENCE = 0.05
"""Allowed difference of the metric: on so few images rounding alone causes up to 0.03
(YOLOX-nano)."""

LOUDEST_DB = 100.0
"""The value for no difference at all."""

Energies = npt.NDArray[np.float64]
"""(n_channels,) sums of squares over the first images."""


@dataclass(frozen=True)
class Agreement:
    """How close a row's INT8 is to the exact computation of its Q/DQ file.

    ``decibels`` is the SQNR, the mean over the outputs' channels, and ``limit_db`` its lower
    limit (None with implicit quantization); ``difference`` is that of the metric on the first
    images. All are None where nothing could be compared. ``doubt`` says why the row is not
    faithful, and is empty where it is.
    """

    decibels: float | None = None
    limit_db: float | None = None
    difference: float | None = None
    doubt: str = ""


def check_agreement(
    run: Run, engine: Engine, qdq: onnx.ModelProto, evidence: Evidence[Any], fp32: Evidence[Any]
) -> Agreement:
    """Compare ``evidence``, the source of the row's accuracy, with another library's exact result.

    ``fp32`` is the FP32 baseline's. An engine with implicit quantization read the FP32 file and the
    same ranges, and may leave layers in float: it must only not be further from FP32 than the file.
    """
    count = len(evidence.outputs)
    nudge = HALF_NUDGE if getattr(engine, "half", False) else NUDGE
    seeds = range(0 if calibrates(engine) else NUDGES)
    try:
        exact, *nudged = _compute(
            run, engine, [qdq, *(nudge_scales(qdq, seed, nudge) for seed in seeds)], count
        )
    except EngineError:  # the row and the report say that nothing was compared
        return Agreement()
    task = task_of(run, fp32.predictions[:count], count)
    ours, expected = (task.score(one.predictions[:count]) for one in (evidence, exact))
    difference = compare(expected, ours)
    signal, noise = channel_energies(exact.outputs), _noise(exact, evidence)
    decibels = _mean(_decibels(signal, noise)[signal > 0])
    if calibrates(engine):
        limit, wrong = None, difference.high < 0
        doubts = _doubt_louder(
            signal,
            _noise(fp32, exact),
            _noise(fp32, evidence),
            "further from FP32 than those of the file",
        )
    else:
        allowed = np.mean([_noise(exact, other) for other in nudged], axis=0)
        limit = _mean(_decibels(signal, _loud_enough(signal, allowed))[signal > 0]) - MEAN_MARGIN_DB
        wrong = difference.high < 0 or difference.low > 0
        doubts = _doubt_louder(
            signal, allowed, noise, "further from those of the file than rounding explains"
        )
    if wrong and abs(difference.estimate) > LEAST_DIFFERENCE:
        doubts.append(
            f"{task.metric} on the first {count} images is {ours.value:.3f}, and "
            f"{expected.value:.3f} computed exactly"
        )
    doubt = f"{'; '.join(doubts)}. {_fix(run, engine)}" if doubts else ""
    return Agreement(decibels, limit, difference.estimate, doubt)


def _doubt_louder(signal: Energies, allowed: Energies, noise: Energies, what: str) -> list[str]:
    """The sentence about outputs whose ``noise`` is far louder than what is ``allowed``, if any."""
    excess = -_decibels(_loud_enough(signal, allowed), noise)[signal > 0]
    if not excess.size:
        return []
    mean, decile = float(excess.mean()), float(np.quantile(excess, 0.9))
    if mean <= MEAN_MARGIN_DB and decile <= DECILE_MARGIN_DB:
        return []
    return [
        f"the outputs are {mean:.1f} dB {what}, {decile:.1f} dB in the worst tenth of the channels"
    ]


def _loud_enough(signal: Energies, allowed: Energies) -> Energies:
    return np.maximum(allowed, signal * 10 ** (-QUIETEST_DB / 10))


def _compute(
    run: Run, engine: Engine, files: Sequence[onnx.ModelProto], count: int
) -> tuple[Evidence[Any], ...]:
    """The files computed by another library than the engine, on the first ``count`` of the run's
    images; by the engine if that library refuses them. Raises EngineError if nothing computes
    them exactly."""
    other, *more = reference_engines(engine)
    images = validation_images(run).first(count)

    def compute(library: Emulating, file: onnx.ModelProto) -> Evidence[Any]:
        with library.build_exact(file) as session:
            return evaluate(run, session, images)

    try:
        return tuple(compute(other, file) for file in files)
    except EngineError:
        if not more:
            raise
        return tuple(compute(more[0], file) for file in files)


def reference_engines(engine: Engine) -> tuple[Emulating, ...]:
    """The engines that compute a file exactly on a CPU, another library than the engine first."""
    libraries = (OnnxRuntime(engine.threads), OpenVino(engine.threads))
    return libraries[::-1] if engine.name == "onnxruntime" else libraries


def channel_energies(outputs: Sequence[Sequence[npt.NDArray[Any]]]) -> Energies:
    """The energy of every channel of all outputs, over the images (image, output, array).

    Logits are one channel. Of two axes the shorter one has the channels, such as 84 of (84, 8400);
    of more the first, as in (85, 80, 80).
    """
    total: Energies = np.zeros(1)
    for image in outputs:
        total = total + np.concatenate([np.square(_channels(o)).sum(axis=1) for o in image])
    return total


def _channels(output: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(channels, values) of one image's output."""
    values = np.asarray(output, np.float64)
    if values.ndim < 2:
        return values.reshape(1, -1)
    if values.ndim == 2 and values.shape[0] > values.shape[1]:
        return values.T
    return values.reshape(values.shape[0], -1)


def _noise(expected: Evidence[Any], actual: Evidence[Any]) -> Energies:
    """Energies of the difference, infinite for values that are not numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        noise = channel_energies(
            [
                [np.subtract(f, e, dtype=np.float64) for e, f in zip(*pair, strict=True)]
                for pair in zip(expected.outputs, actual.outputs, strict=True)
            ]
        )
    return np.where(np.isnan(noise), np.inf, noise)


def _decibels(signal: Energies, noise: Energies) -> Energies:
    """10 log10(signal / noise), within plus and minus ``LOUDEST_DB``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(signal / noise)
    return np.clip(np.nan_to_num(decibels, nan=LOUDEST_DB), -LOUDEST_DB, LOUDEST_DB)


def _mean(decibels: Energies) -> float:
    return float(decibels.mean()) if decibels.size else LOUDEST_DB


def _fix(run: Run, engine: Engine) -> str:
    if run.accuracy_by == "exact emulation":
        return "One of the two libraries is wrong: report it, with the run's Q/DQ file"
    if isinstance(engine, Emulating):
        return "Add engine.accuracy_by=emulation for the accuracy of the file itself"
    return "layers/KEY.json says which layers ran in INT8: leave some in float, or report it"


def nudge_scales(qdq: onnx.ModelProto, seed: int = 0, nudge: float = NUDGE) -> onnx.ModelProto:
    """A copy with every activation's scale moved by ``nudge`` of itself, up or down at random."""
    nudged = copy_of(qdq)
    rng = np.random.default_rng(seed)
    scales = {node.input[1] for node in qdq.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in nudged.graph.initializer:
        if tensor.name in scales:
            scale = numpy_helper.to_array(tensor).astype(np.float64)
            moved = scale * (1 + nudge * rng.choice([-1, 1], scale.shape))
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    return nudged
