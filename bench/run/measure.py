"""Results of a session on a run's validation images: predictions, scores and latencies.

Also the FP32 baseline, and the same engine in FP32 and FP16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx

from bench import environment
from bench.cache import cached, content_key, source_key
from bench.data.prepared import PreparedImages, prepare
from bench.engine.base import (
    Array,
    DeviceTimes,
    Emulating,
    Engine,
    HalfPrecision,
    Int8Model,
    Session,
)
from bench.errors import EngineError
from bench.evaluation.agreement import classification_agreement, detection_agreement
from bench.evaluation.fidelity import Sqnr
from bench.evaluation.mistakes import to_find
from bench.evaluation.task import ClassificationTask, DetectionTask, Evidence, Score, Task
from bench.model.edit import with_batch
from bench.model.heads.base import Head
from bench.run.gather import Gathered
from bench.run.ranges import RunRanges
from bench.run.spec import Run
from bench.sealed import sealed
from bench.timing import LEAST_ROUNDS, CallTimes, measure_in_turn

_CODE = source_key(__name__, "bench.run.gather", "bench.evaluation", "bench.engine", "bench.model")


def validation_images(run: Run) -> PreparedImages:
    """The images to evaluate on, fitted as the model wants them."""
    samples, chosen, preprocess = (
        run.dataset.validation,
        run.validation_indices,
        run.model.preprocess,
    )
    return run.shared.once(
        "validation images",
        (samples.fingerprint, chosen, preprocess, run.cache),
        lambda: prepare(samples, samples.fingerprint, chosen, preprocess, run.cache),
    )


def task_of(run: Run, fp32: Sequence[Any] = (), count: int | None = None) -> Task[Any]:
    """How outputs are decoded and judged; without labels by FP32's predictions, when available.

    ``count``: only the first images of the run are judged; None for all.
    """
    head, n_classes = run.model.head, len(run.dataset.class_names)
    chosen = run.validation_indices[:count]
    if head.task == "detection":
        boxes = run.dataset.boxes
        if boxes is None:
            return detection_agreement(head, fp32, n_classes, run.measurement.agreement_score)
        return DetectionTask(head, [boxes[index] for index in chosen], n_classes)
    labels = run.dataset.labels
    if labels is None:
        return classification_agreement(head, fp32)
    return ClassificationTask(head, labels[list(chosen)])


def classes_evaluated(run: Run) -> int | None:
    """How many classes occur in the run's images (for a detector: with an object to detect); None
    without labels."""
    task = task_of(run)
    if isinstance(task, DetectionTask) and run.dataset.boxes is not None:
        return len(
            {label for target in task.targets for label in target.labels[to_find(target)].tolist()}
        )
    if isinstance(task, ClassificationTask) and run.dataset.labels is not None:
        return len(set(task.labels.tolist()))
    return None


def evaluate(run: Run, session: Session, images: PreparedImages) -> Evidence[Any]:
    """Predictions on all images, and the first images' raw outputs."""
    gathered = Gathered(task_of(run), images, run.measurement.batch_size)
    gathered.add(session, range(gathered.batches))
    return gathered.evidence()


def baseline_of(run: Run, images: PreparedImages) -> tuple[Evidence[Any], Score]:
    """The FP32 ONNX file in ONNX Runtime on the same images: once per sweep, stored on disk."""
    evidence, path = _reference_evidence(run, run.baseline_engine, "fp32", images)
    return evidence, _judge(run, evidence, path, evidence.predictions)


def fp16_of(
    run: Run, engine: Engine, baseline: Evidence[Any], images: PreparedImages
) -> Score | None:
    """The engine in FP16 on the same images, stored likewise; None where it has no FP16."""
    if _half_session(run, engine) is None:  # FP32 is not built: without timing nobody needs it
        return None
    evidence, path = _reference_evidence(run, engine, "fp16", images)
    return _judge(run, evidence, path, baseline.predictions)


def _reference_evidence(
    run: Run, engine: Engine, precision: str, images: PreparedImages
) -> tuple[Evidence[Any], Path]:
    """The predictions of a float engine, and the file that stores them."""
    key = content_key(
        run.model.network.sha256, run.model.head, run.model.preprocess, images.key, engine.name,
        engine.version, engine.options, precision, run.measurement.batch_size,
        _CODE, environment.versions("numpy", "cv2", "onnx"), environment.arithmetic(),
    )  # fmt: skip

    def compute() -> Callable[[BinaryIO], None]:
        session = float_sessions(run, engine)[precision]
        return sealed(path, partial(evaluate(run, session, images).save, task=task_of(run)))

    def load() -> Evidence[Any]:
        return cached(path, partial(Evidence.load, task=task_of(run)), compute)

    path = run.cache / f"{precision}-{key}.npz"
    return run.shared.once("float predictions", path, load), path


def _judge(run: Run, evidence: Evidence[Any], path: Path, fp32: Sequence[Any]) -> Score:
    score = run.measurement.agreement_score
    key = (path, run.dataset.fingerprint, score, run.baseline_engine.version)
    return run.shared.once(
        "float score", key, lambda: task_of(run, fp32).score(evidence.predictions)
    )


def measure_accuracy(run: Run, engine: Engine, model: Int8Model) -> tuple[Score, Score]:
    """The scores of FP32 and of an existing INT8 model on the run's images, without timing."""
    images = validation_images(run)
    baseline, baseline_score = baseline_of(run, images)
    with build_for_accuracy(run, engine, model) as session:
        evidence = evaluate(run, session, images)
    return baseline_score, task_of(run, baseline.predictions).score(evidence.predictions)


def build_for_accuracy(run: Run, engine: Engine, model: Int8Model) -> Session:
    """The session for the run's accuracy: the engine's int8 kernels, or the exact emulation."""
    if run.accuracy_by == "exact emulation":
        assert isinstance(engine, Emulating)
        return engine.build_exact(model.qdq)
    return engine.build_int8(model)


def first_batches(run: Run, count: int) -> list[Array]:
    """The first ``count`` batches of the run's images, as the network takes them."""
    images, size = validation_images(run), run.measurement.batch_size
    starts = range(0, len(images), size)[:count]
    return [images.batch(start, size) for start in starts]


def fp32_model(run: Run) -> onnx.ModelProto:
    """The unchanged network, with the run's batch."""
    network = run.model.network
    return with_batch(network.proto, network.input_name, run.measurement.batch_size)


def int8_model(run: Run, ranges: RunRanges, qdq: onnx.ModelProto) -> Int8Model:
    """The input of the engine's builder: the Q/DQ file, and the same for implicit quantization."""
    in_float = run.plan.float_nodes(ranges.graph)
    algorithm = ranges.native.cache.algorithm if ranges.native else None
    return Int8Model(qdq, fp32_model(run), ranges.given_amax, in_float, algorithm)


def time_session(
    run: Run, engine: Engine, session: Session, images: PreparedImages
) -> dict[str, CallTimes]:
    """Latencies of ``int8``, of the same engine's ``fp32`` and, if it has that, ``fp16``, and of
    the ``baseline``, taken in turn.

    Work on the processor is timed after the rounds of a GPU, not between them: an idle GPU lowers
    its clock.
    """
    batch = images.batch(0, run.measurement.batch_size)
    sessions = {
        "int8": session,
        **float_sessions(run, engine),
        "baseline": float_sessions(run, run.baseline_engine)["fp32"],
    }
    rounds, seconds, times = _rounds(run), run.measurement.seconds, dict[str, CallTimes]()
    for on_gpu in (True, False):
        systems = {
            name: partial(one.run, batch) for name, one in sessions.items() if one.on_gpu == on_gpu
        }
        if systems:
            times |= measure_in_turn(systems, rounds=rounds, seconds=seconds)
    return times


def _rounds(run: Run) -> int:
    """All rounds for the first run of a plan; a third of them, at least ten, for its later runs in
    a sweep: they run the same layers with other scales, and a report pools their latencies. A file
    with a plan inside is not pooled with another one."""
    network, batch = run.model.network.sha256, run.measurement.batch_size
    file = run.calibrator.params if run.plan.name == "file" else ""
    layers = (
        *(network, batch, str(run.plan), file),
        *(run.placement, run.scheme, run.weights, run.engine),
    )
    first = run.shared.once("first run of its layers", layers, lambda: run.key, most=64)
    rounds = run.measurement.rounds
    return rounds if first == run.key else min(rounds, max(LEAST_ROUNDS, rounds // 3))


def device_times(run: Run, engine: Engine, session: Session) -> dict[str, DeviceTimes]:
    """Times by the GPU's clock of ``int8``, ``fp32`` and ``fp16``, after they were timed; empty
    without a GPU."""
    sessions = {"int8": session, **float_sessions(run, engine)}
    times = {name: of_session.device_times() for name, of_session in sessions.items()}
    return {name: of_session for name, of_session in times.items() if of_session is not None}


def float_sessions(run: Run, engine: Engine) -> Mapping[str, Session]:
    """The network in ``fp32`` and, where the engine has that, builds and runs it, ``fp16``."""
    fp32 = _float_session(run, engine, "fp32", lambda: engine.build(fp32_model(run)))
    fp16 = _half_session(run, engine)
    return {
        name: session for name, session in (("fp32", fp32), ("fp16", fp16)) if session is not None
    }


def _half_session(run: Run, engine: Engine) -> Session | None:
    """None where the engine has no FP16, or refuses the network: the row is valid without it."""
    if not isinstance(engine, HalfPrecision):
        return None
    return _float_session(run, engine, "fp16", lambda: _build_half(run, engine))


def _float_session(
    run: Run, engine: Engine, precision: str, make: Callable[[], Session | None]
) -> Session | None:
    key = (engine, run.model.network.sha256, run.measurement.batch_size, precision)
    return run.shared.once("float session", key, make, most=8)


def _build_half(run: Run, engine: HalfPrecision) -> Session | None:
    network, batch = run.model.network, run.measurement.batch_size
    with suppress(EngineError):
        half = engine.build_fp16(fp32_model(run))
        half.run(np.zeros((batch, 3, network.height, network.width), np.float32))
        return half
    return None


def decibels_of_parts(
    head: Head, reference: Sequence[Sequence[Array]], actual: Sequence[Sequence[Array]]
) -> dict[str, float]:
    """The SQNR in dB of each part of the outputs of all images, such as ``boxes`` and ``scores``.

    Parts are measured apart, as the boxes of a YOLO in pixels have a million times the energy of
    its scores: with every score set to zero, the whole output would still read 80 dB. A part of
    several maps has the SQNR of its worst.
    """
    parts: dict[str, Sqnr] = {}
    for expected, actual_output in zip(reference, actual, strict=True):
        of_expected, of_actual = head.parts(expected), head.parts(actual_output)
        for name, values in of_expected.items():
            parts.setdefault(name, Sqnr()).update(values, of_actual[name])
    return {name: float(sqnr.per_output().min()) for name, sqnr in parts.items()}
