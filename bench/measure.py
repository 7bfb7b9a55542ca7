"""What a session gives on a run's validation images: predictions, scores and latencies.

Beside it stand the FP32 baseline, and what one INT8 model gives in two engines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx

from bench.cache import cached, content_key
from bench.data.prepared import PreparedImages, prepare
from bench.engine.base import Array, Engine, Int8Model, Session
from bench.engine.onnxrt import OnnxRuntime
from bench.errors import EngineError
from bench.evaluation.agreement import classification_agreement, detection_agreement
from bench.evaluation.fidelity import Sqnr
from bench.evaluation.task import ClassificationTask, DetectionTask, Evidence, Score, Task
from bench.model.onnx_model import OnnxModel, with_batch
from bench.spec import Run
from bench.timing import Latency, measure_in_turn

SQNR_IMAGES = 16
AGREEMENT_IMAGES = 4


def validation_images(run: Run) -> PreparedImages:
    """The images to evaluate on, fitted as the model wants them."""
    fingerprint = run.dataset.validation.fingerprint
    order = range(run.n_images)
    return prepare(run.dataset.validation, fingerprint, order, run.model.preprocess, run.cache)


def task_of(run: Run, fp32: Sequence[Any] = ()) -> Task[Any]:
    """How outputs are read and judged; without labels by the predictions of FP32, once known."""
    head, n_classes = run.model.head, len(run.dataset.class_names)
    if head.task == "detection":
        boxes = run.dataset.boxes
        if boxes is None:
            return detection_agreement(head, fp32, n_classes, run.protocol.agreement_score)
        return DetectionTask(head, boxes[: run.n_images], n_classes)
    labels = run.dataset.labels
    if labels is None:
        return classification_agreement(head, fp32)
    return ClassificationTask(head, labels[: run.n_images])


def evaluate(run: Run, session: Session, images: PreparedImages) -> Evidence[Any]:
    """Predictions on all images, and the first images' raw outputs."""
    task, size = task_of(run), run.protocol.batch_size
    predictions: list[Any] = []
    kept: list[list[npt.NDArray[np.float32]]] = []
    for start in range(0, len(images), size):
        outputs = session.run(images.batch(start, size))
        for offset in range(min(size, len(images) - start)):
            own = [output[offset] for output in outputs]
            predictions.append(task.predict(own, images.fittings[start + offset]))
            if len(kept) < SQNR_IMAGES:
                kept.append([np.array(output) for output in own])
    return Evidence(predictions, kept)


def baseline_of(run: Run, images: PreparedImages) -> tuple[Evidence[Any], Score]:
    """The FP32 ONNX file in ONNX Runtime, on the same images: once a sweep, kept on disk."""
    task, engine = task_of(run), run.baseline_engine
    key = content_key(
        run.model.network.sha256, run.model.head, run.model.preprocess, engine.version,
        engine.options, run.dataset.validation.fingerprint, len(images), run.protocol.batch_size,
    )  # fmt: skip

    def compute() -> Callable[[BinaryIO], None]:
        with engine.build(fp32_model(run)) as session:
            evidence = evaluate(run, session, images)
        return partial(evidence.save, task=task)

    path = run.cache / f"baseline-{key}.npz"
    evidence = cached(path, partial(Evidence.load, task=task), compute)
    judge = content_key(path, run.dataset.fingerprint, run.protocol.agreement_score)
    task = task_of(run, evidence.predictions)
    return evidence, _remember_score(judge, lambda: task.score(evidence.predictions))


def measure_accuracy(run: Run, engine: Engine, model: Int8Model) -> tuple[Score, Score]:
    """FP32's and INT8's score of a model made before, on the run's images: nothing is timed."""
    images = validation_images(run)
    baseline, baseline_score = baseline_of(run, images)
    with engine.build_int8(model) as session:
        evidence = evaluate(run, session, images)
    return baseline_score, task_of(run, baseline.predictions).score(evidence.predictions)


def first_batches(run: Run, count: int) -> list[Array]:
    """The first ``count`` batches of the run's images, as the network takes them."""
    images, size = validation_images(run), run.protocol.batch_size
    starts = range(0, len(images), size)[:count]
    return [images.batch(start, size) for start in starts]


_scores: dict[str, Score] = {}


def _remember_score(key: str, score: Callable[[], Score]) -> Score:
    """A process compares many runs with one baseline: its bootstrap is worth keeping."""
    if key not in _scores:
        _scores[key] = score()
    return _scores[key]


def fp32_model(run: Run) -> onnx.ModelProto:
    """The network as it came, with the run's batch."""
    network = run.model.network
    return with_batch(network.proto, network.input_name, run.protocol.batch_size)


def time_session(
    run: Run, engine: Engine, session: Session, images: PreparedImages
) -> dict[str, Latency]:
    """Latencies of ``int8``, ``fp32`` on the same engine and ``baseline``, taken in turn."""
    batch = images.batch(0, run.protocol.batch_size)
    same = _reference_session(engine, run.model.network, run.protocol.batch_size)
    other = _reference_session(run.baseline_engine, run.model.network, run.protocol.batch_size)
    systems = {
        "int8": lambda: session.run(batch),
        "fp32": lambda: same.run(batch),
        "baseline": lambda: other.run(batch),
    }
    return measure_in_turn(systems, rounds=run.protocol.rounds, seconds=run.protocol.seconds)


# Every run of a sweep is timed beside the same two FP32 sessions; building them anew is waste.
@lru_cache(maxsize=2)
def _reference_session(engine: Engine, network: OnnxModel, batch: int) -> Session:
    return engine.build(with_batch(network.proto, network.input_name, batch))


def agreement_of(
    run: Run, quantized: onnx.ModelProto, evidence: Evidence[Any], images: PreparedImages
) -> float | None:
    """SQNR of the engine's outputs against ONNX Runtime's on the very same Q/DQ file.

    Both round alike but for a last bit here and there; much less than the SQNR against FP32 means
    that the engine computes something else than it was given. It is the CPU's: CUDA's has no
    kernels for INT8.
    """
    sqnr, size = Sqnr(), run.protocol.batch_size
    count = min(AGREEMENT_IMAGES, len(evidence.outputs))
    try:
        with OnnxRuntime(run.engine.threads).build(quantized) as session:
            for start in range(0, count, size):
                outputs = session.run(images.batch(start, size))
                for offset in range(min(size, count - start)):
                    sqnr.update([o[offset] for o in outputs], evidence.outputs[start + offset])
    except EngineError:  # the check is beside the point of the run: its row stands without
        return None
    return sqnr.decibels()


def sqnr_of(reference: Sequence[Sequence[Any]], actual: Sequence[Sequence[Any]]) -> float:
    """In decibels, over the outputs of all images."""
    sqnr = Sqnr()
    for expected, found in zip(reference, actual, strict=True):
        sqnr.update(expected, found)
    return sqnr.decibels()
