"""Which layers INT8 harms, by how much, and why: everything that a diagnosis says of one run.

The run's plan is ignored: every layer is in INT8, and each is measured alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from bench.calibration.calibrator import Calibrator
from bench.calibration.statistics import Snapshot
from bench.data.prepared import network_input
from bench.diagnosis.advice import advise, first_jump, worst_layers
from bench.diagnosis.blocks import group_layers
from bench.diagnosis.lists import lists_of
from bench.diagnosis.mixed import MixedModels
from bench.diagnosis.noise import Noise
from bench.diagnosis.sensitivity import (
    FEW,
    Networks,
    Report,
    Sensitivities,
    Sensitivity,
    measure_groups,
    measure_sensitivity,
    silent,
)
from bench.diagnosis.tensors import Seen, histogram, observe, rule_error
from bench.diagnosis.unit import units_of
from bench.environment import harness_version
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.quantization.grid import amax_of
from bench.quantization.plan import PrecisionPlan
from bench.results.diagnosis import (
    BlockDiagnosis,
    Diagnosis,
    Effect,
    LayerDiagnosis,
    RuleError,
    TensorDiagnosis,
)
from bench.run.calibration_accuracy import measure_on, on_calibration_images
from bench.run.inputs import calibration_image, check_batch
from bench.run.measure import fp32_model, int8_model, task_of
from bench.run.ranges import RunRanges, find_run_ranges, quantize, statistics_key
from bench.run.spec import Run
from bench.run.thresholds import ThresholdSearch

Array = npt.NDArray[np.float32]
Images = Mapping[str, Sequence[Callable[[], Array]]]

SEARCH_IMAGES = 192
"""Calibration images on which the metric is measured, if ``metric`` is set."""

_LEAST_DB = -300.0
"""The noise of outputs that are not finite: JSON has no infinity, and None means no noise."""

_MOST_KL = 1e30


@dataclass(frozen=True)
class DiagnosisSettings:
    """``images`` in all, half of them from the calibration set; ``rule`` is the name of the
    run's calibrator, ``rules`` the calibrators to compare it with, by name. With ``metric``
    each layer alone is measured by the metric too.

    Raises ConfigError for fewer than two images.
    """

    rule: str
    rules: Mapping[str, Calibrator] = field(default_factory=dict)
    images: int = 32
    metric: bool = False

    def __post_init__(self) -> None:
        if self.images < 2:
            raise ConfigError(f"diagnose.images={self.images} is below 2", "Use 2 or more images")


def diagnose(run: Run, settings: DiagnosisSettings, report: Report = silent) -> Diagnosis:
    """Measure everything; raises BenchError for a run that is not possible."""
    start = time.perf_counter()
    check_batch(run, "diagnose")
    run = replace(
        run,
        plan=PrecisionPlan("all"),
        also_build=None,
        measurement=replace(run.measurement, rounds=0, batch_size=1),
    )
    run.check()
    report("calibration", 0, 1)
    ranges = find_run_ranges(run)
    report("calibration", 1, 1)
    qdq, graph = quantize(run, ranges), ranges.graph
    units = units_of(ranges.points, graph)
    networks = Networks(fp32_model(run), qdq, run.model.network.input_name, units, run.model.head)
    sets, source = _images(run, settings.images)
    measured = measure_sensitivity(networks, sets, report)
    float_network = networks.in_float
    crossing = {
        unit.name: len(float_network.needed(float_network.position(unit.name))) for unit in units
    }
    groups = group_layers([unit.name for unit in units], crossing)
    of_groups = measure_groups(networks, groups, sets, report)
    amax = {name: amax_of(ranges.ranges[name]) for name in ranges.points.tensors}
    few = [image for group in sets.values() for image in group[:FEW]]
    seen = observe(
        float_network, networks.in_int8, amax, few,
        lambda done, total: report("tensors along the depth", done, total),
    )  # fmt: skip
    layers = _with_metric(
        run, ranges, networks, settings, report, _layers(graph, measured, groups, seen)
    )
    rules = _rule_errors(run, ranges, settings, report)
    snapshots = {one.name: one for one in ranges.calibration.snapshots}
    tensors = tuple(
        _tensor(graph, snapshots[name], amax[name], rules[name], seen[name]) for name in seen
    )
    all_int8 = _effects(measured.all_int8)
    worst = worst_layers(layers)
    return Diagnosis(
        setting=_setting(run, settings, sets, source),
        seconds=time.perf_counter() - start,
        all_int8=all_int8,
        layers=layers,
        blocks=tuple(
            BlockDiagnosis(
                name,
                names,
                sum(layer.mac_share for layer in layers if layer.name in names),
                _effects(of_groups[name]),
            )
            for name, names in groups.items()
        ),
        tensors=tensors,
        first_jump=first_jump(tensors, _layers_before(graph, list(seen), measured)),
        worst=worst,
        advice=advise(layers, tensors, all_int8, settings.rule, _declared_input(run)),
        lists=lists_of(worst),
    )


def _images(run: Run, count: int) -> tuple[Images, str]:
    """The sets of images, and in words where the others come from."""
    half = min(count // 2, run.calibration.size)
    behind = len(run.calibration_order) - run.calibration.size
    in_set = calibration_image(run)
    order, preprocess = run.calibration_order, run.model.preprocess
    samples, numbers = run.dataset.calibration, [int(i) for i in order[run.calibration.size :]]
    source = "calibration images after the set"
    if behind < half:
        samples, numbers = run.dataset.validation, list(run.validation_indices)
        source = "validation images, without their labels"

    def of_set(number: int) -> Callable[[], Array]:
        return lambda: in_set(number)

    def other(number: int) -> Callable[[], Array]:
        return lambda: network_input(samples, number, preprocess)

    sets = {
        "calibration": [of_set(number) for number in range(half)],
        "other": [other(number) for number in numbers[:half]],
    }
    return {name: group for name, group in sets.items() if group}, source


def _layers(
    graph: Graph,
    measured: Sensitivities,
    groups: Mapping[str, Sequence[str]],
    seen: Mapping[str, Seen],
) -> tuple[LayerDiagnosis, ...]:
    block_of = {layer: block for block, layers in groups.items() for layer in layers}
    whole = sum(graph.macs(name) for name in graph.compute)
    return tuple(_layer(graph, one, block_of, whole, seen) for one in measured.units)


def _layer(
    graph: Graph,
    one: Sensitivity,
    block_of: Mapping[str, str],
    whole: int,
    seen: Mapping[str, Seen],
) -> LayerDiagnosis:
    name = one.unit.name
    macs = graph.macs(name) if name in graph.compute else 0
    return LayerDiagnosis(
        name=name,
        op=graph.nodes[name].op_type,
        macs=macs,
        mac_share=macs / whole,
        depthwise=name in graph.depthwise,
        block=block_of[name],
        inputs=one.unit.activations,
        only=_effects(one.alone),
        weights_only=_effects(one.weights_alone),
        activations_only=_effects(one.activations_alone),
        all_but=_effects(one.all_but),
        channel_spread=seen[one.unit.activations[0]].channel_spread,
    )


def _effects(noise: Mapping[str, Noise]) -> dict[str, Effect]:
    return {name: _effect(one) for name, one in noise.items()}


def _effect(noise: Noise) -> Effect:
    share = float(noise.share)
    return Effect(
        {part: _decibels(value) for part, value in noise.sqnr_db.items()},
        share if math.isfinite(share) else None,
        float(np.nan_to_num(noise.kl, nan=_MOST_KL, posinf=_MOST_KL)),
    )


def _decibels(value: float | None) -> float | None:
    if value is None or value == math.inf:
        return None
    return max(value, _LEAST_DB) if not math.isnan(value) else _LEAST_DB


def _with_metric(
    run: Run,
    ranges: RunRanges,
    networks: Networks,
    settings: DiagnosisSettings,
    report: Report,
    layers: tuple[LayerDiagnosis, ...],
) -> tuple[LayerDiagnosis, ...]:
    """The layers, with the metric's loss by each alone if ``metric`` is set."""
    if not settings.metric:
        return layers
    search = on_calibration_images(run, SEARCH_IMAGES, "diagnose")
    models = MixedModels(networks.fp32, networks.qdq, networks.units)
    whole = int8_model(search, ranges, networks.qdq)

    def measure() -> Iterator[LayerDiagnosis]:
        for done, layer in enumerate(layers):
            report("metric, layer by layer", done, len(layers))
            model = replace(whole, qdq=models.with_int8([layer.name]))
            accuracy = measure_on(search, model)
            change, known = accuracy.difference, accuracy.difference.known
            yield replace(
                layer,
                metric_loss=-change.estimate / accuracy.fp32,
                metric_loss_low=-change.high / accuracy.fp32 if known else None,
                metric_loss_high=-change.low / accuracy.fp32 if known else None,
            )
        report("metric, layer by layer", len(layers), len(layers))

    return tuple(measure())


def _rule_errors(
    run: Run, ranges: RunRanges, settings: DiagnosisSettings, report: Report
) -> dict[str, dict[str, RuleError]]:
    """By tensor and rule; for the run's calibrator with the ranges in use."""
    wanted = set(ranges.points.tensors)
    snapshots = {one.name: one for one in ranges.calibration.snapshots if one.name in wanted}
    search = ThresholdSearch(run.shared, statistics_key(run, ranges.graph))
    errors: dict[str, dict[str, RuleError]] = {name: {} for name in snapshots}
    for done, (rule, calibrator) in enumerate(settings.rules.items()):
        report("rules, tensor by tensor", done, len(settings.rules))
        for name, amax in search.find(calibrator, snapshots).amax.items():
            errors[name][rule] = rule_error(snapshots[name], amax)
    report("rules, tensor by tensor", len(settings.rules), len(settings.rules))
    for name, snapshot in snapshots.items():
        errors[name][settings.rule] = rule_error(snapshot, amax_of(ranges.ranges[name]))
    return errors


def _tensor(
    graph: Graph, snapshot: Snapshot, amax: float, rules: Mapping[str, RuleError], seen: Seen
) -> TensorDiagnosis:
    name = snapshot.name
    node = graph.producer.get(name)
    counts = histogram(snapshot)
    return TensorDiagnosis(
        name=name,
        producer="" if node is None else node.name,
        min=snapshot.min,
        max=snapshot.max,
        amax=amax,
        rules=rules,
        depth_db=_decibels(seen.sqnr_db),
        zero_share=seen.zeros / seen.count,
        saturated_share=seen.saturated / seen.count,
        dead_channels=int((seen.channel_amax == 0).sum()),
        channels=int(seen.channel_amax.size),
        not_finite=seen.not_finite,
        counts=counts,
        low=snapshot.min if counts else 0.0,
        high=snapshot.max if counts else 0.0,
        pairs=tuple(seen.pairs),
    )


def _layers_before(graph: Graph, tensors: Sequence[str], measured: Sensitivities) -> dict[str, str]:
    """The last layer that each tensor depends on without passing another."""
    units = {one.unit.name: place for place, one in enumerate(measured.units)}
    before: dict[str, str] = {}
    for tensor in tensors:
        met, pending, reached = set[str](), [tensor], list[str]()
        while pending:
            node = graph.producer.get(pending.pop())
            if node is None or node.name in met:
                continue
            met.add(node.name)
            if node.name in units:
                reached.append(node.name)
            else:
                pending.extend(node.input)
        if reached:
            before[tensor] = max(reached, key=units.__getitem__)
    return before


def _declared_input(run: Run) -> tuple[str, float | None]:
    """The network's input, and the largest magnitude that it can have unless that is its range."""
    declared = run.calibration.input_range == "declared"
    most = None if declared else float(run.model.preprocess.input_amax())
    return run.model.network.input_name, most


def _setting(run: Run, settings: DiagnosisSettings, sets: Images, source: str) -> dict[str, str]:
    counts = {name: len(group) for name, group in sets.items()}
    setting = {
        "model": run.model.name,
        "weights": run.model.weights,
        "dataset": run.dataset.name,
        "calibrator": settings.rule,
        "calibration images": f"{run.calibration.size} ({run.calibration.how}, seed "
        f"{run.calibration.seed})",
        "placement": run.placement,
        "scheme": run.scheme,
        "weight scales": f"{run.weights.granularity}, {run.weights.rule}",
        "input range": run.calibration.input_range,
        "images": f"{counts['calibration']} of the calibration set, {counts.get('other', 0)} other "
        f"({source})",
        "images, other measurements": f"at most {FEW} of each set",
        "harness": harness_version(),
    }
    if settings.metric:
        search = on_calibration_images(run, SEARCH_IMAGES, "diagnose")
        setting["metric"] = f"{task_of(search).metric} on {search.n_images} calibration images"
    return setting
