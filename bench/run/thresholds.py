"""The threshold of each tensor, computed once for all runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.calibration.calibrator import Calibrator, find_ranges, is_silent
from bench.calibration.per_tensor import PerTensor
from bench.calibration.statistics import Snapshot
from bench.run.shared import Shared
from bench.timing import stopwatch

MOST = 32
"""Rules whose thresholds are held at a time, each on one calibration set."""


@dataclass(frozen=True)
class Thresholds:
    """``amax`` of each tensor, in its unit, and the ``seconds`` that searching them takes.

    ``rules`` has the name of the rule that each tensor took, if the calibrator chooses one.
    """

    amax: Mapping[str, float]
    rules: Mapping[str, str]
    seconds: float


class _Threshold(NamedTuple):
    amax: float
    seconds: float
    rule: str = ""


class ThresholdSearch:
    """The thresholds on one calibration set, ``statistics_key``, whatever the calibrator and plan.

    A tensor's threshold is the same under every plan, and a rule's the same alone and where a
    calibrator chooses among several. So the runs of a sweep search each once; what it took counts
    to every run that needs it.
    """

    def __init__(self, shared: Shared, statistics_key: str) -> None:
        self._shared = shared
        self.key = statistics_key

    def find(
        self,
        calibrator: Calibrator,
        snapshots: Mapping[str, Snapshot],
        chosen: Mapping[str, str] | None = None,
    ) -> Thresholds:
        """The thresholds of these tensors, by name. ``chosen`` names the rules of some, of a
        calibrator that has several."""
        rules = chosen or {}
        searched = {
            name: self._choose(calibrator, snapshot, rules[name])
            if isinstance(calibrator, PerTensor) and name in rules and not is_silent(snapshot)
            else self._one(calibrator, snapshot)
            for name, snapshot in snapshots.items()
        }
        return Thresholds(
            {name: one.amax for name, one in searched.items()},
            {name: one.rule for name, one in searched.items() if one.rule},
            sum(one.seconds for one in searched.values()),
        )

    def _one(self, calibrator: Calibrator, snapshot: Snapshot) -> _Threshold:
        known: dict[str, _Threshold] = self._shared.once(
            "thresholds", (calibrator.name, calibrator.params, self.key), dict, MOST
        )
        if snapshot.name not in known:
            known[snapshot.name] = self._search(calibrator, snapshot)
        return known[snapshot.name]

    def _search(self, calibrator: Calibrator, snapshot: Snapshot) -> _Threshold:
        if isinstance(calibrator, PerTensor) and not is_silent(snapshot):
            return self._choose(calibrator, snapshot)
        with stopwatch() as watch:
            ranges = find_ranges(calibrator, [snapshot])
        return _Threshold(ranges[snapshot.name], watch.seconds)

    def _choose(self, calibrator: PerTensor, snapshot: Snapshot, rule: str = "") -> _Threshold:
        """By the ``rule`` that was chosen already, or by the one that the calibrator chooses."""
        tried = {name: self._one(rule, snapshot) for name, rule in calibrator.rules.items()}
        with stopwatch() as watch:
            amax = {name: one.amax for name, one in tried.items()}
            rule = rule or calibrator.choose(snapshot, amax)
        seconds = watch.seconds + sum(one.seconds for one in tried.values())
        return _Threshold(tried[rule].amax, seconds, rule)
