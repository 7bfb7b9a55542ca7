"""Which configuration is recommended: ties, speed, a limit for the loss, the best of many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.report.summary import Answer, summarize
from bench.results.settings import Settings
from bench.results.table import make_table

LIMIT = Settings(max_loss=0.02)  # 0.012 of FP32's 0.6


def only(table: pd.DataFrame) -> Answer:
    (answer,) = summarize(table).answers
    return answer


def test_tie_goes_to_the_faster(row):
    slow = row(calibrator="mse", delta=-0.010, noise=0.002, int8_latency_p50_ms=30.0)
    fast = row(plan="float_head", delta=-0.011, noise=0.002, int8_latency_p50_ms=20.0)
    answer = only(make_table([slow, fast]))
    assert answer.best.run_key == fast.run_key
    assert answer.least.run_key == slow.run_key
    assert [tie.run_key for tie in answer.ties] == [slow.run_key]
    assert (
        "1 other configuration is as accurate within the margin of 0.006. Decided by: speed"
        in answer.reason
    )


def test_what_is_only_not_proven_worse_is_no_tie(row):
    """Equal means surely within the margin: wide intervals that overlap are no equality."""
    slow = row(calibrator="mse", delta=-0.010, noise=0.01, int8_latency_p50_ms=30.0)
    fast = row(plan="float_head", delta=-0.011, noise=0.01, int8_latency_p50_ms=20.0)
    answer = only(make_table([slow, fast]))
    assert answer.best.run_key == slow.run_key
    assert "These images cannot decide whether 1 other configuration loses more" in answer.reason
    wide = summarize(make_table([slow, fast]), settings=Settings(margin=0.02)).answers[0]
    assert wide.best.run_key == fast.run_key


def test_a_difference_within_rounding_decides_nothing(row):
    slow = row(calibrator="mse", delta=-0.010, noise=0.01, int8_latency_p50_ms=30.0)
    fast = row(plan="float_head", delta=-0.011, noise=0.01, int8_latency_p50_ms=20.0)
    table = make_table([slow, replace(fast, rounding_sd=0.0005)])
    answer = only(table)
    assert answer.best.run_key == fast.run_key
    assert (
        "1 other configuration differs by no more than rounding (0.002). Decided by: speed"
        in answer.reason
    )


def test_shuffled_latencies_of_one_plan_recommend_the_same(row):
    """Its rows run the same layers: their latencies differ by chance, which decides nothing."""
    plans, rules = (
        {"all": 20.0, "float_head": 21.5, "float_first": 24.0},
        ("minmax", "mse", "legacy"),
    )
    rng, chosen = np.random.default_rng(0), []
    latencies = {plan: ms * rng.normal(1, 0.15, 6) for plan, ms in plans.items()}
    for _ in range(20):
        rows = []
        for plan, own in latencies.items():
            shuffled = iter(rng.permutation(own))
            rows += [
                row(calibrator=rule, calibration_size=size, plan=plan, noise=0.001,
                    delta=-0.001 * (1 + rules.index(rule)), int8_latency_p50_ms=next(shuffled))
                for rule in rules for size in (8, 64)
            ]  # fmt: skip
        answer = only(make_table(rows))
        chosen.append(answer.best.name)
        assert len({r.latency_ms for r in answer.results if r.plan_label == "all"}) == 1
    assert len(set(chosen)) == 1


def test_tie_of_equal_speed_goes_to_fewer_images(row):
    many = row(delta=-0.010, noise=0.002, calibration_size=64, int8_latency_p50_ms=20.0)
    few = row(delta=-0.011, noise=0.002, calibration_size=8, int8_latency_p50_ms=20.4)
    answer = only(make_table([many, few]))
    assert answer.best.run_key == few.run_key
    assert "Decided by: fewer calibration images" in answer.reason


def test_tie_in_all_goes_to_the_least_loss(row):
    worse = row(delta=-0.012, noise=0.002)
    better = row(calibrator="mse", delta=-0.010, noise=0.002)
    answer = only(make_table([worse, better]))
    assert answer.best.run_key == better.run_key
    assert "Decided by: the least loss" in answer.reason


def test_a_single_set_must_be_proven_better_than_several(row):
    lucky = row(calibrator="mse", delta=-0.010)
    several = [
        row(delta=delta, calibration_seed=s) for s, delta in enumerate((-0.011, -0.013, -0.012))
    ]
    answer = only(make_table([lucky, *several]))
    assert answer.best.run_key == several[0].run_key
    assert (answer.best.sets, answer.best.delta) == (3, pytest.approx(-0.012))
    better = row(calibrator="mse", delta=0.05)
    assert only(make_table([better, *several])).best.run_key == better.run_key


def test_the_best_of_many_has_a_wider_interval(row):
    alone = only(make_table([row(noise=0.004)])).best
    crowd = [row(noise=0.004, calibration_size=size) for size in range(1, 25)]
    best = only(make_table(crowd)).best
    assert alone.difference.ends == pytest.approx((-0.014, -0.006))
    # Nothing tells what 24 rows have in common: 1.57 times as wide (Bonferroni).
    assert best.difference.ends == pytest.approx((-0.0163, -0.0037), abs=0.0002)


def test_with_a_limit_the_fastest_that_surely_keeps_it_is_recommended(row):
    least = row(delta=-0.001, noise=0.002, int8_latency_p50_ms=30.0)
    fast = row(plan="float_head", delta=-0.008, noise=0.002, int8_latency_p50_ms=20.0)
    lost = row(plan="float_first", delta=-0.1, noise=0.002, int8_latency_p50_ms=5.0)
    summary = summarize(make_table([least, fast, lost]), settings=LIMIT)
    (answer,) = summary.answers
    assert answer.best.run_key == fast.run_key
    assert answer.budget == "It is proven to lose no more than 2 % of FP32."
    assert {key: own.fit for key, own in summary.standings.items()} == {
        least.run_key: "fits", fast.run_key: "fits", lost.run_key: "outside",
    }  # fmt: skip


def test_where_nothing_keeps_the_limit_nothing_is_fit_to_deploy(row):
    rows = [row(delta=-0.05, noise=0.002), row(calibrator="mse", delta=-0.1, noise=0.002)]
    summary = summarize(make_table(rows), settings=LIMIT)
    (answer,) = summary.answers
    assert answer.headline.startswith("Nothing here is fit to deploy. Least loss: minmax, 64")
    assert summary.best_keys == frozenset()
    assert "plan=float_head" in answer.advice[0]
    assert (
        "Every configuration is proven to lose more than 2 % of FP32. To try: plan=float_head"
        in answer.sentence
    )


def test_a_wide_interval_neither_keeps_a_limit_nor_breaks_it(row):
    (answer,) = summarize(make_table([row(delta=-0.005, noise=0.02)]), settings=LIMIT).answers
    assert answer.fits
    assert (
        answer.budget
        == "No configuration is proven to lose no more than 2 % of FP32: this one may lose more."
    )


def test_too_few_images_of_a_class_are_told(row):
    few = only(make_table([row(images_per_class=3.5)]))
    assert "Too few images for a 95 % interval: 3.5 per class on average" in few.scope
    assert "Too few" not in only(make_table([row(images_per_class=20.0)])).scope


@pytest.mark.parametrize(
    "doubt",
    [
        {"latency_note": "ran in float"},
        {"hardware": "another"},
        {"device": "another"},
        {"int8_latency_p50_ms": None},
    ],
)
def test_a_latency_in_doubt_does_not_decide(row, doubt):
    least = row(delta=-0.010, int8_latency_p50_ms=30.0)
    fast = row(**{"delta": -0.011, "int8_latency_p50_ms": 10.0, "plan": "float_head"} | doubt)
    answer = only(make_table([least, fast]))
    assert answer.best.run_key == least.run_key
    assert "speed" not in answer.reason


def test_speed_does_not_buy_a_loss_that_only_a_wide_interval_hides(row):
    least = row(delta=-0.01, noise=0.005, int8_latency_p50_ms=30.0)
    wild = row(plan="float_head", delta=-0.10, noise=0.12, int8_latency_p50_ms=10.0)
    answer = only(make_table([least, wild]))
    assert answer.best.run_key == least.run_key
    assert answer.ties == ()


def test_speed_does_not_buy_a_proven_loss(row):
    least = row(delta=-0.002, noise=0.009, int8_latency_p50_ms=30.0)
    proven = row(plan="float_head", delta=-0.010, noise=0.005, int8_latency_p50_ms=10.0)
    assert only(make_table([least, proven])).best.run_key == least.run_key


def test_difference_beyond_the_noise_of_both_is_no_tie(row):
    # The bare intervals overlap (-0.014..-0.006 and -0.021..-0.013), the difference is real.
    table = make_table([row(delta=-0.010), row(delta=-0.017, calibrator="mse")])
    assert only(table).ties == ()


def test_rows_without_an_interval_do_not_tie(row):
    bare = {"ci_low": None, "ci_high": None}
    table = make_table([row(delta=-0.01, **bare), row(delta=-0.02, calibrator="mse", **bare)])
    summary = summarize(table)
    assert summary.answers[0].ties == ()
    assert summary.answers[0].best.delta == -0.01
    assert any("without an interval" in warning for warning in summary.warnings)


def test_what_breaks_the_limit_is_not_recommended_for_its_speed(row):
    """Where nothing is proven to keep the limit, what is proven to break it is no candidate."""
    least = row(delta=-0.011, noise=0.002, int8_latency_p50_ms=30.0)
    fast = row(plan="float_head", delta=-0.017, noise=0.002, int8_latency_p50_ms=10.0)
    settings = Settings(margin=0.02, max_loss=0.02)
    (answer,) = summarize(make_table([least, fast]), settings=settings).answers
    assert answer.choice.standings[fast.run_key].tied
    assert answer.choice.standings[fast.run_key].fit == "outside"
    assert answer.best.run_key == least.run_key
