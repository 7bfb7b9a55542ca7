"""Thresholds are searched once, and the rule behind each range is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bench.calibration.calibrator import SILENT_AMAX
from bench.calibration.minmax import MinMax
from bench.calibration.per_tensor import PerTensor
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.cli.compose import build_run
from bench.results.histograms import HistogramStore
from bench.run.ranges import find_run_ranges, store_reasons
from bench.run.shared import Shared
from bench.run.thresholds import ThresholdSearch
from tests.composing import composed
from tests.e2e.command import CUSTOM


@dataclass(frozen=True)
class Counting:
    """Half of the maximum; notes which tensors it was asked for."""

    asked: list[str] = field(default_factory=list)
    name: str = "half"
    params: str = ""

    def amax(self, snapshot: Snapshot) -> float:
        self.asked.append(snapshot.name)
        return snapshot.amax / 2


def look(name: str, *values: float) -> Snapshot:
    statistics = TensorStatistics(name)
    statistics.update(np.array(values, np.float32))
    return statistics.snapshot()


SNAPSHOTS = {"a": look("a", 1, -2, 0.3), "zeros": look("zeros", 0, 0)}


def test_a_rule_is_searched_once_alone_and_among_others() -> None:
    half, search = Counting(), ThresholdSearch(Shared(), "key")
    alone = search.find(half, SNAPSHOTS)
    assert alone.amax == {"a": 1.0, "zeros": SILENT_AMAX}
    assert alone.rules == {}
    chooses = PerTensor({"half": half, "minmax": MinMax()})
    for _ in range(2):
        chosen = search.find(chooses, SNAPSHOTS)
        assert chosen.amax == {"a": 2.0, "zeros": SILENT_AMAX}
        assert chosen.rules == {"a": "minmax"}  # of zeros none is better
        assert chosen.seconds >= alone.seconds > 0
    assert half.asked == ["a"]


def test_another_calibration_set_has_thresholds_of_its_own() -> None:
    half, shared = Counting(), Shared()
    for key in ("one", "other", "one"):
        ThresholdSearch(shared, key).find(half, {"a": SNAPSHOTS["a"]})
    assert half.asked == ["a", "a"]


def words(folder: Path, *more: str) -> list[str]:
    given = [word.replace("FILES", str(folder)) for word in CUSTOM]
    return [*given, "calibrator=per_tensor", "calibration.size=4", *more]


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
def test_a_run_stores_the_rule_of_each_range_beside_it(
    placement: str, files: Path, tmp_path: Path
) -> None:
    cache = f"sweep.cache={tmp_path}/cache"
    run = build_run(composed(*words(files, f"placement={placement}", cache)))
    ranges = find_run_ranges(run)
    assert ranges.rules.keys() == ranges.ranges.keys()
    snapshots = {one.name: one for one in ranges.calibration.snapshots}
    assert isinstance(run.calibrator, PerTensor)
    for tensor, rule in ranges.rules.items():
        sources = [snapshots[source] for source in ranges.points.sources[tensor]]
        assert ranges.amax[tensor] in [
            run.calibrator.candidates(source)[rule] for source in sources
        ]

    store_reasons(run, tmp_path / "out", ranges)
    store = HistogramStore(tmp_path / "out")
    assert store.rules(run.key) == ranges.rules
    assert store.ranges(run.key) == pytest.approx(ranges.amax)
    (path,) = (tmp_path / "out" / "ranges").glob("*.rules.json")
    assert json.loads(path.read_text()) == ranges.rules


def test_a_declared_range_has_no_rule(files: Path, tmp_path: Path) -> None:
    cache = f"sweep.cache={tmp_path}/cache"
    run = build_run(composed(*words(files, "input_range=declared", cache)))
    ranges = find_run_ranges(run)
    assert ranges.ranges.keys() - ranges.rules.keys() == {run.model.network.input_name}


def test_the_rules_are_part_of_the_run_s_key(files: Path) -> None:
    fewer = ["~calibrator.rules.mse"]
    other = ["calibrator.rules.mse.bins=1024"]
    keys = {build_run(composed(*words(files, *more))).key for more in ([], fewer, other)}
    assert len(keys) == 3


def test_a_calibrator_of_one_rule_stores_none(files: Path, tmp_path: Path) -> None:
    run = build_run(composed(*words(files, "calibrator=mse", f"sweep.cache={tmp_path}/cache")))
    store_reasons(run, tmp_path / "out", find_run_ranges(run))
    assert HistogramStore(tmp_path / "out").rules(run.key) == {}
    assert not list((tmp_path / "out" / "ranges").glob("*.rules.json"))
