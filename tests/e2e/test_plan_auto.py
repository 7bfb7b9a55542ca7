"""plan=auto and calibrator=auto on a real network: a search, and a row as anybody could type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.deploy.choose import choose_row, rebuild_run
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e

FEW = [
    "model=resnet18", "dataset.validation_images=40", "dataset.calibration_images=48",
    "calibration.size=8", "timing=off", "plan.images=40",
]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, files: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path / "cache", files)


def test_a_search_ends_in_a_row_that_can_be_made_again(bench: Bench) -> None:
    asked = [
        *FEW, "plan=auto", "plan.max_loss=0.05", "calibrator=auto",
        'calibrator.choices=["calibrator=percentile calibrator.percentile=50","calibrator=minmax"]',
    ]  # fmt: skip
    ended = bench(*asked)
    assert ended.status == 0, ended.err
    assert "plan=auto, trial 1: " in ended.err
    row = choose_row(bench.out, None)
    assert (row.calibrator, row.plan) == ("minmax", "auto, loss 0.05")
    assert "plan=custom" in row.overrides
    assert rebuild_run(row).key == row.run_key
    (path,) = (bench.out / "plans").glob("*.json")
    assert path.stem == row.run_key
    searched = json.loads(path.read_text())
    assert searched["meets"]
    assert searched["best"]["candidate"] == "calibrator=minmax"
    assert "shapes calibration images" in searched["images"]

    again = bench(*asked)
    assert again.status == 0
    assert "trial" not in again.err
    assert len(bench.rows) == 1


def test_a_plan_by_latency_says_where_it_holds(bench: Bench) -> None:
    """Whether anything is faster depends on the machine; that all of it is stated does not."""
    ended = bench(
        *(word for word in FEW if word != "timing=off"), "timing.rounds=3", "timing.seconds=0.1",
        "plan=auto", "plan.max_loss=0.5", "plan.latency=true",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    row = choose_row(bench.out, None)
    assert row.plan == "auto, loss 0.5, latency"
    (path,) = (bench.out / "plans").glob("*.json")
    searched = json.loads(path.read_text())
    latency = searched["latency"]
    assert latency["engine"] == f"openvino {row.engine_version}"
    assert latency["hardware"] == row.hardware
    assert latency["timing"] in ("alone", "shared") and not latency["stopped"]
    assert latency["begun_with"] == []
    assert all(cost["int8_ms"] > cost["fp32_ms"] for cost in latency["slower"])
    for trial in latency["trials"]:
        assert trial["gain"]["low"] <= trial["gain"]["share"] <= trial["gain"]["high"]
        assert trial["milliseconds"] > 0 and trial["float_nodes"]
        assert trial["loss"] is not None or not trial["accepted"]
    accepted = [trial["float_nodes"] for trial in latency["trials"] if trial["accepted"]]
    proven = latency["gain"] is not None and latency["gain"]["low"] > 0
    assert searched["best"]["float_nodes"] == (accepted[-1] if proven else [])
    assert f"(openvino {row.engine_version}, {row.hardware}" in row.plan_note
    assert rebuild_run(row).key == row.run_key


@pytest.mark.slow
def test_the_best_within_a_share_of_int8(bench: Bench) -> None:
    ended = bench(*FEW, "plan=auto", "plan.min_int8_mac_share=0.9")
    assert ended.status == 0, ended.err
    row = choose_row(bench.out, None)
    assert row.planned_mac_share is not None
    assert 0.9 <= row.planned_mac_share <= 1
    assert "node:" in row.overrides


@pytest.mark.slow
def test_a_request_that_nothing_meets_is_answered_all_the_same(bench: Bench) -> None:
    words = ["calibrator=percentile", "calibrator.percentile=20", "plan.seconds=0"]
    ended = bench(*FEW, "plan=auto", "plan.max_loss=0", *words)
    assert ended.status == 0, ended.err
    assert "no trial is within the budget" in ended.err
    assert len(bench.rows) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibration.size=500"], "calibration.size=500 is more than the 6 calibration images"),
        (["plan.images=2"], "plan.images=2 is below 8. Use 8 or more"),
        (["plan.latency=true", "timing.rounds=0"], "plan.latency=true times networks"),
        (["plan.latency=3"], "plan.latency=3 is not true or false"),
        (["plan.max_loss=2"], "plan.max_loss=2 is not a share. Use 0 to 1"),
        (["calibrator=auto", "calibrator.choices=[]"], "calibrator=auto has no choices"),
        (
            ["calibrator=auto", 'calibrator.choices=["calibrator=nothing"]'],
            "calibrator=nothing is unknown",
        ),
        (
            ["calibrator=auto", 'calibrator.choices=["calibrator._target_=os.system"]'],
            "error: calibrator._target_=os.system is not a class of conf/calibrator",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_line(
    bench: Bench, words: list[str], message: str
) -> None:
    ended = bench(*CUSTOM, "plan=auto", *words)
    assert ended.status == 2
    assert message in ended.one_line
    assert bench.left_nothing


def test_a_calibrator_is_searched_with_a_plan_only(bench: Bench) -> None:
    ended = bench(*CUSTOM, "calibrator=auto")
    assert ended.status == 2
    assert ended.one_line == (
        "error: calibrator=auto is searched together with the plan. Add plan=auto"
    )
    assert bench.left_nothing


def test_the_outputs_choose_the_rule_of_each_tensor(bench: Bench) -> None:
    """A rule that clips half of all values is taken nowhere, though it is the first."""
    ended = bench(
        *CUSTOM, "timing=off", "calibrator=per_tensor", "calibrator.criterion=output",
        "calibrator.rules.percentile.percentile=50", "~calibrator.rules.minmax",
        "~calibrator.rules.percentile_99_9", "~calibrator.rules.percentile_99_999",
        "~calibrator.rules.entropy2",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    (path,) = (bench.out / "ranges").glob("*.rules.json")
    chosen = json.loads(path.read_text())
    names = chosen.get("rules", chosen)
    assert set(names.values()) - {chosen.get("sha256")} == {"mse"}
