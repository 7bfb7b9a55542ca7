"""One run, in order: calibrate, quantize, build, evaluate, time, and make the row.

This module alone knows the whole way. It receives objects, never configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache, partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx

from bench import environment
from bench.cache import cached, content_key, write_with
from bench.calibrate import RunRanges, calibration_image, find_run_ranges, keep_reasons
from bench.data.prepared import PreparedImages, prepare
from bench.engine.base import Array, Engine, Int8Model, Session
from bench.errors import EngineError
from bench.evaluation.agreement import classification_agreement, detection_agreement
from bench.evaluation.fidelity import Sqnr
from bench.evaluation.judgement import pack_judgement
from bench.evaluation.task import (
    ClassificationTask,
    DetectionTask,
    Evidence,
    Score,
    Task,
    compare,
    save_arrays,
)
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, with_batch
from bench.quantization.qdq import insert_qdq
from bench.results.row import Row
from bench.results.store import RowStore
from bench.spec import Run
from bench.timing import Latency, measure_in_turn, peak_memory, stopwatch

SQNR_IMAGES = 16
AGREEMENT_IMAGES = 4
LOW_INT8_SHARE = 0.5


def execute(run: Run, store: RowStore, overrides: str = "", caveat: str = "") -> Row:
    """Make the run's row and store it; an engine that refuses makes a skipped row.

    ``overrides`` is what was typed, so that the row can say how to make it again; ``caveat`` what
    the row has to say about its latencies, for instance that other runs shared the processor.

    Raises BenchError for bad input; nothing is stored then.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    run.check()
    with stopwatch() as whole, peak_memory() as memory:
        try:
            measured, raw = _measure(run, store)
            measured["latency_note"] = caveat or measured["latency_note"]
            status: dict[str, Any] = {"status": "ok", "error": ""}
        except EngineError as error:
            measured, raw = {}, {}
            status = {"status": "skipped", "error": str(error)}
    row = Row(
        **_asked(run),
        **status,
        **_finite(measured),
        overrides=overrides,
        started_at=started,
        run_s=whole.seconds,
        peak_memory_mb=memory.megabytes,
    )
    store.add(row, raw)
    return row


def score_session(run: Run, session: Session) -> tuple[Score, Score]:
    """FP32's and the session's score on the run's images; nothing is timed or stored."""
    images = _validation_images(run)
    baseline, baseline_score = _baseline(run, images)
    evidence = _evaluate(run, session, images)
    return baseline_score, _task(run, baseline.predictions).score(evidence.predictions)


def first_batches(run: Run, count: int) -> list[Array]:
    """The first ``count`` batches of the run's images, as the network takes them."""
    images, size = _validation_images(run), run.protocol.batch_size
    return [images.batch(start, size) for start in range(0, len(images), size)[:count]]


def _finite(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The measured values, None for what is not a number or infinite: JSON knows neither."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in measured.items()
    }


def _asked(run: Run) -> dict[str, Any]:
    return {
        "run_key": run.key,
        "model": run.model.name,
        "weights": run.model.weights,
        "model_sha256": run.model.network.sha256,
        "dataset": run.dataset.name,
        "dataset_fingerprint": run.dataset.validation.fingerprint,
        "calibration_fingerprint": run.dataset.calibration.fingerprint,
        "task": run.dataset.task,
        "calibrator": run.calibrator.name,
        "calibrator_params": run.calibrator.params,
        "calibration_size": run.calibration.size,
        "calibration_seed": run.calibration.seed,
        "calibration_preprocess": run.calibration.preprocess,
        "calibration_strategy": run.calibration.how,
        "calibration_overlap": run.calibration_overlap,
        "input_range": run.calibration.input_range,
        "plan": run.plan.name,
        "placement": run.placement,
        "scheme": run.scheme,
        "weight_scales": f"{run.weights.granularity} {run.weights.rule}",
        "engine": run.engine.name,
        "engine_version": run.engine.version,
        "batch_size": run.protocol.batch_size,
        "threads": run.engine.threads,
        "metric": _task(run).metric,
        "secondary_metric": _task(run).secondary_metric,
        "hardware": environment.hardware(),
        "environment": environment.software(),
        "git_commit": environment.git_commit(),
    }


def _measure(run: Run, store: RowStore) -> tuple[dict[str, Any], dict[str, Sequence[float]]]:
    found = find_run_ranges(run)
    graph, points = found.graph, found.points

    images = _validation_images(run)
    baseline, baseline_score = _baseline(run, images)
    batch = run.protocol.batch_size
    with stopwatch() as build:
        quantized = insert_qdq(run.model.network, graph, points, found.ranges, run.weights)
        fixed = with_batch(quantized, run.model.network.input_name, batch)
        session = run.engine.build_int8(_int8_model(run, found, fixed))
    with session:
        evidence = _evaluate(run, session, images)
        score = _task(run, baseline.predictions).score(evidence.predictions)
        interval = compare(baseline_score, score)
        latencies = _time(run, session, images)
        described = session.describe()
        agreement = _agreement(run, fixed, evidence, images)
    write_with(
        store.folder / "predictions" / f"{run.key}.npz",
        lambda file: save_arrays(file, _task(run).pack(evidence.predictions)),
    )
    write_with(
        store.folder / "judged" / f"{run.key}.npz",
        lambda file: save_arrays(file, pack_judgement(score.judged, score.replicates)),
    )
    statistics_key = keep_reasons(run, store.folder, found)
    share = _int8_mac_share(graph, described.int8_nodes)
    sqnr = _sqnr(baseline.outputs, evidence.outputs)
    medians = {name: latency.percentile_ms(50) for name, latency in latencies.items()}
    measured = {
        "fp32": baseline_score.value,
        **_published(run, baseline_score),
        "int8": score.value,
        "delta": interval.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n_images": len(images),
        "secondary_fp32": baseline_score.secondary,
        "secondary_int8": score.secondary,
        "sqnr_db": sqnr,
        "agreement_db": agreement,
        "input_amax": found.amax.get(run.model.network.input_name),
        "input_true_amax": run.model.preprocess.input_amax(),
        **{
            f"{name}_latency_p{percent}_ms": latency.percentile_ms(percent)
            for name, latency in latencies.items()
            for percent in (50, 90, 99)
        },
        "latency_rounds": len(latencies["int8"].nanoseconds),
        "speedup": medians["fp32"] / medians["int8"],
        "speedup_baseline": medians["baseline"] / medians["int8"],
        "throughput": batch * 1e9 / float(np.mean(latencies["int8"].nanoseconds)),
        "int8_mac_share": share,
        "planned_mac_share": points.mac_share(graph),
        "latency_note": _latency_note(share, run.engine.name),
        "statistics_key": statistics_key,
        "collect_s": found.calibration.seconds,
        "threshold_s": found.seconds,
        "build_s": build.seconds,
        "engine_bytes": fixed.ByteSize(),
    }
    raw: dict[str, Sequence[float]] = {
        f"{name}_ns": latency.nanoseconds for name, latency in latencies.items()
    }
    return measured, raw


def _int8_model(run: Run, found: RunRanges, qdq: onnx.ModelProto) -> Int8Model:
    def batches() -> Iterator[npt.NDArray[np.float32]]:
        image, size = calibration_image(run), run.protocol.batch_size
        for start in range(0, found.calibration.size, size):
            stop = min(start + size, found.calibration.size)
            yield np.concatenate([image(index) for index in range(start, stop)])

    kept = run.plan.float_nodes(found.graph)
    return Int8Model(qdq, _fp32(run), found.amax, kept, batches)


def _published(run: Run, baseline: Score) -> dict[str, Any]:
    """What is published of the model, where it is about this metric and these classes."""
    published = run.model.published
    if not published or not published.applies(_task(run).metric, len(run.dataset.class_names)):
        return {}
    doubt = published.doubt(baseline.value, run.n_images)
    return {"published_fp32": published.value, "published_note": doubt}


def _validation_images(run: Run) -> PreparedImages:
    fingerprint = run.dataset.validation.fingerprint
    order = range(run.n_images)
    return prepare(run.dataset.validation, fingerprint, order, run.model.preprocess, run.cache)


def _task(run: Run, fp32: Sequence[Any] = ()) -> Task[Any]:
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


def _evaluate(run: Run, session: Session, images: PreparedImages) -> Evidence[Any]:
    task, size = _task(run), run.protocol.batch_size
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


def _baseline(run: Run, images: PreparedImages) -> tuple[Evidence[Any], Score]:
    """The FP32 ONNX file in ONNX Runtime, on the same images: once a sweep, kept on disk."""
    task, engine = _task(run), run.baseline_engine
    key = content_key(
        run.model.network.sha256, run.model.head, run.model.preprocess, engine.version,
        engine.options, run.dataset.validation.fingerprint, len(images), run.protocol.batch_size,
    )  # fmt: skip

    def compute() -> Callable[[BinaryIO], None]:
        with engine.build(_fp32(run)) as session:
            evidence = _evaluate(run, session, images)
        return partial(evidence.save, task=task)

    path = run.cache / f"baseline-{key}.npz"
    evidence = cached(path, partial(Evidence.load, task=task), compute)
    judge = content_key(path, run.dataset.fingerprint, run.protocol.agreement_score)
    task = _task(run, evidence.predictions)
    return evidence, _remember_score(judge, lambda: task.score(evidence.predictions))


_scores: dict[str, Score] = {}


def _remember_score(key: str, score: Callable[[], Score]) -> Score:
    """A process compares many runs with one baseline: its bootstrap is worth keeping."""
    if key not in _scores:
        _scores[key] = score()
    return _scores[key]


def _fp32(run: Run) -> onnx.ModelProto:
    network = run.model.network
    return with_batch(network.proto, network.input_name, run.protocol.batch_size)


def _time(run: Run, session: Session, images: PreparedImages) -> dict[str, Latency]:
    batch = images.batch(0, run.protocol.batch_size)
    same = _reference_session(run.engine, run.model.network, run.protocol.batch_size)
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


def _agreement(
    run: Run, quantized: onnx.ModelProto, evidence: Evidence[Any], images: PreparedImages
) -> float | None:
    """SQNR of the engine's outputs against ONNX Runtime's on the very same Q/DQ file.

    Both round alike but for a last bit here and there; much less than the SQNR against FP32 means
    that the engine computes something else than it was given.
    """
    sqnr, size = Sqnr(), run.protocol.batch_size
    count = min(AGREEMENT_IMAGES, len(evidence.outputs))
    try:
        with run.baseline_engine.build(quantized) as session:
            for start in range(0, count, size):
                outputs = session.run(images.batch(start, size))
                for offset in range(min(size, count - start)):
                    sqnr.update([o[offset] for o in outputs], evidence.outputs[start + offset])
    except EngineError:  # the check is beside the point of the run: its row stands without
        return None
    return sqnr.decibels()


def _sqnr(reference: Sequence[Sequence[Any]], actual: Sequence[Sequence[Any]]) -> float:
    sqnr = Sqnr()
    for expected, found in zip(reference, actual, strict=True):
        sqnr.update(expected, found)
    return sqnr.decibels()


def _int8_mac_share(graph: Graph, int8_nodes: frozenset[str]) -> float:
    known = int8_nodes & set(graph.compute)
    return sum(map(graph.macs, known)) / sum(map(graph.macs, graph.compute))


def _latency_note(share: float, engine: str) -> str:
    if share >= LOW_INT8_SHARE:
        return ""
    return f"{engine} ran only {share:.0%} of the multiply-accumulates in INT8"
