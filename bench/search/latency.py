"""Layers whose INT8 costs time go to float: proposed by profiles, proven by whole networks.

The engine's profiles of the INT8 and of the FP32 network name the layers that INT8 makes slower.
All of them go to float, and the network is timed in turn with the best one until then. If that is
not faster, or less accurate, halves of them are tried, by kind of layer. In the end, the accepted
plan and the first one are timed once more: of many trials, the best one looks better than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.stats import binom

from bench import environment
from bench.engine.base import AotCompiler, Array, Engine, Session
from bench.errors import ConfigError
from bench.quantization.plan import PrecisionPlan
from bench.results.plan_latency import Gain, LatencyTrail, LayerCost, TimedTrial
from bench.results.plan_search import Trial
from bench.run.machine import Sharing
from bench.run.measure import fp32_model, int8_model
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run
from bench.search.layer_times import slower_in_int8, times_by_layer
from bench.timing import LEAST_ROUNDS, CallTimes, measure_in_turn

PROFILED = 30
"""Inferences whose layers are timed."""

PROVABLE = 0.002
"""Layers that gain a smaller share by the profile are not tried: no timing could prove it."""

PATIENCE = 4
"""Times as many rounds, and seconds, as a row is timed: plans differ less than precisions."""


def check_latency(run: Run) -> None:
    """Raise ConfigError for a run that cannot be timed."""
    if isinstance(run.engine, AotCompiler):
        raise ConfigError(
            f"plan.latency=true times networks, and engine {run.engine.name} only builds them",
            "Use an engine that runs here",
        )
    if not run.measurement.rounds:
        raise ConfigError("plan.latency=true times networks", "Drop timing=off")


def place_of(run: Run) -> str:
    """The engine and the machine that a latency belongs to."""
    engine = run.engine
    return f"{engine.name} {engine.version}, {engine.options}, {environment.hardware()}"


@dataclass(eq=False)
class LatencySearch:
    """A search that begins with ``plan`` of ``run``, whose engine and rounds of timing count.

    ``batch`` is the network's input. ``try_plan`` measures the accuracy with some layers in float,
    and ``no_worse`` judges it; ``allowed`` says whether a plan may be tried at all; ``late`` is
    asked before every trial; ``report`` is called after each, with the best plan until then.
    """

    run: Run
    plan: Trial
    batch: Array
    try_plan: Callable[[tuple[str, ...]], Trial]
    no_worse: Callable[[Trial], bool]
    allowed: Callable[[tuple[str, ...]], bool]
    late: Callable[[], bool]
    report: Callable[[LatencyTrail, Trial], None]
    measure: Callable[..., dict[str, CallTimes]] = measure_in_turn
    _trials: list[TimedTrial] = field(default_factory=list)
    _slower: tuple[LayerCost, ...] = ()
    _milliseconds: float | None = None
    _gain: Gain | None = None
    _stopped: bool = False
    _sharing: set[Sharing] = field(default_factory=set)

    def search(self) -> tuple[LatencyTrail, Trial]:
        """What was measured, and the accepted trial: ``plan`` if nothing is proven to be faster.

        Raises ConfigError if the engine has no profile of layers, and EngineError.
        """
        self._best = self.plan
        with self._build(self.plan.float_nodes) as first, ExitStack() as opened:
            self._opened, self._current = opened, first
            self._slower = self._profile(first)
            self._reduce(self._by_kind(self._slower))
            if self._current is not first:
                self._gain = self._time(first, self._current)[0]
                if not self._gain.proven:
                    self._best = self.plan
        return self.trail, self._best

    @property
    def trail(self) -> LatencyTrail:
        """What was measured until now."""
        engine = self.run.engine
        return LatencyTrail(
            f"{engine.name} {engine.version}",
            environment.hardware(),
            "shared" if "shared" in self._sharing else "alone",
            self.plan.float_nodes,
            self._milliseconds,
            self._slower,
            tuple(self._trials),
            self._gain,
            self._stopped,
        )

    def _reduce(self, slower: Sequence[LayerCost]) -> None:
        """Try all of these layers in float, then each half. A gain that cannot be proven is not
        looked for."""
        gain = sum(cost.gain_ms for cost in slower)
        if not slower or gain < PROVABLE * self._profiled:
            return
        if self.late():
            self._stopped = True
            return
        if self._accept(slower):
            return
        if len(slower) > 1:
            half = (len(slower) + 1) // 2
            self._reduce(slower[:half])
            self._reduce(slower[half:])

    def _by_kind(self, slower: Sequence[LayerCost]) -> list[LayerCost]:
        """By operator, and then in the order of the network: halves are then mostly of one kind,
        and layers that follow each other need no Q/DQ between them in float."""
        graph = self.run.graph
        places = {name: number for number, name in enumerate(graph.nodes)}

        def kind(cost: LayerCost) -> tuple[str, bool, int]:
            name = cost.name
            return graph.nodes[name].op_type, name in graph.depthwise, places[name]

        return sorted(slower, key=kind)

    def _accept(self, slower: Sequence[LayerCost]) -> bool:
        """Whether the best plan with these layers in float too is better; it is the best then.

        The session of the better plan stays open, that of the other one is closed; the first
        plan's stays open until the end.
        """
        nodes = (*self._best.float_nodes, *(cost.name for cost in slower))
        if self._products <= set(nodes) or not self.allowed(nodes):
            return False
        with ExitStack() as opened:
            session = opened.enter_context(self._build(nodes))
            gain, before_ms, after_ms = self._time(self._current, session)
            if self._milliseconds is None:
                self._milliseconds = before_ms
            trial = self.try_plan(nodes) if gain.proven else None
            accepted = trial is not None and self.no_worse(trial)
            if trial is not None and accepted:
                self._opened.close()
                self._opened.enter_context(opened.pop_all())
                self._best, self._current = trial, session
        loss = None if trial is None else trial.loss
        share = self._share(nodes)
        self._trials.append(TimedTrial(nodes, share, after_ms, gain, loss, accepted))
        self.report(self.trail, self._best)
        return accepted

    def _profile(self, int8: Session) -> tuple[LayerCost, ...]:
        engine, run = self._engine, self._with(self.plan.float_nodes)
        ranges = find_run_ranges(run)
        layers = frozenset(edge.node for edge in ranges.points.edges)
        self._products = ranges.points.products(ranges.graph)
        qdq, fp32 = quantize(run, ranges), fp32_model(run)
        with engine.build(fp32) as plain, run.machine.alone() as sharing:
            self._sharing.add(sharing)
            of_int8, of_fp32 = (one.layer_times(self.batch, PROFILED) for one in (int8, plain))
        if of_int8 is None or of_fp32 is None:
            raise ConfigError(
                f"engine {engine.name} has no profile of its layers, which plan.latency=true needs",
                "Use another engine, or drop plan.latency",
            )
        self._profiled = sum(layer.milliseconds for layer in of_int8)
        return slower_in_int8(
            times_by_layer(qdq, layers, of_int8), times_by_layer(fp32, layers, of_fp32), layers
        )

    def _time(self, before: Session, after: Session) -> tuple[Gain, float, float]:
        """The gain of one over the other, and both medians in milliseconds."""
        how = self.run.measurement
        with self.run.machine.alone() as sharing:
            self._sharing.add(sharing)
            times = self.measure(
                {
                    "before": partial(before.run, self.batch),
                    "after": partial(after.run, self.batch),
                },
                rounds=max(PATIENCE * how.rounds, LEAST_ROUNDS),
                seconds=PATIENCE * how.seconds,
            )
        gain = paired_gain(times["before"].nanoseconds, times["after"].nanoseconds)
        return gain, times["before"].percentile_ms(50), times["after"].percentile_ms(50)

    def _build(self, float_nodes: tuple[str, ...]) -> Session:
        run = self._with(float_nodes)
        ranges = find_run_ranges(run)
        return self._engine.build_int8(int8_model(run, ranges, quantize(run, ranges)))

    def _share(self, float_nodes: tuple[str, ...]) -> float:
        ranges = find_run_ranges(self._with(float_nodes))
        return ranges.points.mac_share(ranges.graph)

    def _with(self, float_nodes: tuple[str, ...]) -> Run:
        selectors = tuple(f"node:{name}" for name in float_nodes)
        return replace(self.run, plan=PrecisionPlan("search" if selectors else "all", selectors))

    @property
    def _engine(self) -> Engine:
        assert not isinstance(self.run.engine, AotCompiler)
        return self.run.engine


def paired_gain(before: Sequence[float], after: Sequence[float]) -> Gain:
    """How much faster ``after`` is, from times taken in turn: the median of the rounds' gains.

    Its interval is between two of the sorted gains: how many of them are below the true median
    follows the binomial distribution, whatever that of the times (Conover, Practical Nonparametric
    Statistics, 3.2). It needs six rounds or more.
    """
    gains = np.sort(1 - np.asarray(after, float) / np.asarray(before, float))
    count = len(gains)
    below = int(binom.ppf(0.025, count, 0.5)) - 1
    low, high = gains[below], gains[count - 1 - below]
    return Gain(float(np.median(gains)), float(low), float(high), count)
