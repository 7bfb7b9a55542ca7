"""The rule of each tensor, chosen by the network's output: ``criterion=output``.

Every layer alone is put into INT8 with the thresholds of every rule (``rank_layers``). A tensor
takes the rule with which the layers that read it add the least noise to the outputs. Interactions
between layers are ignored; clipping, rounding and weights are as in INT8.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench import environment
from bench.cache import cached, content_key, source_key
from bench.calibration.per_tensor import PerTensor
from bench.calibration.statistics import Snapshot
from bench.diagnosis.ranking import Quantized, Ranking, images_for, rank_layers
from bench.model.edit import with_batch
from bench.quantization.grid import Range, ranges_of
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq
from bench.run.inputs import calibration_image, check_batch
from bench.run.spec import Run
from bench.run.thresholds import ThresholdSearch
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json

_CODE = source_key(
    __name__, "bench.diagnosis", "bench.engine.ov", "bench.engine.ov_piece", "bench.quantization",
    "bench.model",
)  # fmt: skip


def choose_rules(
    run: Run,
    calibrator: PerTensor,
    search: ThresholdSearch,
    snapshots: Mapping[str, Snapshot],
) -> dict[str, str]:
    """The name of each tensor's rule, for all plans; none for tensors that no layer reads in INT8.
    Computed once per model, calibration set and placement, then stored."""
    key = content_key(
        run.model.network.sha256, run.model.head, search.key, calibrator.params, run.sharing,
        run.scheme, run.weights, run.calibration, _CODE,
        environment.versions("numpy", "onnx", "openvino"), environment.arithmetic(),
    )  # fmt: skip

    def compute() -> Mapping[str, str]:
        points = place(PrecisionPlan("all"), run.sharing, run.graph)
        return _least_noise(points, _rankings(run, calibrator, search, snapshots, points))

    def load(path: Path) -> dict[str, str]:
        members = from_sealed_json(path.read_bytes(), path)
        if not set(members.values()) <= set(calibrator.rules):
            raise DamagedError(path, "not a choice of rules")
        return members

    path = run.cache / f"rules-{key}.json"
    return cached(path, load, lambda: lambda file: file.write(to_sealed_json(compute())))


def _rankings(
    run: Run,
    calibrator: PerTensor,
    search: ThresholdSearch,
    snapshots: Mapping[str, Snapshot],
    points: QuantizationPoints,
) -> dict[str, Ranking]:
    """The layers' noise with each rule."""
    network = run.model.network
    check_batch(run, "calibrator.criterion=output")
    measured = {name: snapshots[name] for name in snapshots if name in points.measured}
    ways = []
    for rule in calibrator.rules.values():
        amax = search.find(rule, measured).amax
        ranges: Mapping[str, Range] = points.widest(ranges_of(run.scheme, amax, measured))
        qdq = insert_qdq(network, run.graph, points, ranges, run.weights)
        ways.append(Quantized(with_batch(qdq, network.input_name, 1), points))
    count = min(images_for(run.graph), run.calibration.size)
    rankings = rank_layers(
        with_batch(network.proto, network.input_name, 1),
        run.graph,
        ways,
        run.model.head,
        [partial(calibration_image(run), number) for number in range(count)],
    )
    return dict(zip(calibrator.rules, rankings, strict=True))


def _least_noise(points: QuantizationPoints, rankings: Mapping[str, Ranking]) -> dict[str, str]:
    """Of equal noise, the first rule."""
    readers: dict[str, set[str]] = {}
    for edge in points.edges:
        for source in points.sources[edge.tensor]:
            readers.setdefault(source, set()).add(edge.node)

    def noise(rule: str, tensor: str) -> float:
        return sum(rankings[rule].noise[node] for node in readers[tensor])

    return {tensor: min(rankings, key=lambda rule: noise(rule, tensor)) for tensor in readers}
