"""How large an effect is, and how sure: quantities, Holm's correction, stored predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.claims.claim import Criterion
from bench.claims.effect import BASIS_BOUNDED, BASIS_PAIRED, ratio_effect
from bench.claims.judgements import Judgements
from bench.claims.select import Case
from bench.claims.verdict import holm
from bench.evaluation.bootstrap import map_replicates, mean_replicates
from bench.evaluation.interval import half_samples, over_images, rule_of_three
from bench.evaluation.judgement import (
    count_images,
    load_resampled,
    pack_judgement,
    save_judgement,
    truth_of,
)
from bench.evaluation.matches import MatchTable
from tests.claims.made import pair, verdict
from tests.report.conftest import make_row

# Quantities


def test_relative_and_restored():
    relative = verdict(pair(0.06), test=Criterion("relative_difference"))
    assert relative.effect == pytest.approx(0.1)  # of FP32's 0.6
    restored = verdict(pair(0.03), test=Criterion("restored", threshold=0.5))
    assert restored.effect == pytest.approx(0.75)  # 0.03 of the 0.04 that the second row loses
    assert verdict(pair(0.0, noise=0.1), test=Criterion("restored")).verdict == "not measured"


def test_single_rows_against_fp32():
    rows = [make_row(delta=-0.006, noise=0.001), make_row(calibrator="mse", delta=-0.3)]
    own = {"first": {}, "second": {}, "where": {"calibrator": "minmax"}}
    level = Criterion("relative_change", threshold=-0.02)
    assert verdict(rows, test=level, **own).verdict == "supported on this model"
    kept = verdict(rows, test=Criterion("kept", "below", 0.05), **own)
    assert (kept.verdict, kept.effect) == ("refuted on this model", pytest.approx(0.99))
    nothing = [make_row(delta=-0.6, noise=0.1)]
    assert (
        verdict(nothing, test=Criterion("kept", "below", 0.05), **own).verdict
        == "supported on this model"
    )


def test_timings_are_compared_as_a_ratio():
    rows = [
        row
        for size in range(1, 8)
        for row in (
            make_row(calibrator="minmax", calibration_size=size, threshold_s=0.1),
            make_row(calibrator="entropy2", calibration_size=size, threshold_s=1.0 + size),
        )
    ]
    slow = {"first": {"calibrator": "entropy2"}, "second": {"calibrator": "minmax"}}
    found = verdict(rows, test=Criterion("ratio", threshold=10, columns=("threshold_s",)), **slow)
    assert found.verdict == "supported on this model"
    assert (found.effect, found.ci_low, found.ci_high) == pytest.approx((50, 20, 80))
    both = Criterion("ratio", threshold=10, columns=("collect_s", "threshold_s"))
    assert (
        verdict(rows, test=both, **slow).verdict == "refuted on this model"
    )  # 3 s of collecting dominate
    one = verdict(rows[:2], test=both, **slow)
    assert (one.verdict, one.ci_low) == ("undecided", None)


def test_a_ratio_lies_in_its_interval_beside_models_with_a_single_pair():
    """What has no interval of its own moves the ratio no more than the interval."""
    rows = [
        make_row(model=model, calibrator=calibrator, calibration_size=size, threshold_s=seconds)
        for model, sizes, slower in [("a", (8, 64), 20.0), ("b", (8,), 90.0), ("c", (8,), 95.0)]
        for size in sizes
        for calibrator, seconds in [("minmax", 1.0), ("entropy2", slower + size / 64)]
    ]
    slow = {"first": {"calibrator": "entropy2"}, "second": {"calibrator": "minmax"}}
    found = verdict(rows, test=Criterion("ratio", threshold=10, columns=("threshold_s",)), **slow)
    assert found.ci_low is not None and found.ci_high is not None
    assert found.ci_low <= found.effect_low < found.ci_high
    assert found.verdict == "supported in part" and found.effect is None


def test_order_statistics_leave_out_no_more_than_five_per_cent():
    def cases(count: int) -> list[Case]:
        return [
            Case(({"threshold_s": float(i + 1)},), ({"threshold_s": 1.0},), {})
            for i in range(count)
        ]

    # Tables of the sign test: of 9 the second to the eighth, of 20 the sixth to the fifteenth.
    for count, low, high in ((5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15)):
        effect = ratio_effect(cases(count), ["threshold_s"])
        assert effect.interval.ends == (low, high)


def test_timings_of_two_machines_make_no_pair():
    rows = pair(0.2)
    rows[1] = make_row(calibrator="entropy2", hardware="another machine")
    assert verdict(rows, test=Criterion("ratio", columns=("collect_s",))).verdict == "not measured"


def test_the_winner_turns_only_if_both_leads_are_proven():
    winner = Criterion("winner", over="plan")
    turns = verdict(pair(0.1, plan="all") + pair(-0.2, plan="float_head"), test=winner)
    assert (turns.verdict, turns.effect) == ("supported on this model", pytest.approx(0.1))
    same = verdict(pair(0.1, plan="all") + pair(0.2, plan="float_head"), test=winner)
    assert (same.verdict, same.effect) == ("refuted on this model", pytest.approx(-0.1))
    tie = verdict(pair(0.1, plan="all") + pair(-0.001, plan="float_head"), test=winner)
    assert tie.verdict == "undecided"
    assert verdict(pair(0.1, plan="all"), test=winner).verdict == "not measured"


# Holm


@pytest.mark.parametrize("count", [1, 3, 10])
def test_holm_against_its_definition(count):
    p_values = np.random.default_rng(count).random(count).tolist()
    ranked = sorted(p_values)
    expected = [
        max(min(1.0, (count - i) * ranked[i]) for i in range(ranked.index(p) + 1)) for p in p_values
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_takes_back_what_one_group_of_many_shows_by_chance():
    # Half an interval of 0.0098 beside a lead of 0.01: p is 0.046 before the correction.
    close = pair(0.01, noise=0.0098 / np.sqrt(2), plan="all")
    assert verdict(close).verdict == "supported on this model"
    others = [row for i in range(4) for row in pair(0.0, plan=f"plan {i}")]
    corrected = verdict(close + others)
    assert corrected.verdict == "undecided"
    assert corrected.groups[0].ci_low > 0
    assert corrected.groups[0].p_value > 0.05


# Stored predictions


def detections(hits: int, n_images: int = 40) -> MatchTable:
    """One box to find in each image, found in the first ``hits``."""
    hit = np.where(np.arange(n_images) < hits, 1023, 0).astype(np.uint16)
    score = np.linspace(0.9, 0.1, n_images, dtype=np.float32)
    return MatchTable(
        np.arange(n_images, dtype=np.int32), score, hit, np.zeros(n_images, np.uint16),
        np.array([0, n_images]), np.ones((n_images, 1), np.int32),
    )  # fmt: skip


def keep(folder: Path, run_key: str, judged: Any) -> None:
    path = folder / "judged" / f"{run_key}.npz"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        halves = halves_of(judged)
        least = 0.0 if isinstance(judged, MatchTable) else rule_of_three(len(judged))
        save_judgement(file, pack_judgement(judged, halves, np.full_like(halves, 0.6), least))


def halves_of(judged):
    if isinstance(judged, MatchTable):
        return map_replicates(judged, half_samples(judged.n_images))
    return mean_replicates(judged, half_samples(len(judged)))


def test_two_identical_detectors_are_a_tie_without_width(tmp_path):
    rows = pair(0.0)
    for row in rows:
        keep(tmp_path, row.run_key, detections(20))
    found = verdict(rows, judgements=Judgements(tmp_path))
    assert (found.verdict, found.effect, found.ci_low, found.ci_high) == ("undecided", 0, 0, 0)
    assert found.text.startswith("A tie, identical")
    assert found.groups[0].basis == BASIS_PAIRED


def test_what_no_image_shows_of_two_classifiers_may_still_happen(tmp_path):
    rows = pair(0.0)
    for row in rows:
        keep(tmp_path, row.run_key, np.arange(400) % 3 > 0)
    found = verdict(rows, judgements=Judgements(tmp_path))
    assert (found.verdict, found.effect) == ("undecided", 0)
    assert found.ci_high == pytest.approx(3 / 400, rel=0.03)  # the rule of three
    assert found.ci_low == -found.ci_high


def test_stored_predictions_give_a_tighter_interval_than_the_rows_own(tmp_path):
    better, worse = np.arange(200) % 10 > 0, np.arange(200) % 10 > 1
    lead = float(better.mean() - worse.mean())
    rows = pair(lead, noise=0.08)
    bounded = verdict(rows)
    for row, judged in zip(rows, (better, worse), strict=True):
        keep(tmp_path, row.run_key, judged)
    paired = verdict(rows, judgements=Judgements(tmp_path))
    assert (bounded.verdict, paired.verdict) == ("undecided", "supported on this model")
    assert bounded.groups[0].basis == BASIS_BOUNDED
    assert "intervals of single rows" in bounded.text
    assert paired.effect == pytest.approx(lead)
    assert paired.ci_high - paired.ci_low < bounded.ci_high - bounded.ci_low
    difference = halves_of(better) - halves_of(worse)
    expected = over_images(lead, difference, 200, rule_of_three(200)).interval(lead)
    assert (paired.ci_low, paired.ci_high) == pytest.approx((expected.low, expected.high))


def test_predictions_about_another_truth_are_not_paired(tmp_path):
    rows = pair(0.2)
    keep(tmp_path, rows[0].run_key, detections(20, 40))
    keep(tmp_path, rows[1].run_key, detections(20, 41))
    assert verdict(rows, judgements=Judgements(tmp_path)).groups[0].basis == BASIS_BOUNDED


def test_rows_of_another_fp32_are_compared_by_what_each_loses(tmp_path):
    rows = pair(0.2)
    rows[1] = make_row(calibrator="entropy2", fp32=0.5, int8=0.3, delta=-0.2)
    for row in rows:
        keep(tmp_path, row.run_key, detections(20))
    found = verdict(rows, judgements=Judgements(tmp_path))
    assert (found.effect, found.groups[0].basis) == (pytest.approx(0.19), BASIS_BOUNDED)


def test_a_judgement_from_before_half_samples_is_not_read(tmp_path):
    """A folder of an earlier version still has a report: with the rows' own intervals."""
    rows = pair(0.2)
    (tmp_path / "judged").mkdir()
    for row in rows:
        with (tmp_path / "judged" / f"{row.run_key}.npz").open("wb") as file:
            np.savez(file, replicates=np.zeros(1000), truth=np.array("x"))
    assert verdict(rows, judgements=Judgements(tmp_path)).groups[0].basis == BASIS_BOUNDED


def test_a_set_that_only_one_of_several_firsts_has_joins_its_others():
    """What tells several firsts apart names them on every calibration set."""
    about = {"first": {"calibration_pad": ["0", "noise"]}, "second": {"calibration_pad": "same"}}
    rows = [make_row(calibration_pad=pad) for pad in ("0", "noise", "same")]
    rows += [make_row(calibration_pad=pad, calibration_seed=1) for pad in ("noise", "same")]
    found = verdict(rows, **about)
    assert {group.setting["calibration_pad"]: group.sets for group in found.groups} == {
        "0": 1, "noise": 2,
    }  # fmt: skip


def test_calibration_sets_are_one_group_whose_interval_covers_others(tmp_path):
    """Each set alone is significant, one against the others: together they decide nothing."""
    alone = [verdict(pair(lead)) for lead in (0.5, -0.3, -0.3)]
    assert [one.verdict.split()[0] for one in alone] == ["supported", "refuted", "refuted"]
    rows = [
        row for seed, lead in enumerate((0.5, -0.3, -0.3))
        for row in pair(lead, calibration_seed=seed)
    ]  # fmt: skip
    found = verdict(rows)
    assert (found.verdict, len(found.groups), found.groups[0].sets) == ("undecided", 1, 3)
    assert found.effect == pytest.approx((0.5 - 0.3 - 0.3) / 3)
    assert found.ci_low < -0.5 and found.ci_high > 0.5  # two degrees of freedom
    assert "3 calibration sets each" in found.text
    assert "It varies with the calibration set" in found.text
    assert "on both sides of 0; the widest range is -0.300 to +0.500" in found.text
    assert "the effect of another calibration set is not known" in alone[0].text


@pytest.mark.parametrize("judged", [detections(7), np.arange(9) > 2])
def test_the_half_samples_of_a_judgement_come_back(tmp_path, judged):
    keep(tmp_path, "key", judged)
    path = tmp_path / "judged" / "key.npz"
    found = load_resampled(path.read_bytes(), path)
    assert found is not None
    np.testing.assert_array_equal(found.halves, halves_of(judged))
    np.testing.assert_array_equal(found.fp32, np.full_like(halves_of(judged), 0.6))
    assert (found.truth, found.n_images) == (truth_of(judged), count_images(judged))


def test_a_judgement_of_an_earlier_version_is_read(tmp_path):
    """Its arrays stood beside those of every single detection."""
    halves, path = np.linspace(0, 1, 600), tmp_path / "key.npz"
    np.savez_compressed(
        path, halves=halves, fp32_halves=halves + 1, truth=np.array("t"), n_images=np.array(9),
        least_error=np.array(0.1), correct=np.ones(9, np.bool_),
    )  # fmt: skip
    found = load_resampled(path.read_bytes(), path)
    assert found is not None
    np.testing.assert_array_equal(found.fp32, found.halves + 1)
    assert (found.truth, found.n_images, found.least_error) == ("t", 9, 0.1)


def test_a_broken_judgement_is_told_and_the_rows_intervals_are_taken(tmp_path, capsys):
    (tmp_path / "judged").mkdir()
    rows = pair(0.2)
    (tmp_path / "judged" / f"{rows[0].run_key}.npz").write_bytes(b"no zip")
    assert verdict(rows, judgements=Judgements(tmp_path)) == verdict(rows)
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no judged predictions" in line
