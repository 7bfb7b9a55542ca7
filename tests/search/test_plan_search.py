"""The search for a plan: on made-up losses it makes the trials that it should, and no others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli.compose import build_typed
from bench.diagnosis.ranking import Ranking
from bench.errors import ConfigError
from bench.quantization.auto_plan import AutoPlan
from bench.results.plan_search import Budget, Trail, Trial
from bench.sealed import DamagedError
from bench.search import plan_search
from bench.search.candidate import Candidate
from bench.search.plan_search import PlanSearch
from bench.search.take_back import needed
from tests.e2e.command import CUSTOM

Loss = Callable[[str, frozenset[str]], float]


def trial(in_float: Sequence[str] = (), share: float = 1.0, loss: float = 0.0) -> Trial:
    return Trial("calibrator=minmax", tuple(in_float), share, 0.8, 0.8 * (1 - loss), loss, 0.001)


# --- what is better -------------------------------------------------------------------------------


def test_within_a_loss_the_most_int8_is_best():
    request = Budget(max_loss=0.01)
    trials = [
        trial((), 1.0, 0.02), trial(("a",), 0.9, 0.005), trial(("b",), 0.8, 0.0),
        trial(("c",), 0.95, 0.0095),
    ]  # fmt: skip
    assert [one.meets(request) for one in trials] == [False, True, True, False]
    assert max(trials, key=lambda one: one.rank(request)) is trials[1]


def test_within_a_share_the_least_loss_is_best():
    request = Budget(min_int8_mac_share=0.9)
    trials = [trial((), 1.0, 0.02), trial(("a",), 0.9, 0.005), trial(("b",), 0.8, 0.0)]
    assert max(trials, key=lambda one: one.rank(request)) is trials[1]


def test_within_a_number_of_layers_the_least_loss_is_best():
    request = Budget(max_float_layers=1)
    trials = [
        trial((), 1.0, 0.02), trial(("a",), 0.9, 0.005), trial(("b",), 0.8, 0.001),
        trial(("a", "b"), 0.7, 0.0),
    ]  # fmt: skip
    assert [one.meets(request) for one in trials] == [True, True, True, False]
    assert max(trials, key=lambda one: one.rank(request)) is trials[2]
    assert str(request) == "1 layer in float"


def test_a_dropped_trial_is_within_no_budget_and_behind_the_others():
    request = Budget(max_loss=0.01)
    dropped = replace(trial(("a",), 0.9, 0.02), dropped_after=20)
    trials = [dropped, trial((), 1.0, 0.03)]
    assert not replace(dropped, loss=0.0).meets(request)
    assert max(trials, key=lambda one: one.rank(request)) is trials[1]
    later = replace(dropped, loss=0.05, dropped_after=40)
    assert max([dropped, later], key=lambda one: one.rank(request)) is later
    assert dropped.line().endswith(
        "loses 2.0% of FP32, standard error 0.1%, dropped after 20 images"
    )


def test_where_nothing_meets_the_request_the_least_loss_is_best():
    request = Budget(max_loss=0.001)
    trials = [trial((), 1.0, 0.02), trial(("a",), 0.9, 0.005)]
    assert max(trials, key=lambda one: one.rank(request)) is trials[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": 1.5}, "plan.max_loss=1.5 is not a share"),
        ({"max_loss": float("nan")}, "plan.max_loss=nan is not a share"),
        ({"max_float_layers": -1}, "plan.max_float_layers=-1 is below 0"),
        ({"images": 3}, "plan.images=3 is below 8"),
        ({"seconds": -1.0}, "plan.seconds=-1.0 is not possible"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        AutoPlan("auto", **options)


# --- the order of layers --------------------------------------------------------------------------


def test_layers_go_to_float_by_noise_for_their_work():
    ranking = Ranking({"a": 0.5, "b": 0.4, "c": 0.1}, {"a": 0.5, "b": 0.1, "c": 0.0})
    assert ranking.order == ["c", "b", "a"]
    assert ranking.nested() == [(), ("c",), ("c", "b"), ("c", "b", "a")]
    assert ranking.nested(0.5) == [(), ("c",), ("c", "b")]  # a would be 0.6 in all
    assert ranking.noise_with(["a"]) == pytest.approx(0.5)


def test_if_layers_count_the_noisiest_go_to_float_first():
    ranking = Ranking({"a": 0.5, "b": 0.4, "c": 0.1}, {"a": 0.5, "b": 0.1, "c": 0.0})
    assert ranking.nested(most_layers=2) == [(), ("a",), ("a", "b")]
    assert ranking.nested(0.4, most_layers=2) == [(), ("b",), ("b", "c")]  # a computes too much


# --- a search -------------------------------------------------------------------------------------


@pytest.fixture
def search(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Searches in which a layer's noise and what a trial loses are made up."""
    words = [word.replace("FILES", str(files)) for word in CUSTOM]
    typed = [*words, f"sweep.cache={tmp_path}", "calibration.size=4", "timing=off"]
    measured: list[tuple[str, frozenset[str]]] = []
    bounds: list[float] = []

    def make(loss: Loss, noise: Sequence[dict[str, float]], request: AutoPlan, **how: Any) -> Any:
        candidates = [
            Candidate((word,), build_typed([*typed, word, "plan=auto"]))
            for word in ("calibrator=minmax", "calibrator=mse")[: len(noise)]
        ]
        graph = candidates[0].run.graph
        whole = sum(graph.macs(name) for name in graph.compute)
        shares = {name: graph.macs(name) / whole for name in graph.compute}
        rankings = [Ranking(one, shares) for one in noise]
        monkeypatch.setattr(plan_search, "rank_layers", lambda *given: rankings)

        def measure(run: Any, label: str, in_float: tuple[str, ...], most_loss: float) -> Trial:
            bounds.append(most_loss)
            measured.append((label, frozenset(in_float)))
            lost = loss(label, frozenset(in_float))
            left = 1 - sum(shares[name] for name in in_float)
            return Trial(label, in_float, left, 0.8, 0.8 * (1 - lost), lost, 0.0)

        monkeypatch.setattr(plan_search, "_measure", measure)
        return PlanSearch(candidates, request, **how), measured, list(graph.compute)

    make.bounds = bounds  # type: ignore[attr-defined]
    return make


def test_the_fewest_layers_that_are_needed(search: Any):
    trails: list[Trail] = []
    noise = {"stem": 0.1, "fc": 0.2}
    found, measured, layers = search(
        lambda label, in_float: 0.0 if in_float else 0.5,
        [noise],
        AutoPlan("auto"),
        report=trails.append,
    )
    assert set(layers) >= set(noise), layers
    trail = found.run()
    assert trail.finished and trail.meets
    assert len(trail.best.float_nodes) == 1
    assert [one.trials[-1] for one in trails] == list(trail.trials)
    assert len(measured) == len(set(measured))  # nothing twice


def test_all_in_int8_is_enough_where_it_is(search: Any):
    found, measured, _ = search(
        lambda label, in_float: 0.0, [{"stem": 0.1, "fc": 0.2}], AutoPlan("auto")
    )
    assert found.run().best.float_nodes == ()
    assert measured == [("calibrator=minmax", frozenset())]


def test_another_calibrator_wins_if_it_needs_less(search: Any):
    noise = {"stem": 0.1, "fc": 0.2}
    found, _, _ = search(
        lambda label, in_float: 0.0 if in_float or label == "calibrator=mse" else 0.5,
        [noise, {name: 2 * value for name, value in noise.items()}],
        AutoPlan("auto"),
    )
    best = found.run().best
    assert (best.candidate, best.float_nodes) == ("calibrator=mse", ())


def test_a_trial_ends_early_that_loses_more_than_the_budget_or_than_the_best(search: Any):
    noise = {"stem": 0.1, "fc": 0.2}
    loss: Loss = lambda label, in_float: 0.02 if in_float else 0.05  # noqa: E731
    search(loss, [noise], AutoPlan("auto", max_loss=0.01))[0].run()
    assert set(search.bounds) == {0.01}
    search.bounds.clear()
    search(loss, [noise, noise], AutoPlan("auto", max_float_layers=1))[0].run()
    assert search.bounds[0] == math.inf
    assert set(search.bounds[1:]) == {0.02}


def test_if_all_trials_were_dropped_the_best_is_measured_on_all_images(
    search: Any, monkeypatch: pytest.MonkeyPatch
):
    def measure(run: Any, label: str, in_float: tuple[str, ...], most_loss: float) -> Trial:
        dropped = 24 if most_loss < math.inf else None
        return replace(trial(in_float, 0.9, 0.3 - 0.1 * len(in_float)), dropped_after=dropped)

    made, _, _ = search(lambda label, in_float: 0.0, [{"stem": 0.1, "fc": 0.2}], AutoPlan("auto"))
    monkeypatch.setattr(plan_search, "_measure", measure)
    trail = made.run()
    assert trail.best is not None and not trail.meets
    assert (len(trail.best.float_nodes), trail.best.dropped_after) == (1, None)
    assert sum(one.dropped_after is None for one in trail.trials) == 1


def test_a_search_that_is_late_ends_with_the_best_so_far(search: Any):
    found, measured, _ = search(
        lambda label, in_float: 0.5, [{"stem": 0.1, "fc": 0.2}],
        AutoPlan("auto", seconds=0), clock=iter(range(100)).__next__,
    )  # fmt: skip
    trail = found.run()
    assert len(measured) == 1
    assert trail.best is not None and not trail.meets


def test_a_search_that_was_stopped_goes_on(search: Any):
    def stop(trail: Trail) -> None:
        raise KeyboardInterrupt

    noise, request = {"stem": 0.1, "fc": 0.2}, AutoPlan("auto")
    loss: Loss = lambda label, in_float: 0.0 if in_float else 0.5  # noqa: E731
    first, measured, _ = search(loss, [noise], request, report=stop)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert len(measured) == 1
    again, measured, _ = search(loss, [noise], request)
    assert again.key == first.key
    assert again.run().meets
    assert len(measured) == len(set(measured))  # the first trial was stored


def test_a_search_that_was_stopped_ranks_once(search: Any, monkeypatch: pytest.MonkeyPatch):
    noise, request = {"stem": 0.1, "fc": 0.2}, AutoPlan("auto")
    found, _, _ = search(lambda label, in_float: 0.0, [noise], request)
    [ranking] = found.rankings()
    again, _, _ = search(lambda label, in_float: 0.0, [noise], request)
    monkeypatch.setattr(plan_search, "rank_layers", None)
    assert again.rankings() == [ranking]
    (path,) = again.candidates[0].run.cache.glob("ranking-*.json")
    path.write_text(path.read_text().replace("0.2", "0.3"))
    with pytest.raises(TypeError, match="not callable"):  # a damaged one is made again
        again.rankings()


# --- which of the layers are needed ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_layers_that_are_needed_are_found_in_few_trials(seed: int):
    rng = random.Random(seed)
    layers = [f"layer{number}" for number in range(rng.randint(1, 60))]
    wanted = set(rng.sample(layers, rng.randint(0, min(4, len(layers)))))
    tried: list[tuple[str, ...]] = []

    def enough(some: tuple[str, ...]) -> bool:
        tried.append(some)
        return wanted <= set(some)

    assert set(needed(layers, enough)) == wanted
    k, n = len(wanted), len(layers)
    assert len(tried) <= 1 + 2 * k + 2 * k * math.log2(max(n / max(k, 1), 1)) + 1


def test_of_layers_that_serve_alike_the_first_is_kept():
    assert needed("abcd", lambda some: bool(some)) == ("a",)


def test_where_all_are_needed_all_are_kept():
    assert needed("abcd", lambda some: len(some) == 4) == tuple("abcd")


# --- on disk --------------------------------------------------------------------------------------


def test_a_trail_comes_back_from_disk(tmp_path: Path):
    best = trial(("a",), 0.9)
    trail = Trail(Budget(0.01), "Top-1", "8 images", (trial(), best), best, True, 1.5, True)
    assert Trail.from_bytes(trail.to_bytes(), tmp_path / "t.json") == trail
    with pytest.raises(DamagedError):
        Trail.from_bytes(trail.to_bytes().replace(b"0.9", b"0.8"), tmp_path / "t.json")
    with pytest.raises(DamagedError, match="not a search"):
        Trail.from_bytes(b'{"trials": 3}', tmp_path / "t.json")
