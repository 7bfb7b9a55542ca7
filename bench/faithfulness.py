"""The agreement gate: is a row's accuracy that of its Q/DQ file?

What the accuracy rests on is compared with the same file computed exactly by another library, on
the first validation images: the raw outputs and the metric. Rounding moves both, and in some
networks far, as a value that falls on the other side of a step is passed on. So the rounding noise
of this very file is measured too: once more the exact computation, with every activation scale
moved by a millionth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from bench.engine.base import Emulating, Engine, calibrates
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.evaluation.task import Evidence, compare
from bench.measure import evaluate, sqnr_of, task_of, validation_images
from bench.spec import Run

NUDGE = 1e-6
"""Relative. It moves outputs as far as another library's order of summation does (measured: within
2 dB on the embedded models)."""

MARGIN_DB = 6.0
"""Another computation of the file may differ by twice as much as its own rounding noise."""

STRICTEST_DB = 30.0
"""Nothing more is asked of any: quantization itself leaves 20 to 35 dB."""

LOOSEST_DB = 10.0
"""Below it two computations differ by a third of the signal, whatever rounding does."""

LEAST_DIFFERENCE = 0.02
"""Of the metric: less is no matter on so few images."""


def limit_db(rounding_db: float) -> float:
    """The SQNR that a computation of a file has to reach, from the file's own rounding noise."""
    return max(LOOSEST_DB, min(STRICTEST_DB, rounding_db - MARGIN_DB))


@dataclass(frozen=True)
class Agreement:
    """How close a row's INT8 is to the exact computation of its Q/DQ file.

    ``decibels`` is the SQNR of the outputs, ``limit_db`` what it has to reach, ``difference`` that
    of the metric on the first images; None where nothing could be compared. ``doubt`` says why the
    row is not faithful, and is empty where it is.
    """

    decibels: float | None = None
    limit_db: float | None = None
    difference: float | None = None
    doubt: str = ""


def check_agreement(
    run: Run, engine: Engine, qdq: onnx.ModelProto, evidence: Evidence[Any], fp32: Sequence[Any]
) -> Agreement:
    """Compare what the row's accuracy rests on, ``evidence``, with another library's exact form.

    ``fp32`` are the FP32 baseline's predictions. Where the engine quantized implicitly, it read the
    FP32 file and the same ranges, and may leave in float what it likes: then only a worse metric
    counts against it.
    """
    count = len(evidence.outputs)
    first = replace(run, protocol=replace(run.protocol, images=count))
    other = reference_engine(engine)
    try:
        exact = _compute(first, other, qdq)
        nudged = _compute(first, other, nudge_scales(qdq))
    except EngineError:  # the row stands, and says that nothing was compared
        return Agreement()
    task = task_of(first, fp32[:count])
    ours, expected, moved = (
        task.score(one.predictions[:count]) for one in (evidence, exact, nudged)
    )
    found = compare(expected, ours)
    noise = max(LEAST_DIFFERENCE, 3 * abs(moved.value - expected.value))
    decibels = sqnr_of(exact.outputs, evidence.outputs)
    rounding = sqnr_of(exact.outputs, nudged.outputs)
    limit = None if calibrates(engine) else limit_db(rounding)
    doubts = []
    if limit is not None and not decibels >= limit:
        doubts.append(
            f"its outputs agree with the Q/DQ file computed exactly by {decibels:.1f} dB, where "
            f"rounding explains no less than {limit:.1f} dB"
        )
    beyond = found.high < 0 or (found.low > 0 and limit is not None)
    if beyond and abs(found.estimate) > noise:
        doubts.append(
            f"its {task.metric} on the first {count} images is {ours.value:.3f}, and "
            f"{expected.value:.3f} computed exactly"
        )
    doubt = f"{'; '.join(doubts)}. {_fix(run, engine)}" if doubts else ""
    return Agreement(decibels, limit, found.estimate, doubt)


def reference_engine(engine: Engine) -> OnnxRuntime | OpenVino:
    """What computes the file exactly, and is another library than the engine."""
    return OpenVino(engine.threads) if engine.name == "onnxruntime" else OnnxRuntime(engine.threads)


def _compute(run: Run, engine: Emulating, qdq: onnx.ModelProto) -> Evidence[Any]:
    with engine.build_exact(qdq) as session:
        return evaluate(run, session, validation_images(run))


def _fix(run: Run, engine: Engine) -> str:
    if run.accuracy_by == "exact emulation":
        return "One of the two libraries is wrong: report it, with the run's Q/DQ file"
    if isinstance(engine, Emulating):
        return "Add engine.accuracy_by=emulation for the accuracy of the file itself"
    return (
        "Its layers/KEY.json names the layers that ran in INT8: keep others in float, or report it"
    )


def nudge_scales(qdq: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """A copy with every activation's scale moved by a millionth of itself, up or down at random."""
    nudged = onnx.ModelProto()
    nudged.CopyFrom(qdq)
    rng = np.random.default_rng(seed)
    scales = {node.input[1] for node in qdq.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in nudged.graph.initializer:
        if tensor.name in scales:
            scale = numpy_helper.to_array(tensor).astype(np.float64)
            moved = scale * (1 + NUDGE * rng.choice([-1, 1], scale.shape))
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    return nudged
