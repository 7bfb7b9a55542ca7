"""Do 95 % intervals cover the truth? By simulation: see ``populations`` and ``coverage``.

Few trials, cheap settings and fixed seeds, and most of them for ``make test-all``; ``make
benchmark`` has the long one, and its table is results/reference/coverage.csv. The method promises a
coverage of at least 93 %. A simulation of few trials shows less by chance, so two standard errors
of a share of that many trials are allowed for: that is 88 % of 100 trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.evaluation.interval import (
    FEWEST_PER_CLASS,
    Uncertainty,
    half_samples,
    over_images,
    rule_of_three,
    with_sets,
)
from bench.evaluation.task import Score, compare
from tests.evaluation.interval_trials import Kept, Tally, coverage_of
from tests.evaluation.populations import Pictures, Population, Scenes, images_per_class

PROMISED = 0.93
NO_LOSS, LOSS, TOP1_LOSS = -0.04, 0.35, 0.25
"""Shifts of an average image's logits. The first makes up for what the jitter costs, the others
cost 0.1 of mAP and of Top-1."""
ROWS = 24


def surely_below(tally: Tally, trials: int) -> bool:
    """Whether intervals cover less than promised, beyond chance in that many trials."""
    return tally.coverage < PROMISED - 2 * math.sqrt(PROMISED * (1 - PROMISED) / trials)


def _slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def scenes(shift: float, rows: int = 1, n_classes: int = 8, rarity: float = 0.0) -> Scenes:
    return Scenes(3000, n_classes, [shift] * rows, rarity, jitter=0.3)


def pictures(shifts: Sequence[float]) -> Pictures:
    return Pictures(8000, shifts, jitter=0.3)


@pytest.fixture(scope="module")
def without_loss() -> Scenes:
    return scenes(NO_LOSS, ROWS, n_classes=4)


@pytest.fixture(scope="module")
def with_loss() -> Scenes:
    return scenes(LOSS, ROWS, n_classes=4)


def test_losses_are_what_these_tests_call_them(without_loss: Scenes, with_loss: Scenes) -> None:
    for population in (without_loss, pictures([NO_LOSS] * ROWS)):
        assert abs(population.truths.mean()) < 0.005
    for population in (with_loss, pictures([TOP1_LOSS] * ROWS)):
        assert population.truths.mean() == pytest.approx(-0.1, abs=0.01)


@pytest.mark.parametrize("n_images", [40, _slow(85), _slow(400)])
@pytest.mark.parametrize("shift", [NO_LOSS, TOP1_LOSS])
def test_top1_of_one_row_and_of_the_best_of_24(n_images: int, shift: float) -> None:
    trials = 60
    found = coverage_of(pictures([shift] * ROWS), n_images, trials, halves=100)
    assert not surely_below(found.one, trials)
    assert not surely_below(found.widened, trials)


@pytest.mark.parametrize(("n_images", "trials"), [(85, 100), _slow(400, 30)])
@pytest.mark.parametrize("shift", [_slow(NO_LOSS), LOSS])
def test_map_of_one_row(n_images: int, trials: int, shift: float) -> None:
    found = coverage_of(scenes(shift), n_images, trials, halves=50)
    assert found.images_per_class is not None and found.images_per_class > FEWEST_PER_CLASS
    assert not surely_below(found.one, trials)


@pytest.mark.parametrize("population", ["without_loss", _slow("with_loss")])
def test_map_of_the_best_of_24(population: str, request: pytest.FixtureRequest) -> None:
    trials = 25
    found = coverage_of(request.getfixturevalue(population), 40, trials, halves=50)
    assert found.images_per_class is not None and found.images_per_class > FEWEST_PER_CLASS
    assert not surely_below(found.one, trials)
    assert not surely_below(found.widened, trials)
    assert surely_below(found.naive, trials), "the interval of one row forgets the choice"


@pytest.mark.slow
def test_the_best_of_24_gains_nothing_where_there_is_nothing_to_gain() -> None:
    found = coverage_of(pictures([NO_LOSS] * ROWS), 400, 100, halves=100)
    assert found.naive.false_gain > 0.15
    assert found.widened.false_gain <= 0.025


@pytest.mark.slow
def test_many_rare_classes_are_declared_too_few_images() -> None:
    """They have to be: no interval sees the loss of classes that are not there."""
    rare = scenes(LOSS, n_classes=80, rarity=1.0)
    found = coverage_of(rare, 85, 60, halves=50)
    assert found.images_per_class is not None and found.images_per_class < FEWEST_PER_CLASS
    assert found.one.coverage < PROMISED


@pytest.mark.slow
def test_the_percentile_bootstrap_covers_less() -> None:
    """Average precision rises when an image stands twice."""
    trials, several = 80, scenes(LOSS, n_classes=20)
    found = coverage_of(several, 85, trials, halves=50, resamples=100)
    assert not surely_below(found.one, trials)
    assert surely_below(found.bootstrap, trials)
    assert found.one.coverage > found.bootstrap.coverage + 0.03


@pytest.mark.parametrize("spread", [_slow(0.05), 0.15])
@pytest.mark.parametrize("sets", [_slow(2), 3])
def test_calibration_sets_are_a_level_of_their_own(sets: int, spread: float) -> None:
    """Their standard deviation is 0.02 or 0.05, that of 400 images 0.015."""
    trials, drawn = 300, np.random.default_rng(0).normal(TOP1_LOSS, spread, 300)
    population, pool = pictures([float(s) for s in drawn]), [list(range(1, 301))]
    found = coverage_of(population, 400, trials, pools=pool, sets=sets, halves=100)
    assert not surely_below(found.one, trials)
    alone = coverage_of(population, 400, trials, pools=pool, halves=100)
    assert surely_below(alone.one, trials), "one set does not tell how far sets differ"


def test_of_one_level_alone_the_interval_is_students() -> None:
    images, values = Uncertainty(0.01, 0.0, 39), [0.1, 0.2, 0.6]
    assert with_sets(images, [0.3, 0.3, 0.3]) == images
    nothing = with_sets(Uncertainty(1e-9, 0.0, 39), values)
    assert nothing.freedom == pytest.approx(2)
    assert nothing.error == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
    assert with_sets(Uncertainty(1e6, 0.0, 39), values).freedom == pytest.approx(39)


@pytest.mark.parametrize("population", [scenes(LOSS), pictures([TOP1_LOSS])])
def test_the_trials_are_those_of_a_run(population: Population) -> None:
    """A run has a ``Score`` for each system, and ``compare``."""
    images = np.random.default_rng(0).choice(population.n_images, 40, replace=False)
    kept = Kept(population, images, with_all(40))
    result = kept.result(0, [1])
    fp32, int8 = (score(population, system, images) for system in (0, 1))
    interval = compare(fp32, int8)
    assert interval.estimate == pytest.approx(result.delta)
    assert interval.ends == pytest.approx(result.difference.ends)
    assert fp32.images_per_class == images_per_class(fp32.judged)


def with_all(n_images: int) -> np.ndarray:
    return np.concatenate([np.ones((1, n_images), np.int32), half_samples(n_images)])


def score(population: Population, system: int, images: np.ndarray) -> Score:
    judged = population.judged(system, images)
    if isinstance(judged, np.ndarray):
        labels = np.zeros(len(images), np.int64)
        return Score(float(judged.mean()), 0.0, judged, 1, labels)
    return Score(judged.map(), 0.0, judged, judged.positives.shape[1])


def test_no_image_that_differs_is_no_proof_of_no_difference() -> None:
    """Top-1 on 40 images, all alike: up to 3 in 43 may still differ."""
    known = over_images(0.0, np.zeros(600), 40, rule_of_three(40))
    assert known.interval(0.0).high == pytest.approx(3 / 42, rel=0.02)
