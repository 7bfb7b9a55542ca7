"""How far rounding alone moves a run's accuracy: the metric of its Q/DQ file, and of copies whose
activation scales are moved by a millionth.

Two libraries or processors differ by about as much. A smaller difference of two accuracies means
nothing.
"""

from __future__ import annotations

import onnx

from bench.engine.base import Emulating
from bench.run.faithfulness import nudge_scales
from bench.run.measure import baseline_of, evaluate, task_of, validation_images
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run


def rounded_accuracies(run: Run, copies: int) -> list[float]:
    """The metric of the run's file, and of so many copies with moved scales, computed exactly.

    Empty for an engine that offers no exact computation.
    """
    engine = run.engine
    if not isinstance(engine, Emulating):
        return []
    qdq = quantize(run, find_run_ranges(run))
    images = validation_images(run)
    task = task_of(run, baseline_of(run, images)[0].predictions)

    def accuracy(file: onnx.ModelProto) -> float:
        with engine.build_exact(file) as session:
            return task.score(evaluate(run, session, images).predictions).value

    return [accuracy(qdq), *(accuracy(nudge_scales(qdq, seed)) for seed in range(copies))]
