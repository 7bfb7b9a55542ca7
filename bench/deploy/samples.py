"""A few inputs with the outputs to expect, so that a deployment can be checked without images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from bench.engine.base import Array
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.evaluation.fidelity import Sqnr
from bench.measure import first_batches
from bench.spec import Run

IMAGES = 4

STRICTEST_DB = 30.0
"""Engines round alike but for a last bit here and there, and no more is asked of any."""

MARGIN_DB = 6.0
"""Another engine may differ by twice as much as those two do that were compared."""

LOOSEST_DB = 10.0
"""Below it the two compute different things, and their difference says nothing of a third."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Input batches, ONNX Runtime's outputs of the Q/DQ file, and how close others have to come.

    ``tolerance_db``: SQNR of the worst output against these.
    """

    batches: Sequence[Array]
    outputs: Sequence[Sequence[Array]]
    tolerance_db: float


def make_samples(run: Run, qdq: onnx.ModelProto) -> Samples:
    """Of the first validation images; the tolerance is what OpenVINO keeps on them, with a margin.

    How far two engines that compute the same drift apart hangs on the network: a rounding error
    that moves an activation to the next of its 256 steps is passed on. So it is measured.
    """
    batches = first_batches(run, math.ceil(IMAGES / run.protocol.batch_size))
    with OnnxRuntime().build(qdq) as reference, OpenVino().build(qdq) as other:
        outputs = [reference.run(batch) for batch in batches]
        sqnr = Sqnr()
        for batch, expected in zip(batches, outputs, strict=True):
            sqnr.update(expected, other.run(batch))
    worst = float(sqnr.per_output().min())
    return Samples(batches, outputs, min(max(worst - MARGIN_DB, LOOSEST_DB), STRICTEST_DB))
