"""A few inputs with the outputs to expect, so that a deployment can be checked without images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from bench.engine.base import Array
from bench.engine.onnxrt import OnnxRuntime
from bench.evaluation.fidelity import Sqnr
from bench.run.faithfulness import nudge_scales
from bench.run.measure import first_batches
from bench.run.spec import Run

IMAGES = 4

MARGIN_DB = 6.0
"""Another computation may differ by twice as much as rounding alone."""

STRICTEST_DB, LOOSEST_DB = 30.0, 10.0
"""The limits of that: engines on other machines may take layers together, and below 10 dB two
computations differ by a third of the signal."""


@dataclass(frozen=True, eq=False)
class BundleSamples:
    """Input batches, the exact outputs of the Q/DQ file, and how close others have to come.

    ``tolerance_db``: SQNR of the worst output against these.
    """

    batches: Sequence[Array]
    outputs: Sequence[Sequence[Array]]
    tolerance_db: float


def make_samples(run: Run, qdq: onnx.ModelProto) -> BundleSamples:
    """Of the first validation images; the tolerance is the file's own rounding noise on them, with
    a margin.

    How far two engines that compute the same drift apart hangs on the network: a rounding error
    that moves an activation to the next of its 256 steps is passed on. So it is measured, on two
    exact computations, whatever the INT8 kernels of this processor do.
    """
    batches = first_batches(run, math.ceil(IMAGES / run.measurement.batch_size))
    engine = OnnxRuntime()
    with engine.build_exact(qdq) as exact, engine.build_exact(nudge_scales(qdq)) as nudged:
        outputs = [exact.run(batch) for batch in batches]
        sqnr = Sqnr()
        for batch, expected in zip(batches, outputs, strict=True):
            sqnr.update(expected, nudged.run(batch))
    rounding = float(sqnr.per_output().min())
    return BundleSamples(batches, outputs, max(LOOSEST_DB, min(STRICTEST_DB, rounding - MARGIN_DB)))
