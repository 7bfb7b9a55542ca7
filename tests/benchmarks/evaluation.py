"""What an evaluation costs beside the inference itself: its time over the bare session's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

from bench.calibrate import find_run_ranges
from bench.compose import build_run
from bench.data.prepared import PreparedImages
from bench.engine.base import Int8Model, Session
from bench.measure import evaluate, fp32_model, task_of, validation_images
from bench.model.onnx_model import with_batch
from bench.model.zoo import CARRIED
from bench.quantization.qdq import insert_qdq
from bench.spec import Run
from tests.benchmarks.collection import Spread, spread
from tests.benchmarks.subject import Subject
from tests.composing import composed

CALIBRATION_IMAGES = 8
"""Enough to have an INT8 model with detections in it."""


@dataclass(frozen=True)
class Evaluation:
    """Seconds of one engine on ``images`` images; ``bare`` and ``whole`` of every round.

    ``bare``: ``Session.run`` alone, on inputs that are ready. ``whole``: ``evaluate``, that is from
    prepared pixels to predictions. Beside them, once a run and not once an image: ``scoring`` of
    all predictions, and the ``bootstrap`` of the score.
    """

    engine: str
    images: int
    bare: list[float]
    whole: list[float]
    scoring: float
    bootstrap: float

    @property
    def ratio(self) -> Spread:
        """Whole over bare, of the rounds."""
        return spread([whole / bare for whole, bare in zip(self.whole, self.bare, strict=True)])


def evaluation_times(
    subject: Subject, images: int, rounds: int, overrides: Sequence[str]
) -> dict[str, Evaluation] | None:
    """By ``int8`` and ``fp32``; ``overrides`` say model and dataset as the command line would.

    The embedded models need none; None for another model without them.
    """
    if subject.model.path.parent == CARRIED:
        asked = [f"model={subject.name.removesuffix('_shapes')}"]
    elif overrides:
        asked = [*overrides, f"model.path={subject.model.path}"]
    else:
        return None
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        size = f"calibration.size={CALIBRATION_IMAGES}"
        limit = f"evaluation.images={images}"
        run = build_run(composed(*asked, size, limit, f"sweep.cache={folder}"))
        prepared = validation_images(run)
        sessions = {
            "int8": (run.engine.name, opened.enter_context(_int8_session(run))),
            "fp32": (
                run.baseline_engine.name,
                opened.enter_context(run.baseline_engine.build(fp32_model(run))),
            ),
        }
        return {
            name: _measured(run, engine, session, prepared, rounds)
            for name, (engine, session) in sessions.items()
        }


def _int8_session(run: Run) -> Session:
    found = find_run_ranges(run)
    quantized = insert_qdq(run.model.network, found.graph, found.points, found.ranges, run.weights)
    fixed = with_batch(quantized, run.model.network.input_name, run.protocol.batch_size)
    kept = run.plan.float_nodes(found.graph)
    return run.engine.build_int8(Int8Model(fixed, fp32_model(run), found.amax, kept))


def _measured(
    run: Run, engine: str, session: Session, images: PreparedImages, rounds: int
) -> Evaluation:
    bare: list[float] = []
    whole: list[float] = []
    evidence = evaluate(run, session, images)  # warms both sides up
    for _ in range(rounds):
        bare.append(_bare(session, images, run.protocol.batch_size))
        begin = perf_counter()
        evaluate(run, session, images)
        whole.append(perf_counter() - begin)
    begin = perf_counter()
    score = task_of(run, evidence.predictions).score(evidence.predictions)
    scored = perf_counter()
    assert len(score.replicates)
    return Evaluation(engine, len(images), bare, whole, scored - begin, perf_counter() - scored)


def _bare(session: Session, images: PreparedImages, size: int) -> float:
    seconds = []
    for start in range(0, len(images), size):
        batch = images.batch(start, size)
        begin = perf_counter()
        session.run(batch)
        seconds.append(perf_counter() - begin)
    return sum(seconds)
