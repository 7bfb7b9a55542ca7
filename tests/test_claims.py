"""Claims: which rows they take, what verdict follows, and that every YAML of them is whole."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.claims.claim import CONF, Claim, Criterion, load_claims
from bench.claims.effect import BOUNDED, PAIRED, Judgements, ratio_effect
from bench.claims.record import read_references, read_verdicts, write_claims
from bench.claims.reference import FAMILIES, compare_references, load_references
from bench.claims.select import Case, find_cases
from bench.claims.verdict import Verdict, holm, judge
from bench.errors import ConfigError, DataError
from bench.evaluation.judgement import load_judgement, pack_judgement, replicates_of
from bench.evaluation.matches import MatchTable
from bench.evaluation.task import save_arrays
from bench.report.page import write_report
from bench.results.table import make_table, write_table
from tests.composing import composed
from tests.report.conftest import make_row, make_skip

SCRIPT = Path(__file__).parents[1] / "scripts" / "claims.py"
NOTHING_KEPT = Judgements(None)


def claim(**changes: Any) -> Claim:
    """MinMax beats Entropy-v2, unless told otherwise."""
    given: dict[str, Any] = {
        "id": "a_claim", "statement": "A beats B", "source": ("https://example.org/1",),
        "test": Criterion("difference"), "first": {"calibrator": "minmax"},
        "second": {"calibrator": "entropy2"}, "measure": "calibrator=minmax,entropy2",
    }  # fmt: skip
    return Claim(**given | changes)


def pair(lead: float, noise: float = 0.004, **changes: Any) -> list[Any]:
    """A row of MinMax and one of Entropy-v2; the first is better by ``lead``."""
    return [
        make_row(calibrator="minmax", delta=-0.01, noise=noise, **changes),
        make_row(calibrator="entropy2", delta=-0.01 - lead, noise=noise, **changes),
    ]


def verdict(rows: list[Any], *, judgements: Judgements = NOTHING_KEPT, **changes: Any) -> Verdict:
    return judge(claim(**changes), make_table(rows), judgements)


# Verdicts


def test_supported_where_every_group_is_on_the_claims_side():
    found = verdict(pair(0.2, plan="all") + pair(0.1, plan="float_head"))
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(0.15)
    assert found.ci_low > 0
    assert len(found.groups) == 2
    assert "Holm" in found.text and "in all 2 groups" in found.text


def test_refuted_where_every_group_is_on_the_other_side():
    found = verdict(pair(-0.2, plan="all") + pair(-0.1, plan="float_head"))
    assert found.verdict == "refuted"
    assert found.ci_high < 0


def test_refuted_where_the_interval_excludes_the_claimed_size():
    found = verdict(pair(0.02), test=Criterion("difference", threshold=0.1))
    assert (found.verdict, found.effect) == ("refuted", pytest.approx(0.02))


def test_a_claim_that_something_is_small():
    small = Criterion("difference", "below", 0.03)
    assert verdict(pair(0.002), test=small).verdict == "supported"
    assert verdict(pair(0.2), test=small).verdict == "refuted"
    assert verdict(pair(0.03), test=small).verdict == "undecided"


@pytest.mark.parametrize(
    ("axis", "values", "told"),
    [
        ("plan", ("all", "float_head"), "plan"),
        ("model", ("yolov8n", "yolox_nano"), "model"),
        ("calibration_seed", (0, 1), "seed"),
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


def test_depends_names_an_option_that_was_typed_rather_than_a_hash():
    night = {"overrides": "dataset.validation_domain=night", "dataset_fingerprint": "night"}
    found = verdict(pair(0.2) + pair(-0.2, **night))
    assert found.verdict == "depends on dataset.validation_domain"
    assert "(default); refuted in 1 of 2 (night)" in found.text


def test_depends_says_so_where_two_axes_do_not_explain_it():
    rows = [
        row
        for plan, size, seed in itertools.product(("all", "float_head"), (8, 64), (0, 1))
        for row in pair(
            0.2 if (plan, size, seed) == ("all", 8, 0) else -0.2,
            plan=plan, calibration_size=size, calibration_seed=seed,
        )
    ]  # fmt: skip
    assert verdict(rows).verdict.endswith("and others")


def test_a_tie_is_called_a_tie():
    found = verdict(pair(0.001, noise=0.01))
    assert found.verdict == "undecided"
    assert "tie" in found.text


def test_a_tie_beside_support_is_folded_into_the_text():
    found = verdict(pair(0.2, plan="all") + pair(0.0, plan="float_head"))
    assert found.verdict == "depends on plan"
    assert "a tie" in found.text and "(float_head)" in found.text


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
    assert (found.verdict, found.effect, found.rows, found.groups) == ("not measured", None, (), ())
    assert "python -m bench --multirun calibrator=minmax,entropy2" in found.text


def test_a_row_without_an_interval_decides_nothing():
    bare = {"ci_low": None, "ci_high": None}
    found = verdict(pair(0.2, **bare))
    assert found.verdict == "undecided"
    assert (found.ci_low, found.ci_high) == (None, None)
    both = verdict(pair(0.2, plan="all") + pair(0.2, plan="float_head", **bare))
    assert both.verdict == "supported"
    assert "Left out: 1 without an interval" in both.text


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
    assert verdict(rows, test=level, **own).verdict == "supported"
    kept = verdict(rows, test=Criterion("kept", "below", 0.05), **own)
    assert (kept.verdict, kept.effect) == ("refuted", pytest.approx(0.99))
    nothing = [make_row(delta=-0.6, noise=0.1)]
    assert verdict(nothing, test=Criterion("kept", "below", 0.05), **own).verdict == "supported"


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
    assert found.verdict == "supported"
    assert (found.effect, found.ci_low, found.ci_high) == pytest.approx((50, 20, 80))
    both = Criterion("ratio", threshold=10, columns=("collect_s", "threshold_s"))
    assert verdict(rows, test=both, **slow).verdict == "refuted"  # 3 s of collecting dominate
    one = verdict(rows[:2], test=both, **slow)
    assert (one.verdict, one.ci_low) == ("undecided", None)


def test_order_statistics_leave_out_no_more_than_five_per_cent():
    def cases(count: int) -> list[Case]:
        return [Case({"threshold_s": float(i + 1)}, {"threshold_s": 1.0}, {}) for i in range(count)]

    # Tables of the sign test: of 9 the second to the eighth, of 20 the sixth to the fifteenth.
    for count, low, high in ((5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15)):
        effect = ratio_effect(cases(count), ["threshold_s"])
        assert (effect.low, effect.high) == (low, high)


def test_timings_of_two_machines_make_no_pair():
    rows = pair(0.2)
    rows[1] = make_row(calibrator="entropy2", hardware="another machine")
    assert verdict(rows, test=Criterion("ratio", columns=("collect_s",))).verdict == "not measured"


def test_the_winner_turns_only_if_both_leads_are_proven():
    winner = Criterion("winner", over="plan")
    turns = verdict(pair(0.1, plan="all") + pair(-0.2, plan="float_head"), test=winner)
    assert (turns.verdict, turns.effect) == ("supported", pytest.approx(0.1))
    same = verdict(pair(0.1, plan="all") + pair(0.2, plan="float_head"), test=winner)
    assert (same.verdict, same.effect) == ("refuted", pytest.approx(-0.1))
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
    assert verdict(close).verdict == "supported"
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
        save_arrays(file, pack_judgement(judged, replicates_of(judged)))


@pytest.mark.parametrize("judged", [detections(20), np.arange(40) % 3 > 0])
def test_two_identical_runs_are_a_tie_without_width(tmp_path, judged):
    rows = pair(0.0)
    for row in rows:
        keep(tmp_path, row.run_key, judged)
    found = verdict(rows, judgements=Judgements(tmp_path))
    assert (found.verdict, found.effect, found.ci_low, found.ci_high) == ("undecided", 0, 0, 0)
    assert found.text.startswith("A tie, identical")
    assert found.groups[0].basis == PAIRED


def test_stored_predictions_give_a_tighter_interval_than_the_rows_own(tmp_path):
    better, worse = np.arange(200) % 10 > 0, np.arange(200) % 10 > 1
    lead = float(better.mean() - worse.mean())
    rows = pair(lead, noise=0.08)
    bounded = verdict(rows)
    for row, judged in zip(rows, (better, worse), strict=True):
        keep(tmp_path, row.run_key, judged)
    paired = verdict(rows, judgements=Judgements(tmp_path))
    assert (bounded.verdict, paired.verdict) == ("undecided", "supported")
    assert bounded.groups[0].basis == BOUNDED
    assert "own intervals" in bounded.text
    assert paired.effect == pytest.approx(lead)
    assert paired.ci_high - paired.ci_low < bounded.ci_high - bounded.ci_low
    difference = replicates_of(better) - replicates_of(worse)
    expected = np.quantile(difference, [0.025, 0.975])
    assert (paired.ci_low, paired.ci_high) == pytest.approx(tuple(expected))


def test_predictions_about_another_truth_are_not_paired(tmp_path):
    rows = pair(0.2)
    keep(tmp_path, rows[0].run_key, detections(20, 40))
    keep(tmp_path, rows[1].run_key, detections(20, 41))
    assert verdict(rows, judgements=Judgements(tmp_path)).groups[0].basis == BOUNDED


def test_rows_of_another_fp32_are_compared_by_what_each_loses(tmp_path):
    rows = pair(0.2)
    rows[1] = make_row(calibrator="entropy2", fp32=0.5, int8=0.3, delta=-0.2)
    for row in rows:
        keep(tmp_path, row.run_key, detections(20))
    found = verdict(rows, judgements=Judgements(tmp_path))
    assert (found.effect, found.groups[0].basis) == (pytest.approx(0.19), BOUNDED)


@pytest.mark.parametrize("judged", [detections(7), np.arange(9) > 2])
def test_a_judgement_is_kept_whole(tmp_path, judged):
    keep(tmp_path, "key", judged)
    assert np.array_equal(
        replicates_of(load_judgement(tmp_path / "judged" / "key.npz")), replicates_of(judged)
    )


def test_a_broken_judgement_is_one_clear_line(tmp_path):
    (tmp_path / "judged").mkdir()
    rows = pair(0.2)
    (tmp_path / "judged" / f"{rows[0].run_key}.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="holds no judged predictions"):
        verdict(rows, judgements=Judgements(tmp_path))


# Selection


def test_options_typed_for_a_run_can_be_what_a_claim_is_about():
    def row(domain: str, delta: float) -> Any:
        typed = "" if domain == "null" else f" dataset.calibration_domain={domain}"
        return make_row(
            delta=delta, overrides=f"model=yolov8n dataset.validation_domain=night{typed}",
            calibration_fingerprint=domain,
        )  # fmt: skip

    rows = [row("day", -0.2), row("night", -0.01), row("null", -0.02)]
    rows.append(make_row(overrides="dataset.calibration_domain=day"))  # not validated at night
    [night] = [one for one in load_claims() if one.id == "daytime_calibration_fails_at_night"]
    cases = find_cases(make_table(rows), night)
    assert {case.keys for case in cases} == {
        (rows[1].run_key, rows[0].run_key), (rows[2].run_key, rows[0].run_key),
    }  # fmt: skip
    assert judge(night, make_table(rows), NOTHING_KEPT).verdict == "supported"


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


# The YAML files


CLAIMS, REFERENCES = load_claims(), load_references()
PRECISE = re.compile(r"^https?://\S+\.\S+/\S+$|\d{4}|README\.md")


@pytest.mark.parametrize("given", [*CLAIMS, *REFERENCES], ids=lambda given: given.id)
def test_every_claim_and_case_says_where_it_was_published(given):
    assert given.source
    assert all(PRECISE.search(source) for source in given.source)


@pytest.mark.parametrize("own", CLAIMS, ids=lambda own: own.id)
def test_what_would_measure_a_claim_composes(own):
    swept = [word.partition("=") for word in shlex.split(own.measure)]
    if not swept:
        assert own.note  # why this harness cannot
    for values in itertools.product(*(value.split(",") for _, _, value in swept)):
        overrides = [f"{key}={value}" for (key, _, _), value in zip(swept, values, strict=True)]
        composed(*overrides)


@pytest.mark.parametrize("case", REFERENCES, ids=lambda case: case.id)
def test_every_published_figure_is_of_a_calibrator_that_there_is(case):
    names = {path.stem for path in (CONF / "calibrator").glob("*.yaml")} | {""}
    assert {figure.calibrator for figure in case.figures} <= names
    assert case.family in FAMILIES
    assert all(0 < figure.int8 <= 1.02 * figure.fp for figure in case.figures)


GOOD = """
id: one
statement: A beats B
source: https://example.org/1
first: {calibrator: minmax}
second: {calibrator: mse}
test: {quantity: difference}
"""


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("id: one", "id: two", "has the id two. Name it one"),
        ("source: https://example.org/1\n", "", "lacks source"),
        ("https://example.org/1", "[]", "lacks source"),
        ("https://example.org/1", "me", "'me' is no source"),
        ("statement:", "statment:", "has no field 'statment'"),
        ("calibrator: mse", "calibrater: mse", "second names no column 'calibrater'"),
        ("difference", "feeling", r"test.quantity=feeling is unknown. Use difference,"),
        ("quantity: difference", "quantity: ratio", "needs test.columns"),
        ("quantity: difference", "quantity: winner", "needs test.over"),
        ("quantity: difference", "quantity: kept", "needs no first and second"),
        ("difference}", "difference, threshold: much}", "threshold=much is not a number"),
        ("{quantity: difference}", "difference", "test is no mapping"),
        ("{calibrator: mse}", "mse", "second is no mapping"),
        ("id: one", "id: [", "cannot be read"),
    ],
)
def test_a_bad_claim_is_one_clear_line(tmp_path, before, after, told):
    (tmp_path / "one.yaml").write_text(GOOD)
    assert load_claims(tmp_path)[0].test.threshold == 0
    (tmp_path / "one.yaml").write_text(GOOD.replace(before, after))
    with pytest.raises(ConfigError, match=told) as error:
        load_claims(tmp_path)
    assert "one.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("family: yolo", "family: cat", "family=cat is unknown"),
        ("fp: 0.5124", "fp: good", "fp=good is not a number"),
        ("source: https", "sauce: https", "has no field 'sauce'"),
        ("tool: TensorRT\n", "", "lacks tool"),
    ],
)
def test_a_bad_reference_is_one_clear_line(tmp_path, before, after, told):
    name = "nvidia_yolov7_entropy2.yaml"
    text = (CONF / "reference" / name).read_text()
    (tmp_path / name).write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=told):
        load_references(tmp_path)


# Published cases


def agreement(rows: list[Any], name: str) -> tuple[str, str]:
    cases = {case.id: case for case in compare_references(load_references(), make_table(rows))}
    return cases[name].agreement, cases[name].text


def test_published_cases_are_compared_by_direction():
    thread = "tensorrt_issue_3922"
    assert agreement(pair(0.1), thread)[0] == "agrees"
    assert agreement(pair(-0.1), thread)[0] == "disagrees"
    assert agreement([make_row(calibrator="mse")], thread)[0] == "not measured"
    apart = [make_row(calibrator="minmax"), make_row(calibrator="entropy2", plan="float_head")]
    assert agreement(apart, thread)[0] == "undecided"
    yolov7 = "nvidia_yolov7_entropy2"
    assert agreement([make_row(calibrator="entropy2", delta=-0.1)], yolov7)[0] == "agrees"
    assert agreement([make_row(calibrator="entropy2", delta=0.1)], yolov7)[0] == "disagrees"
    assert agreement([make_row(calibrator="entropy2", delta=0.0)], yolov7)[0] == "undecided"


def test_a_published_case_takes_rows_of_its_family_only():
    classifier = make_row(model="resnet18", task="classification", calibrator="entropy2")
    assert agreement([classifier], "nvidia_yolov7_entropy2")[0] == "not measured"


# The folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(make_table(pair(0.2, plan="all") + pair(0.1, plan="float_head")), tmp_path)
    return tmp_path


def test_the_record_has_its_schema(folder):
    verdicts = write_claims(folder)
    content = json.loads((folder / "claims.json").read_text())
    assert [one["id"] for one in content] == [own.id for own in load_claims()]
    keys = set(pd.read_csv(folder / "table.csv")["run_key"])
    kinds = r"supported|refuted|undecided|not measured|depends on .+"
    for one in content:
        assert re.fullmatch(kinds, one["verdict"])
        assert isinstance(one["statement"], str) and one["source"]
        assert set(one["rows"]) <= keys
        assert (one["effect"] is None) == (one["verdict"] == "not measured") == (not one["rows"])
        for end in ("ci_low", "ci_high"):
            assert one[end] is None or isinstance(one[end], float)
    assert read_verdicts(folder) == verdicts
    assert len(read_references(folder)) == len(load_references())


def test_the_report_shows_claims_where_they_were_judged(folder):
    assert 'id="claims"' not in write_report(folder).read_text()
    write_claims(folder)
    page = write_report(folder).read_text()
    assert '<section id="claims"' in page and '<section id="published"' in page
    assert "Entropy-v2 (1 % lost" in page
    assert 'class="verdict supported">supported<' in page
    assert "python -m bench --multirun calibrator=minmax dataset.calibration_outlier" in page
    markdown = (folder / "report.md").read_text()
    assert "## Claims" in markdown and "## Published cases" in markdown
    first = page, markdown
    assert (write_report(folder).read_text(), (folder / "report.md").read_text()) == first


def test_a_record_of_something_else_is_one_clear_line(folder):
    (folder / "claims.json").write_text('[{"id": 1}]')
    with pytest.raises(DataError, match=r"claims\.json is no record of claims"):
        write_report(folder)


def test_an_old_table_is_read_with_the_defaults_of_newer_columns(folder):
    path = folder / "table.csv"
    pd.read_csv(path).drop(columns=["weight_scales", "statistics_key"]).to_csv(path, index=False)
    found = {one.id: one.verdict for one in write_claims(folder)}
    assert found["minmax_beats_entropy2_on_yolo"] == "supported"


def test_the_script_prints_every_claim(folder):
    done = subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "minmax_beats_entropy2_on_yolo" in done.stdout and "supported" in done.stdout
    missing = subprocess.run(
        [sys.executable, SCRIPT, folder / "none"], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ") and missing.stderr.count("\n") == 1
