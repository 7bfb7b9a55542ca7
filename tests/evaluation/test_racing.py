"""The test of a race: how often it drops what it should keep, and what it stores."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.evaluation.interval import HALVES
from bench.evaluation.judgement import save_judgement
from bench.evaluation.looks import Seen, load_looks, pack_looks
from bench.evaluation.matches import MatchTable
from bench.evaluation.racing import ALPHA, FEWEST_UNITS, Prefixes, most_ahead, seen
from bench.evaluation.task import Score
from tests.evaluation.populations import Pictures, Scenes, failing


def classified(correct: np.ndarray) -> Score:
    labels = np.zeros(len(correct), np.int64)
    return Score(float(correct.mean()), math.nan, correct, 1, labels)


def look_at(correct: np.ndarray) -> Seen:
    return seen(classified(correct), np.arange(len(correct)))


def test_a_prefix_is_the_same_for_every_run_and_part_of_the_next():
    prefixes = Prefixes.of(400, seed=3)
    assert prefixes == Prefixes.of(400, seed=3)
    assert prefixes.order != Prefixes.of(400, seed=4).order
    assert sorted(prefixes.order) == list(range(400))
    assert prefixes.looks == (25, 50, 75, 100, 150, 200)


@pytest.mark.parametrize("total", [1, 2, FEWEST_UNITS, 38])
def test_too_few_images_are_never_looked_at(total):
    assert Prefixes.of(total, seed=0).looks == ()


def test_the_level_allows_for_every_look_at_every_candidate():
    prefixes = Prefixes.of(400, seed=0)
    assert prefixes.level(24) == pytest.approx(1 - ALPHA / (24 * 6))
    assert Prefixes.of(10, seed=0).level(0) == pytest.approx(1 - ALPHA)


def test_more_images_and_a_lower_level_prove_more():
    rng = np.random.default_rng(0)
    leader = rng.random(400) < 0.9
    other = leader & (rng.random(400) < 0.9)
    ends = [most_ahead(look_at(other[:n]), look_at(leader[:n]), 400, 0.999) for n in (50, 100, 200)]
    assert ends == sorted(ends, reverse=True)
    half = look_at(other[:200]), look_at(leader[:200])
    assert most_ahead(*half, 400, 0.95) < most_ahead(*half, 400, 0.999)
    # On all images nothing is left to chance.
    known = most_ahead(look_at(other), look_at(leader), 400, 0.999)
    assert known == pytest.approx(other.mean() - leader.mean(), abs=1e-3)


def test_other_images_and_unknown_errors_prove_nothing():
    look = look_at(np.arange(100) % 3 > 0)
    assert most_ahead(look, replace(look, truth="other"), 400, 0.95) == math.inf
    unknown = replace(look, halves=np.full(HALVES, math.nan))
    assert most_ahead(unknown, look, 400, 0.95) == math.inf


def test_few_images_of_a_class_widen_the_interval():
    look = replace(look_at(np.arange(100) % 3 > 0), per_class=20.0)
    leader = look_at(np.arange(100) % 5 > 0)
    usual = most_ahead(look, leader, 400, 0.99)
    wide = most_ahead(replace(look, per_class=5.0), leader, 400, 0.99)
    difference = look.value - leader.value
    assert wide - difference == pytest.approx(2 * (usual - difference), rel=0.01)


def test_batches_are_drawn_as_a_whole():
    """Images of a batch that are alike tell no more than one of them."""
    rng = np.random.default_rng(1)
    leader, other = (rng.random(100) < share for share in (0.9, 0.7))
    fours = np.repeat(np.arange(100), 4)
    ones = np.arange(100)
    of_images = _ahead(other, leader, ones)
    assert _ahead(other[fours], leader[fours], fours) == pytest.approx(of_images)


def _ahead(other: np.ndarray, leader: np.ndarray, unit_of: np.ndarray) -> float:
    looks = (seen(classified(correct), unit_of) for correct in (other, leader))
    one, two = (replace(look, least_error=0.0) for look in looks)
    return most_ahead(one, two, 400, 0.99)


@pytest.mark.parametrize("share", [1 / 8, 1 / 4, 1 / 2])
def test_a_classifier_that_is_as_good_is_dropped_as_rarely_as_the_level_says(share):
    """The order of the images is all that is random: the truth is what all of them give."""
    population = Pictures(400, [0.25, 0.3], jitter=0.3, seed=5)
    first, second = (population.judged(system, np.arange(400)) for system in (1, 2))
    truth, count = first.mean() - second.mean(), round(400 * share)
    missed = 0
    for seed in range(200):
        part = np.sort(np.random.default_rng(seed).permutation(400)[:count])
        missed += most_ahead(look_at(first[part]), look_at(second[part]), 400, 0.95) < truth
    assert missed / 200 <= 0.097  # 5 %, and three standard errors


def test_so_is_a_detector():
    population = Scenes(240, 4, [0.1, 0.3], jitter=0.3, seed=2)

    def score(system: int, images: np.ndarray) -> Score:
        judged = population.judged(system, images)
        return Score(judged.map(), math.nan, judged, 4)

    everything = np.arange(240)
    truth = score(1, everything).value - score(2, everything).value
    missed = 0
    for seed in range(20):
        part = np.sort(np.random.default_rng(seed).permutation(240)[:60])
        looks = [seen(score(system, part), np.arange(60)) for system in (1, 2)]
        missed += most_ahead(looks[0], looks[1], 240, 0.95) < truth
    assert missed <= 4


def test_detectors_that_do_not_differ_yet_may_still_differ():
    """A leader that fails on a few images, of which the part has none, looks like the other one."""
    population = Scenes(400, 1, [0.0], jitter=0.0, seed=3)
    part, failed = np.arange(100), np.arange(400) >= 392

    def look(images: np.ndarray, fails: bool) -> Seen:
        table = population.judged(0, images)
        judged = failing(table, failed[images]) if fails else table
        assert isinstance(judged, MatchTable)
        return seen(Score(judged.map(), math.nan, judged, 1), np.arange(len(images)))

    assert most_ahead(look(part, fails=False), look(part, fails=True), 400, 0.95) == math.inf
    with_one = np.append(part, 399)
    assert most_ahead(look(with_one, fails=False), look(with_one, fails=True), 400, 0.95) < math.inf


def test_looks_are_read_as_they_were_stored(tmp_path: Path):
    classifier = look_at(np.arange(60) % 3 > 0)
    detector = replace(classifier, per_class=7.5, least_error=0.0, truth="t")
    content = io.BytesIO()
    save_judgement(content, pack_looks({"a": classifier, "b": detector}))
    stored = load_looks(content.getvalue(), tmp_path / "judged.npz")
    assert stored.keys() == {"a", "b"}
    assert (stored["a"].per_class, stored["b"].per_class) == (None, 7.5)
    assert (stored["b"].units, stored["b"].truth, stored["b"].least_error) == (60, "t", 0.0)
    np.testing.assert_array_equal(stored["a"].halves, classifier.halves)
    assert stored["a"].value == classifier.value
