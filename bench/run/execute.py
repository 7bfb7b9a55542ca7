"""One run, in order: calibrate, quantize, build, evaluate, time, and make the row.

With an engine that only builds, a run ends there: its row is ``built``.

This module alone knows the whole way. It receives objects, never configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench import environment
from bench.cache import only_one, write_with
from bench.data.prepared import PreparedImages
from bench.engine.base import Builder, Description, Engine, Int8Model, Session, unusual_options
from bench.errors import EngineError
from bench.evaluation.judgement import pack_judgement
from bench.evaluation.task import Evidence, Score, compare, save_arrays
from bench.results.folder import SweepFolder
from bench.results.layers import keep_layers
from bench.results.row import Row
from bench.results.store import RowStore
from bench.run.aot import build_ahead
from bench.run.error_analysis import Judged, keep_losses
from bench.run.faithfulness import Agreement, check_agreement
from bench.run.measure import (
    baseline_of,
    build_for_accuracy,
    classes_evaluated,
    device_medians,
    evaluate,
    fp16_of,
    fp32_model,
    sqnr_of,
    task_of,
    time_session,
    validation_images,
)
from bench.run.ranges import RunRanges, find_run_ranges, keep_reasons, quantize
from bench.run.spec import Run
from bench.timing import peak_memory, stopwatch

LOW_INT8_SHARE = 0.5


def execute_once(run: Run, store: RowStore, overrides: str, caveat: str = "") -> Row | None:
    """``execute``, unless the run's row is in the store, or another process makes it meanwhile."""
    if store.settled(run.key):
        return None
    with only_one(run.cache / f".run-{run.key}.lock"):
        return None if store.settled(run.key) else execute(run, store, overrides, caveat)


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
            made, raw = _make(run, store)
            if caveat and made["status"] != "built":
                made["latency_note"] = caveat
        except EngineError as error:
            made, raw = {"status": "skipped", "error": str(error)}, {}
    row = Row(
        **_asked(run),
        **_finite(made),
        overrides=overrides,
        started_at=started,
        run_s=whole.seconds,
        peak_memory_mb=memory.megabytes,
    )
    store.add(row, raw)
    return row


def _finite(made: Mapping[str, Any]) -> dict[str, Any]:
    """The values, None for what is not a number or infinite: JSON knows neither."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in made.items()
    }


def _asked(run: Run) -> dict[str, Any]:
    builder = run.builder
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
        "calibration_pad": "same" if run.calibration.pad is None else str(run.calibration.pad),
        "calibration_strategy": run.calibration.how,
        "calibration_overlap": run.calibration_overlap,
        "input_range": run.calibration.input_range,
        "plan": run.plan.name,
        "placement": run.placement,
        "scheme": run.scheme,
        "weight_scales": f"{run.weights.granularity} {run.weights.rule}",
        "engine": run.engine.name,
        "engine_version": run.engine.version,
        "engine_options": unusual_options(run.engine),
        "builder": builder.name if builder else "",
        "builder_version": builder.version if builder else "",
        "compute_capability": builder.compute_capability if builder else "",
        "batch_size": run.protocol.batch_size,
        "threads": run.engine.threads,
        "metric": task_of(run).metric,
        "secondary_metric": task_of(run).secondary_metric,
        "hardware": environment.hardware(),
        "environment": environment.software(),
        "git_commit": environment.git_commit(),
    }


def _make(run: Run, store: RowStore) -> tuple[dict[str, Any], dict[str, Sequence[float]]]:
    """The columns that are found out, and the raw values behind them."""
    _ = run.accuracy_by  # an engine that computes nothing exactly is refused before all work
    found, raw = find_run_ranges(run), dict[str, Sequence[float]]()
    if isinstance(run.engine, Builder):
        made = _build(run, run.engine, found)
    else:
        made, raw = _measure(run, run.engine, found, store)
    explained = {
        "input_amax": found.amax.get(run.model.network.input_name),
        "input_true_amax": run.model.preprocess.input_amax(),
        "output_amax_share": found.output_share,
        "planned_mac_share": found.points.mac_share(found.graph),
        "statistics_key": keep_reasons(run, store.folder, found),
        "collect_s": found.collect_seconds,
        "threshold_s": found.seconds,
        "calibration_batches": found.native.batches if found.native else None,
    }
    return made | explained, raw


def _build(run: Run, builder: Builder, found: RunRanges) -> dict[str, Any]:
    with stopwatch() as insertion:
        qdq = quantize(run, found)
    built = build_ahead(builder, qdq, run.model.network)
    return built | {
        "status": "built",
        "error": "",
        "build_s": insertion.seconds + built["engine_build_s"],
        "qdq_bytes": qdq.ByteSize(),
    }


def _build_beside(run: Run, builder: Builder, qdq: onnx.ModelProto) -> dict[str, Any]:
    """As ``build_ahead``, but a refusal becomes a column: what was measured stands without it."""
    try:
        return build_ahead(builder, qdq, run.model.network)
    except EngineError as error:
        return {"builder_error": str(error)}


def _measure(
    run: Run, engine: Engine, found: RunRanges, store: RowStore
) -> tuple[dict[str, Any], dict[str, Sequence[float]]]:
    images = validation_images(run)
    baseline, baseline_score = baseline_of(run, images)
    task = task_of(run, baseline.predictions)
    with stopwatch() as build:
        qdq = quantize(run, found)
        model = _int8_model(run, found, qdq)
        session = engine.build_int8(model)
    with session:
        evidence, kernels = _evaluate(run, engine, model, session, images)
        fp16 = fp16_of(run, engine, baseline, images)
        latencies = time_session(run, engine, session, images)
        described = session.describe()
    score = task.score(evidence.predictions)
    interval = compare(baseline_score, score)
    agreement = check_agreement(run, engine, qdq, evidence, baseline)
    write_with(
        SweepFolder(store.folder).judged(run.key),
        lambda file: save_arrays(
            file,
            pack_judgement(
                score.judged, score.replicates, baseline_score.replicates, score.least_error
            ),
        ),
    )
    judged = (Judged(baseline.predictions, baseline_score), Judged(evidence.predictions, score))
    medians = {name: latency.percentile_ms(50) for name, latency in latencies.items()}
    raw: dict[str, Sequence[float]] = {
        f"{name}_ns": latency.nanoseconds for name, latency in latencies.items()
    }
    measured = {
        **_believed(run, agreement),
        "baseline_engine": f"{run.baseline_engine.name} {run.baseline_engine.version}",
        "fp32": baseline_score.value,
        **_published(run, baseline_score),
        "int8": score.value,
        "delta": interval.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n_images": len(images),
        "images_per_class": baseline_score.images_per_class,
        "classes_evaluated": classes_evaluated(run),
        "n_classes": len(run.dataset.class_names),
        "secondary_fp32": baseline_score.secondary,
        "secondary_int8": score.secondary,
        **sqnr_of(run.model.head, baseline.outputs, evidence.outputs),
        **(_of_kernels(baseline_score, task.score(kernels.predictions)) if kernels else {}),
        **keep_losses(run, store.folder, task, *judged),
        **{
            f"{name}_latency_p{percent}_ms": latency.percentile_ms(percent)
            for name, latency in latencies.items()
            for percent in (50, 90, 99)
        },
        "latency_rounds": len(latencies["int8"].nanoseconds),
        "speedup": medians["fp32"] / medians["int8"],
        **(_fp16(baseline_score, fp16, medians) if fp16 else {}),
        "speedup_baseline": medians["baseline"] / medians["int8"],
        "throughput": run.protocol.batch_size * 1e9 / float(np.mean(raw["int8_ns"])),
        **_ran_int8(run, engine, found, described, store.folder),
        "build_s": build.seconds,
        "qdq_bytes": qdq.ByteSize(),
        **(asdict(described.facts) | device_medians(run, engine) if described.facts else {}),
        **(_build_beside(run, run.also_build, qdq) if run.also_build else {}),
    }
    return measured, raw


def _evaluate(
    run: Run, engine: Engine, model: Int8Model, kernels: Session, images: PreparedImages
) -> tuple[Evidence[Any], Evidence[Any] | None]:
    """What the run's accuracy rests on; and that of the engine's INT8 kernels, if that is
    something else."""
    evidence = evaluate(run, kernels, images)
    if run.accuracy_by == "int8 kernels":
        return evidence, None
    with build_for_accuracy(run, engine, model) as session:
        return evaluate(run, session, images), evidence


def _believed(run: Run, agreement: Agreement) -> dict[str, Any]:
    return {
        "status": "unfaithful" if agreement.doubt else "ok",
        "error": agreement.doubt,
        "accuracy_by": run.accuracy_by,
        "exact_sqnr_db": agreement.decibels,
        "exact_sqnr_limit_db": agreement.limit_db,
        "exact_delta": agreement.difference,
    }


def _of_kernels(baseline: Score, kernels: Score) -> dict[str, Any]:
    """What the engine's INT8 kernels reach on this processor, where that is not the row's."""
    return {"kernels_int8": kernels.value, **_difference("kernels", baseline, kernels)}


def _fp16(baseline: Score, fp16: Score, medians: Mapping[str, float]) -> dict[str, Any]:
    """What INT8 competes with where the engine has FP16; ``medians`` are latencies."""
    return {
        "fp16": fp16.value,
        **_difference("fp16", baseline, fp16),
        "speedup_fp16": medians["fp16"] / medians["int8"],
    }


def _difference(name: str, baseline: Score, other: Score) -> dict[str, float]:
    interval = compare(baseline, other)
    return {
        f"{name}_delta": interval.estimate,
        f"{name}_ci_low": interval.low,
        f"{name}_ci_high": interval.high,
    }


def _int8_model(run: Run, found: RunRanges, qdq: onnx.ModelProto) -> Int8Model:
    kept = run.plan.float_nodes(found.graph)
    algorithm = found.native.cache.algorithm if found.native else None
    return Int8Model(qdq, fp32_model(run), found.amax, kept, algorithm)


def _published(run: Run, baseline: Score) -> dict[str, Any]:
    """What is published of the model, where it is about this metric and these classes."""
    published = run.model.published
    if not published or not published.applies(task_of(run).metric, len(run.dataset.class_names)):
        return {}
    doubt = published.doubt(baseline.value, run.n_images)
    return {"published_fp32": published.value, "published_note": doubt}


def _ran_int8(
    run: Run, engine: Engine, found: RunRanges, described: Description, folder: Path
) -> dict[str, Any]:
    """What really ran in INT8, if the engine tells; the layers' names go beside the rows."""
    graph, ran = found.graph, described.int8_nodes
    if ran is None:
        return {"latency_note": f"{engine.name} does not tell which layers ran in INT8"}
    planned = found.points.products(graph)
    keep_layers(folder, run.key, graph, planned, ran)
    known = ran & set(graph.compute)
    share = sum(map(graph.macs, known)) / sum(map(graph.macs, graph.compute))
    return {
        "int8_mac_share": share,
        "int8_layers": described.int8_layers,
        "product_layers": described.layers,
        "planned_layers_in_float": len(planned - ran),
        "latency_note": _latency_note(share, engine.name),
    }


def _latency_note(share: float, engine: str) -> str:
    if share >= LOW_INT8_SHARE:
        return ""
    return f"{engine} ran only {share:.0%} of the multiply-accumulates in INT8"
