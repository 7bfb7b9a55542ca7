"""The choice among rules, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench.calibration.calibrator import Calibrator
from bench.calibration.entropy import Entropy, Entropy2
from bench.calibration.legacy import Legacy
from bench.calibration.minmax import MinMax
from bench.calibration.mse import Mse
from bench.calibration.native import NativeCalibrator
from bench.calibration.per_tensor import PerTensor
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError

RULES: dict[str, Calibrator] = {
    "minmax": MinMax(),
    "percentile": Percentile(),
    "percentile_99_9": Percentile(99.9),
    "percentile_99_999": Percentile(99.999),
    "entropy2": Entropy2(),
    "mse": Mse(),
}


@dataclass(frozen=True)
class Fixed:
    """A threshold that is given; counts how often it is asked for."""

    threshold: float
    asked: list[str]
    name: str = "fixed"
    params: str = ""

    def amax(self, snapshot: Snapshot) -> float:
        self.asked.append(snapshot.name)
        return self.threshold


def fixed(**thresholds: float) -> PerTensor:
    return PerTensor({name: Fixed(amax, []) for name, amax in thresholds.items()})


def look(values: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


def normal(count: int = 200_000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def squared_error(values: np.ndarray, amax: float) -> float:
    x, step = values.astype(np.float64), amax / 127
    return float(((np.clip(np.rint(x / step), -128, 127) * step - x) ** 2).sum())


TENSORS = {
    "normal": normal(),
    "outlier": np.append(normal(), np.float32(40)),
    "heavy tails": np.random.default_rng(1).standard_t(3, 200_000).astype(np.float32),
    "uniform": np.random.default_rng(2).random(200_000, np.float32),
    "after a ReLU": np.maximum(normal(), 0),
}


@pytest.mark.parametrize("values", TENSORS.values(), ids=TENSORS)
def test_the_chosen_threshold_has_the_least_error_of_the_values_themselves(
    values: np.ndarray,
) -> None:
    rule, snapshot = PerTensor(RULES), look(values)
    candidates = rule.candidates(snapshot)
    assert candidates == {name: one.amax(snapshot) for name, one in RULES.items()}
    chosen = rule.choose(snapshot)
    assert rule.amax(snapshot) == candidates[chosen]
    errors = {name: squared_error(values, amax) for name, amax in candidates.items()}
    assert errors[chosen] <= 1.005 * min(errors.values())


def test_another_tensor_takes_another_rule() -> None:
    rule = PerTensor({"minmax": MinMax(), "most": Percentile(98)})
    uniform = TENSORS["uniform"]
    assert rule.choose(look(uniform)) == "minmax"
    assert rule.choose(look(np.append(uniform, np.float32(2.5)))) == "most"


def test_of_equal_errors_the_threshold_that_clips_least_is_taken() -> None:
    ones = look(np.array([1.0], np.float32))  # on a level of both grids
    assert fixed(tight=1.0, wide=127.0).choose(ones) == "wide"
    assert fixed(wide=127.0, tight=1.0).choose(ones) == "wide"


def test_of_equal_thresholds_the_first_rule_is_named() -> None:
    snapshot = look(normal(1000))
    assert fixed(tight=0.1, one=3.0, other=3.0).choose(snapshot) == "one"


def test_of_zeros_and_of_nothing_the_threshold_is_zero() -> None:
    for values in (np.zeros(5, np.float32), np.empty(0, np.float32)):
        assert PerTensor(RULES).amax(look(values)) == 0
        assert PerTensor(RULES).choose(look(values)) == "minmax"


def test_thresholds_that_are_known_are_not_searched_again() -> None:
    asked: list[str] = []
    rule = PerTensor({"one": Fixed(1.0, asked), "other": Fixed(3.0, asked)})
    snapshot = look(normal(1000))
    assert rule.choose(snapshot, {"one": 1.0, "other": 3.0}) == "other"
    assert asked == []
    rule.amax(snapshot)
    assert len(asked) == 2


def test_its_parameters_are_those_of_every_rule() -> None:
    assert PerTensor(RULES).params == (
        "criterion=local; minmax; percentile: percentile=99.99; "
        "percentile_99_9: percentile percentile=99.9; "
        "percentile_99_999: percentile percentile=99.999; "
        "entropy2: bins=2048,levels=127,variant=tensorrt; mse: bins=2048,start_bin=128"
    )
    fewer: list[Mapping[str, Calibrator]] = [
        {"mse": Mse()}, {"mse": Mse(bins=1024)}, {"finer": Mse()}, {"mse": Mse(), "b": MinMax()}
    ]  # fmt: skip
    assert len({PerTensor(rules).params for rules in fewer}) == len(fewer)


def test_its_rules_do_not_change_with_what_they_were_made_of() -> None:
    rules: dict[str, Calibrator] = {"mse": Mse()}
    rule = PerTensor(rules)
    rules["minmax"] = MinMax()
    assert list(rule.rules) == ["mse"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "calibrator.rules has no rule to choose from. Keep at least one"),
        (
            {"mse": Mse(), "later": Entropy()},
            "calibrator.rules.later: entropy works after layer fusion, but per_tensor works before "
            "it. Drop it: ~calibrator.rules.later",
        ),
        ({"legacy": Legacy()}, "legacy works after layer fusion"),
        ({"trt": NativeCalibrator("minmax")}, "tensorrt_minmax runs inside TensorRT"),
        ({"again": PerTensor({"mse": Mse()})}, "per_tensor chooses among rules itself"),
    ],
)
def test_what_cannot_be_a_rule_is_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PerTensor(rules)
    assert message in str(caught.value)


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(ConfigError, match="criterion=best is unknown"):
        PerTensor(RULES, "best")
