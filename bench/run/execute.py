"""One run, in order: calibrate, quantize, build, evaluate, time, and make the row.

With an engine that only builds, a run ends there: its row is ``built``.

Only this module knows all steps. It receives objects, never configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from bench.cache import only_one, write_with
from bench.calibration.engine_file import EngineFile
from bench.data.prepared import PreparedImages
from bench.engine.base import (
    AotCompiler,
    Description,
    DeviceTimes,
    Emulating,
    Engine,
    Int8Model,
    Session,
)
from bench.errors import EngineError
from bench.evaluation.judgement import pack_judgement, save_judgement
from bench.evaluation.looks import pack_looks
from bench.evaluation.task import Evidence
from bench.log import LOG, logged_to
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.results.store import RowStore
from bench.run.aot import build_ahead, build_beside
from bench.run.error_analysis import Judged, store_losses
from bench.run.faithfulness import Agreement, check_agreement
from bench.run.gather import Gathered
from bench.run.given import load_engine
from bench.run.machine import Sharing
from bench.run.measure import (
    baseline_of,
    build_for_accuracy,
    device_times,
    evaluate,
    fp16_of,
    int8_model,
    task_of,
    time_session,
    validation_images,
)
from bench.run.measured import Lost, Measured, accuracy_of, fidelity_of, latency_of
from bench.run.parts import Status, axes_of, build_of, cost_of, provenance_of
from bench.run.race import Race, Raced, Racer, still_lost, traits_of
from bench.run.ranges import RunRanges, find_run_ranges, quantize, store_reasons
from bench.run.spec import Run
from bench.timing import CallTimes, peak_memory, stage, stopwatch


@dataclass(frozen=True, eq=False)
class Made:
    """How a run ended, its results, and the raw values behind them."""

    status: Status
    accuracy: Accuracy
    error: str = ""
    fidelity: Fidelity = field(default_factory=Fidelity)
    latency: Latency = field(default_factory=Latency)
    cost: Cost = field(default_factory=Cost)
    build: Build = field(default_factory=Build)
    measured: Measured | Lost | None = None
    statistics_key: str = ""
    raw: Mapping[str, Sequence[float]] = field(default_factory=dict)


def execute_once(run: Run, store: RowStore, overrides: str, race: Race | None = None) -> Row:
    """``execute``, unless the run's row is in the store, or another process makes it meanwhile."""
    row = finished(run.key, store, race)
    if row is None:
        with only_one(run.cache / f".run-{run.key}.lock"):
            row = finished(run.key, store, race) or execute(run, store, overrides, race)
    return row


def finished(key: str, store: RowStore, race: Race | None) -> Row | None:
    """The row of this key, if it need not be made: a raced row only where it still loses."""
    row = store.finished(key)
    if row is not None and row.status == "raced" and not (race and still_lost(row, race)):
        return None
    return row


def execute(run: Run, store: RowStore, overrides: str = "", race: Race | None = None) -> Row:
    """Make the run's row and store it; an engine that refuses makes a skipped row.

    ``overrides`` are the typed ones, so that the row can say how to reproduce it. In a ``race`` the
    run ends once it has lost, and its row is ``raced``.

    Raises BenchError for bad input; nothing is stored then.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    run.check()
    log = SweepFolder(store.folder).log(run.key)
    with logged_to(log), run.machine.busy(), stopwatch() as whole, peak_memory() as memory:
        LOG.info("%s", overrides)
        try:
            made = _make(run, store, race)
        except EngineError as error:
            made = Made("skipped", accuracy_of(run, None), str(error))
        LOG.info("%s%s", made.status, f": {made.error}" if made.error else "")
    provenance = provenance_of(
        run,
        made.status,
        made.error,
        measured=made.measured,
        statistics_key=made.statistics_key,
        overrides=overrides,
        started_at=started,
        run_s=whole.seconds,
        peak_memory_mb=memory.megabytes,
    )
    row = Row.of(
        axes_of(run),
        provenance,
        made.accuracy,
        made.fidelity,
        made.latency,
        made.cost,
        made.build,
    )
    store.add(row, made.raw)
    return row


def _make(run: Run, store: RowStore, race: Race | None) -> Made:
    _ = run.accuracy_by  # an engine that cannot compute exactly is refused before any work
    with stage("calibration"):
        ranges = find_run_ranges(run)
    if isinstance(run.engine, AotCompiler):
        return _build(run, run.engine, ranges, store)
    return _measure(run, run.engine, ranges, store, race)


def _build(run: Run, builder: AotCompiler, ranges: RunRanges, store: RowStore) -> Made:
    with stage("Q/DQ insertion") as insertion:
        qdq = quantize(run, ranges)
    with stage("build ahead of time"):
        ahead = build_ahead(run, builder, qdq)
    build_s = insertion.seconds + (ahead.int8.seconds if ahead.int8 else 0.0)
    return Made(
        "built",
        accuracy_of(run, None),
        fidelity=fidelity_of(run, ranges, None),
        latency=latency_of(run, ranges, None, store.folder),
        cost=cost_of(run, ranges),
        build=build_of(qdq, build_s, ahead),
        statistics_key=store_reasons(run, store.folder, ranges),
    )


def _measure(
    run: Run, engine: Engine, ranges: RunRanges, store: RowStore, race: Race | None
) -> Made:
    images = validation_images(run)
    with stage("FP32 baseline"):
        baseline, fp32 = baseline_of(run, images)
    task = task_of(run, baseline.predictions)
    with stage("Q/DQ insertion") as insertion:
        qdq = quantize(run, ranges) if ranges.known else None
    model = int8_model(run, ranges, qdq) if qdq is not None else None
    with stage("INT8 build") as build:
        session = _open_int8(run, engine, model)
    racer = None
    if race is not None and qdq is not None:
        traits = traits_of(run, ranges, qdq, task.metric)
        racer = Racer(run, race, task, Judged(baseline.predictions, fp32), traits)
    with session:
        with stage("INT8 evaluation"):
            raced, kernels = _evaluate(run, engine, model, session, images, racer)
        if isinstance(raced, Lost):
            return _lost(
                run, ranges, raced, store, build_of(qdq, insertion.seconds + build.seconds, None)
            )
        evidence = raced.evidence
        fp16 = fp16_of(run, engine, baseline, images)
        latencies, on_device, sharing, described = _time(run, engine, session, images)
    with stage("INT8 score"):
        int8 = task.score(evidence.predictions)
    with stage("losses"):
        losses = store_losses(
            run,
            store.folder,
            task,
            Judged(baseline.predictions, fp32),
            Judged(evidence.predictions, int8),
        )
    with stage("agreement with exact arithmetic"):
        agreement = (
            check_agreement(run, engine, qdq, evidence, baseline)
            if qdq is not None
            else Agreement()
        )
    measured = Measured(
        baseline,
        fp32,
        evidence,
        int8,
        task.score(kernels.predictions) if kernels else None,
        fp16,
        losses,
        agreement,
        latencies,
        sharing,
        on_device,
        described,
    )
    judged = pack_judgement(int8.judged, int8.replicates, fp32.replicates, int8.least_error)
    kept = {**judged, **pack_looks(raced.looks)}
    write_with(SweepFolder(store.folder).judged(run.key), lambda file: save_judgement(file, kept))
    # An engine that stores what it built reports the build time itself.
    seconds = described.facts.build_s if described.facts else build.seconds
    build_s = None if seconds is None else insertion.seconds + seconds
    beside = build_beside(run, qdq) if qdq is not None else None
    doubt = agreement.doubt
    return Made(
        "unfaithful" if doubt else "ok",
        accuracy_of(run, measured),
        doubt,
        fidelity_of(run, ranges, measured),
        latency_of(run, ranges, measured, store.folder),
        cost_of(run, ranges),
        build_of(qdq, build_s, beside, described),
        measured,
        store_reasons(run, store.folder, ranges),
        {f"{name}_ns": latency.nanoseconds for name, latency in latencies.items()},
    )


def _lost(run: Run, ranges: RunRanges, lost: Lost, store: RowStore, build: Build) -> Made:
    """A run that lost its race is neither checked nor timed."""
    return Made(
        "raced",
        accuracy_of(run, lost),
        lost.proof.why,
        fidelity_of(run, ranges, lost),
        latency_of(run, ranges, None, store.folder),
        cost_of(run, ranges),
        build,
        lost,
        store_reasons(run, store.folder, ranges),
    )


def _open_int8(run: Run, engine: Engine, model: Int8Model | None) -> Session:
    """The engine of ``model``; without one that of the user's file."""
    if model is not None:
        return engine.build_int8(model)
    assert isinstance(run.calibrator, EngineFile)
    return load_engine(run, run.calibrator)


def _evaluate(
    run: Run,
    engine: Engine,
    model: Int8Model | None,
    kernels: Session,
    images: PreparedImages,
    racer: Racer | None,
) -> tuple[Raced | Lost, Evidence[Any] | None]:
    """The evidence for the run's accuracy, or how it lost; and the evidence of the engine's int8
    kernels if it differs: not for a run that asks for exact arithmetic and times nothing, since
    nobody asked for the kernels."""

    def judge(session: Session) -> Raced | Lost:
        if racer is None:
            return Raced(evaluate(run, session, images))
        gathered = Gathered(task_of(run), images, run.measurement.batch_size)
        return racer.evaluate(session, gathered)

    if model is None or run.accuracy_by == "int8 kernels":
        return judge(kernels), None
    with build_for_accuracy(run, engine, model) as session:
        raced = judge(session)
    asked = isinstance(engine, Emulating) and engine.accuracy_by == "emulation"
    if isinstance(raced, Lost) or (asked and not run.measurement.rounds):
        return raced, None
    return raced, evaluate(run, kernels, images)


def _time(
    run: Run, engine: Engine, session: Session, images: PreparedImages
) -> tuple[Mapping[str, CallTimes], Mapping[str, DeviceTimes], Sharing, Description]:
    """Latencies, those by the GPU's clock while it is still warm, and what the engine reports about
    itself."""
    if not run.measurement.rounds:
        return {}, {}, "alone", session.describe()
    with run.machine.alone() as sharing, stage(f"timing ({sharing})"):
        latencies = time_session(run, engine, session, images)
        return latencies, device_times(run, engine, session), sharing, session.describe()
