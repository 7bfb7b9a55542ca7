"""What an evaluation costs: its time over the bare session's, and computed exactly over FP32's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

from bench.cli.compose import build_run
from bench.data.prepared import PreparedImages
from bench.engine.base import Session
from bench.engine.ov import OpenVino
from bench.model.zoo import CARRIED
from bench.run.measure import evaluate, fp32_model, task_of, validation_images
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run
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
    """By ``int8`` and ``fp32`` (the baseline), ``exact`` and ``fp32_same`` (the engine of INT8):
    every round has one pass of each. ``overrides`` say model and dataset as the command line would.

    The embedded models need none; None for another model without them.
    """
    asked = words_of(subject, overrides)
    if asked is None:
        return None
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        size = f"calibration.size={CALIBRATION_IMAGES}"
        limit = f"evaluation.images={images}"
        run = build_run(composed(*asked, size, limit, f"sweep.cache={folder}"))
        prepared = validation_images(run)
        sessions = {name: opened.enter_context(session) for name, session in _sessions(run).items()}
        scored = {name: _score(run, session, prepared) for name, session in sessions.items()}
        bare: dict[str, list[float]] = {name: [] for name in sessions}
        whole: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(rounds):
            for name, session in sessions.items():
                bare[name].append(_bare(session, prepared, run.measurement.batch_size))
                begin = perf_counter()
                evaluate(run, session, prepared)
                whole[name].append(perf_counter() - begin)
        engine, baseline = run.engine.name, run.baseline_engine.name
        return {
            name: Evaluation(
                baseline if name == "fp32" else engine, images, bare[name], whole[name], *times
            )
            for name, times in scored.items()
        }


def words_of(subject: Subject, overrides: Sequence[str]) -> list[str] | None:
    """Model and dataset as overrides; None for a model that is not embedded without them."""
    if subject.model.path.parent == CARRIED:
        return [f"model={subject.name.removesuffix('_shapes')}"]
    return [*overrides, f"model.path={subject.model.path}"] if overrides else None


def exact_over_fp32(evaluations: dict[str, Evaluation]) -> Spread:
    """What the exact emulation takes of an evaluation's time in FP32 on the same engine."""
    pairs = zip(evaluations["exact"].whole, evaluations["fp32_same"].whole, strict=True)
    return spread([exact / fp32 for exact, fp32 in pairs])


def _sessions(run: Run) -> dict[str, Session]:
    engine = run.engine
    assert isinstance(engine, OpenVino)
    fixed = quantize(run, find_run_ranges(run))
    return {
        "int8": engine.build(fixed),
        "fp32": run.baseline_engine.build(fp32_model(run)),
        "exact": engine.build_exact(fixed),
        "fp32_same": engine.build(fp32_model(run)),
    }


def _score(run: Run, session: Session, images: PreparedImages) -> tuple[float, float]:
    """Seconds of scoring and of the bootstrap; the session is warm then."""
    evidence = evaluate(run, session, images)
    begin = perf_counter()
    score = task_of(run, evidence.predictions).score(evidence.predictions)
    scored = perf_counter()
    assert len(score.replicates)
    return scored - begin, perf_counter() - scored


def _bare(session: Session, images: PreparedImages, size: int) -> float:
    seconds = []
    for start in range(0, len(images), size):
        batch = images.batch(start, size)
        begin = perf_counter()
        session.run(batch)
        seconds.append(perf_counter() - begin)
    return sum(seconds)
