"""Layers whose INT8 costs time: what a profile proposes, and what timing proves. Every time is made
up, but for one network in OpenVINO and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bench.cli.compose import build_typed
from bench.engine.base import Int8Model, LayerTime
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.onnxrt_profile import measure_layers
from bench.engine.ov import OpenVino
from bench.engine.trt.layer_profile import profile_lane
from bench.errors import ConfigError
from bench.model.edit import with_batch
from bench.results.plan_latency import Gain, LatencyTrail
from bench.results.plan_search import Budget, Trail, Trial
from bench.search.latency import LatencySearch, check_latency, paired_gain
from bench.search.layer_times import slower_in_int8, times_by_layer
from bench.timing import CallTimes
from tests.e2e.command import CUSTOM
from tests.tiny_models import residual

LAYERS = ("stem", "block1", "block2", "fc")

# --- an engine whose times are known --------------------------------------------------------------


class FakeSession:
    def __init__(self, times: Mapping[str, float]) -> None:
        self.times = times

    def run(self, batch: Any) -> float:
        return sum(self.times.values())

    def layer_times(self, batch: Any, runs: int) -> Sequence[LayerTime] | None:
        return [LayerTime((name,), time) for name, time in self.times.items()]

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Unprofiled(FakeSession):
    def layer_times(self, batch: Any, runs: int) -> None:
        return None


@dataclass(frozen=True)
class FakeEngine:
    """Each layer's milliseconds in INT8 and FP32; each change of precision between neighbours costs
    ``change`` more, which no profile of a layer shows."""

    int8: Mapping[str, float]
    fp32: Mapping[str, float]
    change: float = 0.0
    session: type[FakeSession] = FakeSession
    name: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"
    options: ClassVar[str] = ""
    threads: ClassVar[int] = 1
    schemes: ClassVar[tuple[str, ...]] = ("symmetric",)

    def build(self, model: onnx.ModelProto) -> FakeSession:
        return self.session(self.fp32)

    def build_int8(self, model: Int8Model) -> FakeSession:
        kinds = [name in model.float_nodes for name in LAYERS]
        times = {
            name: (self.fp32 if in_float else self.int8)[name]
            for name, in_float in zip(LAYERS, kinds, strict=True)
        }
        changes = sum(a != b for a, b in pairwise(kinds))
        return self.session({**times, "reorders": self.change * changes})


def take_in_turn(
    systems: Mapping[str, Callable[[], Any]], *, rounds: int, seconds: float
) -> dict[str, CallTimes]:
    """As the sessions say, with one per mille of noise."""
    noise = 1 + 0.001 * np.sin(np.arange(rounds))
    return {
        name: CallTimes(tuple((1e6 * run() * noise).astype(int).tolist()))
        for name, run in systems.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("latency")
    onnx.save(residual(), folder / "residual.onnx")
    words = [word.replace("FILES/classifier", f"{folder}/residual") for word in CUSTOM]
    return build_typed([*words, f"sweep.cache={folder}", "calibration.size=4"])


@pytest.fixture
def search(run: Any) -> Callable[..., Any]:
    """A search on such an engine; ``loss`` by the layers in float."""

    def make(
        engine: FakeEngine,
        loss: Callable[[frozenset[str]], float] = lambda in_float: 0.01,
        allowed: Callable[[tuple[str, ...]], bool] = lambda in_float: True,
        late: Callable[[], bool] = lambda: False,
        report: Callable[..., None] = lambda trail, best: None,
    ) -> tuple[LatencySearch, list[frozenset[str]]]:
        measured: list[frozenset[str]] = []

        def try_plan(in_float: tuple[str, ...]) -> Trial:
            measured.append(frozenset(in_float))
            lost = loss(frozenset(in_float))
            return Trial("calibrator=minmax", in_float, 0.9, 0.8, 0.8 * (1 - lost), lost, 0.001)

        plan = Trial("calibrator=minmax", (), 1.0, 0.8, 0.8 * 0.99, 0.01, 0.001)
        batch = np.zeros((1, 3, 16, 16), np.float32)
        made = LatencySearch(
            replace(run, engine=engine), plan, batch, try_plan,
            lambda trial: trial.loss <= plan.loss, allowed, late, report, take_in_turn,
        )  # fmt: skip
        return made, measured

    return make


ONE = FakeEngine(
    {"stem": 3.0, "block1": 1.0, "block2": 1.0, "fc": 0.5},
    {"stem": 2.0, "block1": 2.0, "block2": 2.0, "fc": 0.6},
)


def test_a_layer_that_is_slower_in_int8_goes_to_float(search: Any):
    made, measured = search(ONE)
    trail, best = made.search()
    assert [cost.name for cost in trail.slower] == ["stem"]
    assert best.float_nodes == ("stem",) and measured == [{"stem"}]
    assert [one.accepted for one in trail.trials] == [True]
    assert trail.milliseconds == pytest.approx(5.5, rel=0.01)
    assert trail.trials[0].milliseconds == pytest.approx(4.5, rel=0.01)
    assert trail.gain.share == pytest.approx(1 / 5.5, abs=0.005)
    assert trail.engine == "fake 1" and trail.timing == "alone"
    assert "faster by 18.2%" in trail.line() and "cores" in trail.line()


def test_nothing_is_tried_where_int8_is_faster_throughout(search: Any):
    made, measured = search(FakeEngine(ONE.fp32 | {"stem": 1.0, "fc": 0.1}, ONE.fp32))
    trail, best = made.search()
    assert (trail.slower, trail.trials, trail.gain, measured) == ((), (), None, [])
    assert best.float_nodes == ()
    assert "nothing is proven to make it faster (fake 1" in trail.line()


def test_all_are_tried_then_halves(search: Any):
    """Both are slower in INT8 by themselves, but float at block1 needs two changes of format."""
    engine = FakeEngine(
        {"stem": 3.0, "block1": 2.5, "block2": 1.0, "fc": 0.5},
        {"stem": 2.0, "block1": 2.0, "block2": 2.0, "fc": 0.6}, change=0.3,
    )  # fmt: skip
    tried: list[tuple[str, ...]] = []
    made, _ = search(engine, report=lambda trail, best: tried.append(trail.trials[-1].float_nodes))
    trail, best = made.search()
    assert set(best.float_nodes) == {"stem", "block1"} and len(tried) == 1

    made, _ = search(engine, loss=lambda in_float: 0.02 if "block1" in in_float else 0.01)
    trail, best = made.search()
    assert [set(one.float_nodes) for one in trail.trials] == [
        {"stem", "block1"}, {"stem"}, {"stem", "block1"},
    ]  # fmt: skip
    assert [one.accepted for one in trail.trials] == [False, True, False]
    assert best.float_nodes == ("stem",)


def test_what_is_not_faster_as_a_whole_is_not_accepted(search: Any):
    """The accuracy of such a plan is not even measured."""
    made, measured = search(replace(ONE, change=1.2))
    trail, best = made.search()
    assert [cost.name for cost in trail.slower] == ["stem"]
    assert best.float_nodes == () and measured == []
    [trial] = trail.trials
    assert not trial.gain.proven and trial.loss is None
    assert trail.gain is None


def test_what_loses_accuracy_is_not_accepted(search: Any):
    made, _ = search(ONE, loss=lambda in_float: 0.011)
    trail, best = made.search()
    assert best.float_nodes == () and trail.gain is None
    assert [(one.gain.proven, one.accepted, one.loss) for one in trail.trials] == [
        (True, False, 0.011)
    ]


def test_a_required_share_of_int8_is_respected(search: Any):
    made, _ = search(ONE, allowed=lambda in_float: "stem" not in in_float)
    trail, best = made.search()
    assert (trail.trials, best.float_nodes) == ((), ())


def test_some_layer_stays_in_int8_where_all_are_slower(search: Any):
    made, _ = search(FakeEngine(dict.fromkeys(LAYERS, 3.0), dict.fromkeys(LAYERS, 1.0)))
    trail, best = made.search()
    assert len(trail.slower) == len(LAYERS)
    assert len(best.float_nodes) == len(LAYERS) - 1
    assert all(len(trial.float_nodes) < len(LAYERS) for trial in trail.trials)


@pytest.mark.parametrize(("change", "accepted", "most"), [(5.0, 0, 2), (0.0, 2, 3)])
def test_few_sessions_are_open_at_a_time(search: Any, change: float, accepted: int, most: int):
    """The first plan's, the best one's until then, and the one that is tried; in the end none."""
    open_now: set[int] = set()
    counts: list[int] = []

    class Counted(FakeSession):
        def __enter__(self) -> FakeSession:
            open_now.add(id(self))
            counts.append(len(open_now))
            return self

        def __exit__(self, *error: object) -> None:
            open_now.remove(id(self))

        def run(self, batch: Any) -> float:
            assert id(self) in open_now
            return super().run(batch)

    times = dict.fromkeys(LAYERS, 3.0), dict.fromkeys(LAYERS, 1.0)
    made, _ = search(FakeEngine(*times, change=change, session=Counted))
    trail, _ = made.search()
    assert len(trail.trials) > 1
    assert sum(trial.accepted for trial in trail.trials) == accepted
    assert max(counts) == most and not open_now


def test_a_search_that_is_late_tries_nothing_more(search: Any):
    made, _ = search(ONE, late=lambda: True)
    trail, best = made.search()
    assert [cost.name for cost in trail.slower] == ["stem"]
    assert (trail.trials, best.float_nodes, trail.stopped) == ((), (), True)
    assert "the time was up" in trail.line()


def test_a_gain_that_does_not_come_again_is_not_kept(search: Any, monkeypatch: Any):
    made, _ = search(ONE)
    calls: list[int] = []

    def first_time_only(systems: Mapping[str, Any], **how: Any) -> dict[str, CallTimes]:
        calls.append(1)
        both = take_in_turn(systems, **how)
        return both if len(calls) == 1 else dict.fromkeys(both, both["before"])

    made.measure = first_time_only
    trail, best = made.search()
    assert best.float_nodes == () and len(calls) == 2
    assert not trail.gain.proven and "not accepted" in trail.line()


def test_an_engine_without_a_profile_is_refused(search: Any):
    made, _ = search(replace(ONE, session=Unprofiled))
    with pytest.raises(ConfigError, match="engine fake has no profile of its layers"):
        made.search()


def test_what_cannot_be_timed_is_refused(run: Any):
    untimed = replace(run, measurement=replace(run.measurement, rounds=0))
    with pytest.raises(ConfigError, match=r"plan\.latency=true times networks"):
        check_latency(untimed)


# --- intervals of a gain --------------------------------------------------------------------------


def test_the_interval_of_a_gain_covers_it():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        drift = 1 + rng.exponential(1.0, 30)  # of the machine, which both feel
        before = drift * (1 + 0.05 * rng.standard_normal(30))
        after = 0.98 * drift * (1 + 0.05 * rng.standard_normal(30))
        gain = paired_gain(before.tolist(), after.tolist())
        covered += gain.low <= 0.02 <= gain.high
    assert 0.92 < covered / 400 <= 1.0


def test_equal_times_prove_nothing():
    assert paired_gain([5.0] * 10, [5.0] * 10) == Gain(0.0, 0.0, 0.0, 10)
    assert not Gain(0.0, 0.0, 0.0, 10).proven


# --- from a profile to layers ---------------------------------------------------------------------


def test_what_serves_a_layer_counts_with_it(tiny: Any, quantize: Any):
    qdq = quantize(tiny("residual")).proto
    layers = {"stem", "block1", "block2", "join", "fc"}
    names = {node.name for node in qdq.graph.node}
    stored = "relu0_out/QuantizeLinear"  # read by block1 and by the Add
    assert stored in names
    times = times_by_layer(
        qdq,
        layers,
        [
            LayerTime(("stem", "relu0"), 2.0),
            LayerTime((stored,), 1.0),
            LayerTime(("images/QuantizeLinear",), 0.5),
            LayerTime(("block2", "join", "relu2"), 4.0),
            LayerTime(("pool",), 0.25),
            LayerTime(("unknown",), 8.0),
            LayerTime((), 8.0),
        ],
    )
    assert times == {
        "stem": 2.5, "block1": 0.5, "join": 0.75, "block2": 4.0,
    }  # fmt: skip


def test_the_layer_with_the_most_to_gain_comes_first():
    slower = slower_in_int8({"a": 2.0, "b": 5.0, "c": 1.0}, {"a": 1.5, "b": 1.0, "c": 3.0}, "abc")
    assert [cost.name for cost in slower] == ["b", "a"]


@pytest.mark.parametrize("engine", [OpenVino(threads=1), OnnxRuntime(threads=1)])
@pytest.mark.parametrize("name", ["residual", "silu_concat"])
def test_an_engine_reports_times_of_layers_by_our_names(
    tiny: Any, quantize: Any, images: Any, engine: Any, name: str
):
    """Every layer has a time, in INT8 and in FP32."""
    model = tiny(name)
    quantized = quantize(model)
    products = {node.name for node in model.proto.graph.node if node.op_type in ("Conv", "Gemm")}
    for proto in (quantized.proto, model.proto):
        fixed = with_batch(proto, "images", 1)
        with engine.build(fixed) as session:
            before = session.run(images(1))
            times = session.layer_times(images(1), 3)
            np.testing.assert_array_equal(session.run(images(1))[0], before[0])
        of_layers = times_by_layer(fixed, products, times)
        assert set(of_layers) == products
        assert all(time >= 0 for time in of_layers.values())
        assert sum(of_layers.values()) <= sum(time.milliseconds for time in times) + 1e-9


def test_a_layer_that_only_warmed_up_has_no_time(tiny: Any, images: Any):
    content = with_batch(tiny("residual").proto, "images", 1).SerializeToString()
    providers = ["CPUExecutionProvider"]
    assert measure_layers(content, ort.SessionOptions(), providers, images(1), 0) == []

    lane = RareLane()
    times = profile_lane(SimpleNamespace(IProfiler=Profiler), lane, None, 3, {"often": ["stem"]})
    assert times == [LayerTime(("stem",), 0.5)]


class Profiler:
    """In place of TensorRT's."""


class RareLane:
    """Reports one layer at every inference, and one at the first only."""

    def report_to(self, profiler: Any) -> None:
        self.profiler, self.names = profiler, ["often", "once"]

    def run(self, batch: Any) -> None:
        if hasattr(self, "profiler"):
            for name in self.names:
                self.profiler.report_layer_time(name, 0.5)
            self.names = ["often"]


# --- on disk --------------------------------------------------------------------------------------


def test_a_latency_trail_comes_back_from_disk(search: Any, tmp_path: Path):
    made, _ = search(ONE)
    latency, best = made.search()
    trail = Trail(Budget(0.01), "Top-1", "8 images", (best,), best, True, 1.5, True, latency)
    read = Trail.from_bytes(trail.to_bytes(), tmp_path / "t.json")
    assert read == trail and isinstance(read.latency, LatencyTrail)
    assert trail.line().startswith("plan=auto, latency: 1 layer in float: 4.5 ms, faster by 18.2%")
