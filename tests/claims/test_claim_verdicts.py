"""Which rows a claim takes, and what verdict follows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bench.claims.claim import Criterion, load_claims
from bench.claims.select import find_cases, measured_rows
from bench.claims.verdict import judge
from bench.results.table import make_table, read_table
from tests.claims.made import NOTHING_KEPT, pair, verdict
from tests.report.conftest import make_row, make_skip

# Verdicts


def test_supported_where_every_group_is_on_the_claims_side():
    found = verdict(pair(0.2, plan="all") + pair(0.1, plan="float_head"))
    assert found.verdict == "supported on this model"
    assert found.effect is None  # two configurations on the same images have no mean
    assert (found.effect_low, found.effect_high) == pytest.approx((0.1, 0.2))
    assert 0 < found.ci_low < 0.1 and found.ci_high > 0.2
    assert len(found.groups) == 2
    assert "Holm" in found.text and "in 2 configurations of 1 model" in found.text
    assert "Scope: yolov8n on 400 images of shapes, 1 calibration set each" in found.text


def test_a_verdict_says_of_how_many_models():
    found = verdict(pair(0.2) + pair(0.1, model="yolox_nano", model_sha256="b"))
    assert found.verdict == "supported on 2 models"
    assert "in 2 configurations of 2 models" in found.text


def test_that_something_can_happen_is_supported_once_and_refuted_never():
    lost = Criterion("kept", "below", 0.05)
    about = {"test": lost, "first": {}, "second": {}, "exists": True}
    never = verdict([make_row(delta=-0.01)], **about)
    assert never.verdict == "never seen here"
    assert "does not refute that it can happen" in never.text
    seen = verdict([make_row(delta=-0.01), make_row(delta=-0.6, plan="float_head")], **about)
    assert seen.verdict == "supported on this model"
    assert "Seen in 1 of 2 configurations of 1 model (float_head)" in seen.text


def test_refuted_where_every_group_is_on_the_other_side():
    found = verdict(pair(-0.2, plan="all") + pair(-0.1, plan="float_head"))
    assert found.verdict == "refuted on this model"
    assert found.ci_high < 0


def test_refuted_where_the_interval_excludes_the_claimed_size():
    found = verdict(pair(0.02), test=Criterion("difference", threshold=0.1))
    assert (found.verdict, found.effect) == ("refuted on this model", pytest.approx(0.02))


def test_a_claim_that_something_is_small():
    small = Criterion("difference", "below", 0.03)
    assert verdict(pair(0.002), test=small).verdict == "supported on this model"
    assert verdict(pair(0.2), test=small).verdict == "refuted on this model"
    assert verdict(pair(0.03), test=small).verdict == "undecided"


@pytest.mark.parametrize(
    ("axis", "values", "told"),
    [
        ("plan", ("all", "float_head"), "plan"),
        ("model", ("yolov8n", "yolox_nano"), "model"),
        ("calibration_size", (8, 64), "size"),
    ],
)
def test_depends_names_the_axis_that_splits_the_verdicts(axis, values, told):
    found = verdict(pair(0.2, **{axis: values[0]}) + pair(-0.2, **{axis: values[1]}))
    assert found.verdict == f"depends on {told}"
    assert f"Supported in 1 of 2 ({values[0]}); refuted in 1 of 2 ({values[1]})" in found.text


def test_depends_on_the_one_axis_of_several_that_explains_it():
    rows = [
        row
        for plan, size in itertools.product(("all", "float_head"), (8, 64))
        for row in pair(0.2 if plan == "all" else -0.2, plan=plan, calibration_size=size)
    ]
    assert verdict(rows).verdict == "depends on plan"


def test_depends_on_two_axes_where_only_both_explain_it():
    rows = [
        row
        for plan, size in itertools.product(("all", "float_head"), (8, 64))
        for row in pair(0.2 if (plan == "all") == (size == 8) else -0.2, plan=plan,
                        calibration_size=size)
    ]  # fmt: skip
    assert verdict(rows).verdict == "depends on size and plan"


def test_depends_names_an_option_of_the_dataset_rather_than_a_hash():
    night = {"dataset_options": "validation_domain=night", "dataset_fingerprint": "night"}
    found = verdict(pair(0.2) + pair(-0.2, **night))
    assert found.verdict == "depends on dataset.validation_domain"
    assert "(default); refuted in 1 of 2 (night)" in found.text


def test_depends_says_so_where_two_axes_do_not_explain_it():
    rows = [
        row
        for plan, size, batch in itertools.product(("all", "float_head"), (8, 64), (1, 2))
        for row in pair(
            0.2 if (plan, size, batch) == ("all", 8, 1) else -0.2,
            plan=plan, calibration_size=size, batch_size=batch,
        )
    ]  # fmt: skip
    assert verdict(rows).verdict.endswith("and others")


def test_what_includes_zero_is_undecided_and_no_tie():
    found = verdict(pair(0.001, noise=0.01))
    assert found.verdict == "undecided"
    assert "the interval includes 0" in found.text and "tie" not in found.text


def test_what_is_undecided_beside_support_is_folded_into_the_text():
    found = verdict(pair(0.2, plan="all") + pair(0.0, plan="float_head"))
    assert found.verdict == "supported in part"  # nothing speaks against it: it depends on nothing
    assert "undecided (the interval includes 0" in found.text and "(float_head)" in found.text


def test_depends_names_the_axis_of_what_opposes_whatever_is_undecided():
    """Undecided groups say nothing, so that they must not draw the blame to another axis."""
    night = {"dataset_options": "domain=night", "dataset_fingerprint": "night"}
    rows = [
        *pair(0.2, plan="all"), *pair(0.2, plan="float_head"),
        *pair(0.0, noise=0.1, plan="all", **night),
        *pair(0.0, noise=0.1, plan="float_head", **night),
        *pair(-0.2, placement="implicit", plan="all"),
    ]  # fmt: skip
    assert verdict(rows).verdict == "depends on placement"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [make_row(calibrator="minmax")],
        [make_row(calibrator="minmax"), make_skip(calibrator="entropy2")],
        [make_row(calibrator="minmax"), make_row(calibrator="entropy2", plan="float_head")],
        [make_row(calibrator="minmax"), make_row(calibrator="entropy2", dataset_fingerprint="f2")],
    ],
)
def test_not_measured_where_no_two_rows_differ_in_nothing_else(rows):
    found = verdict(rows)
    assert (found.verdict, found.effect_low, found.rows) == ("not measured", None, ())
    assert found.groups == ()
    assert "int8bench sweep calibrator=minmax,entropy2" in found.text


def test_a_row_without_an_interval_decides_nothing():
    bare = {"ci_low": None, "ci_high": None}
    found = verdict(pair(0.2, **bare))
    assert found.verdict == "undecided"
    assert (found.ci_low, found.ci_high) == (None, None)
    both = verdict(pair(0.2, plan="all") + pair(0.2, plan="float_head", **bare))
    assert both.verdict == "supported in part"
    assert "Left out: 1 without an interval" in both.text


# Selection


def test_options_of_the_dataset_can_be_what_a_claim_is_about():
    def row(domain: str, delta: float) -> Any:
        more = "" if domain == "null" else f", calibration_domain={domain}"
        return make_row(
            delta=delta, dataset_options=f"validation_domain=night{more}",
            calibration_fingerprint=domain,
        )  # fmt: skip

    rows = [row("day", -0.2), row("night", -0.01), row("null", -0.02)]
    rows.append(make_row(dataset_options="calibration_domain=day"))  # not validated at night
    [night] = [one for one in load_claims() if one.id == "daytime_calibration_fails_at_night"]
    measured = measured_rows(make_table(rows))
    cases = find_cases(measured, night)
    assert {case.keys for case in cases} == {
        (rows[1].run_key, rows[0].run_key), (rows[2].run_key, rows[0].run_key),
    }  # fmt: skip
    found = judge(night, measured, NOTHING_KEPT)
    assert found.verdict == "supported on this model"


def test_sizes_by_bound_and_by_rank():
    rows = [make_row(calibration_size=size, delta=-1 / size) for size in (8, 64, 512, 1024)]
    sizes = {"first": {"calibration_size": "largest"}, "second": {"calibration_size": "smallest"}}
    found = verdict(rows, **sizes)
    assert found.rows == (rows[3].run_key, rows[0].run_key)
    bounds = {"first": {"calibration_size": ">=1000"}, "second": {"calibration_size": [500, 512]}}
    assert verdict(rows, **bounds).rows == (rows[3].run_key, rows[2].run_key)
    assert verdict(rows[:1], **sizes).verdict == "not measured"


def test_every_percentile_is_told_apart():
    rows = [make_row(calibrator="minmax", delta=-0.1)] + [
        make_row(calibrator="percentile", calibrator_params=f"percentile={p}", delta=delta)
        for p, delta in ((99.9, -0.3), (99.99, -0.01))
    ]
    found = verdict(rows, first={"calibrator": "percentile"}, second={"calibrator": "minmax"})
    assert found.verdict == "depends on parameters"
    assert "percentile=99.99" in found.text


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("daytime_calibration_fails_at_night", 4), ("minmax_is_hurt_by_outlier_frames", 2)],
)
def test_options_that_were_typed_for_rows_of_version_1_are_found(name: str, pairs: int) -> None:
    record = Path(__file__).parents[2] / "results" / "reference" / "record" / "claims"
    [about_options] = [one for one in load_claims() if one.id == name]
    assert len(find_cases(measured_rows(read_table(record)), about_options)) == pairs
