"""Sweeps with ``sweep.race=true``: who ends early, what its row says, what stays the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.evaluation.racing import SHARES
from bench.results.store import RowStore
from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

RACE = "sweep.race=true"
GOOD, BAD = ["calibrator=minmax"], ["calibrator=percentile", "calibrator.percentile=50"]
ALIKE = ["calibrator=percentile", "calibrator.percentile=99.9999"]
"""Nearly minmax."""
TASKS = {
    "classifier": ["model=resnet18", "dataset.validation_images=160"],
    "detector": ["model=yolov8n", "dataset.validation_images=48"],
}
COMMON = ["dataset.calibration_images=4", "timing=off"]
ACCURACY = ["fp32", "int8", "delta", "ci_low", "ci_high", "sqnr_db", "exact_delta", "n_images"]


def raced(bench: Bench) -> pd.DataFrame:
    table = bench.table
    return table[table["status"] == "raced"]


@pytest.fixture(scope="module", params=TASKS)
def race(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> tuple[Bench, list[str]]:
    """A good run, then a bad one, in a race."""
    words = [*TASKS[request.param], *COMMON]
    bench = Bench(tmp_path_factory.mktemp("race"), cache)
    for calibrator in (GOOD, BAD):
        ended = bench(*words, *calibrator, RACE)
        assert ended.status == 0, ended.err
    return bench, words


def test_a_bad_run_ends_early_and_says_against_whom(race: tuple[Bench, list[str]]) -> None:
    bench, _ = race
    (lost,) = raced(bench).to_dict("records")
    (best,) = bench.table.query("calibrator == 'minmax'").index
    total = int(bench.table.loc[best, "n_images"])
    assert lost["n_images"] in [round(share * total) for share in SHARES]
    assert lost["raced_against"] == best
    assert lost["raced_ahead"] < 0
    assert "worse than minmax, 4 images, plan all" in lost["error"]
    assert lost["ci_low"] <= lost["delta"] <= lost["ci_high"]
    assert lost["delta"] == pytest.approx(lost["int8"] - lost["fp32"])
    for name in ("speedup", "exact_delta", "sqnr_db", "rounding_sd"):
        assert pd.isna(lost[name])


def test_a_race_keeps_what_has_lost(race: tuple[Bench, list[str]]) -> None:
    bench, words = race
    before = {path: path.read_bytes() for path in bench.rows}
    assert bench(*words, *BAD, RACE).status == 0
    assert {path: path.read_bytes() for path in bench.rows} == before


def test_complete_rows_are_those_of_a_plain_sweep(
    race: tuple[Bench, list[str]], tmp_path: Path
) -> None:
    bench, words = race
    plain = Bench(tmp_path / "plain", bench.cache)
    for calibrator in (GOOD, BAD):
        assert plain(*words, *calibrator).status == 0
    completed = Bench(tmp_path / "completed", bench.cache)
    shutil.copytree(bench.out, completed.out)
    assert len(raced(completed)) == 1
    assert completed(*words, *BAD).status == 0  # without a race it is completed
    assert raced(completed).empty
    pd.testing.assert_frame_equal(
        completed.table[ACCURACY], plain.table[ACCURACY], check_exact=True
    )


def test_without_its_leader_a_lost_run_runs_again(tmp_path: Path, cache: Path) -> None:
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], *COMMON]
    assert bench(
        "--multirun", *words, "calibrator=percentile", "calibrator.percentile=100,50", RACE
    )
    (lost,) = raced(bench).to_dict("records")
    (bench.out / "rows" / f"{lost['raced_against']}.json").unlink()
    assert bench(*words, *BAD, RACE).status == 0
    assert raced(bench).empty


def test_other_plans_race_only_where_they_are_worse_by_more_than_a_tie(
    tmp_path: Path, cache: Path
) -> None:
    """A run of another plan may be faster: one that is as good goes on."""
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], *COMMON, RACE]
    assert bench(*words, *GOOD).status == 0
    assert bench(*words, *ALIKE, "plan=float_first", "report.margin=0.3").status == 0
    assert raced(bench).empty
    assert bench(*words, *BAD, "plan=float_first").status == 0
    assert raced(bench)["plan"].tolist() == ["float_first"]
    # In one plan, a tie is enough: with so wide a margin at the first look.
    assert bench(*words, *ALIKE, "report.margin=0.3").status == 0
    (tie,) = raced(bench).query("plan == 'all'").to_dict("records")
    assert 0 <= tie["raced_ahead"] < 0.3
    assert tie["error"].startswith("at most 0.")


def test_a_limit_for_the_loss_ends_what_loses_more(tmp_path: Path, cache: Path) -> None:
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], *COMMON, RACE, "max_loss=1%"]
    assert bench(*words, *BAD, "plan=float_first").status == 0  # nobody leads
    (lost,) = raced(bench).to_dict("records")
    assert lost["raced_against"] == "FP32"
    assert "worse than FP32" in lost["error"]
    assert lost["raced_ahead"] < -0.01  # of FP32 on all images


def test_a_proof_against_fp32_holds_for_fp32_on_all_images(tmp_path: Path, cache: Path) -> None:
    """FP32 on the images that a raced row saw is another number, and decides nothing."""
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], *COMMON, *BAD, RACE]
    assert bench(*words, "max_loss=1%").status == 0
    (path,) = bench.rows
    share = -raced(bench)["raced_ahead"].item()
    for seen in (0.01, 100.0):
        store = RowStore(bench.out)
        store.add(replace(*store.rows(), fp32=seen), {})
        before = path.read_bytes()
        assert bench(*words, f"max_loss={share * 0.99}").status == 0
        assert path.read_bytes() == before
    assert bench(*words, f"max_loss={share * 1.01}").status == 0  # no longer proven: runs again
    assert path.read_bytes() != before


def test_a_sample_in_batches(tmp_path: Path, cache: Path) -> None:
    """Batches are drawn as a whole, so that a complete row does not depend on the race."""
    words = [
        "model=resnet18", "dataset.validation_images=200", *COMMON, "evaluation.images=162",
        "evaluation.batch_size=4",
    ]  # fmt: skip
    bench, plain = Bench(tmp_path / "out", cache), Bench(tmp_path / "plain", cache)
    for calibrator in (GOOD, BAD):
        assert bench(*words, *calibrator, RACE).status == 0
    assert raced(bench)["n_images"].max() <= 84
    assert plain(*words, *GOOD).status == 0
    key = plain.table.index[0]
    assert bench.table.loc[key, ACCURACY].equals(plain.table.loc[key, ACCURACY])


def test_a_further_calibration_set_of_a_complete_configuration_does_not_race(
    tmp_path: Path, cache: Path
) -> None:
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], "dataset.calibration_images=8", "timing=off", RACE]
    assert bench(*words, *BAD).status == 0
    assert bench(*words, *GOOD, "calibration.seed=1").status == 0
    assert bench(*words, *BAD, "calibration.seed=1").status == 0
    assert raced(bench).empty


@pytest.mark.parametrize("swept", [True, False], ids=["at the end", "when it runs again"])
def test_a_set_that_lost_first_is_completed_with_its_configuration(
    tmp_path: Path, cache: Path, swept: bool
) -> None:
    """Without it, the configuration's other sets would flatter the mean."""
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], "dataset.calibration_images=8", "timing=off"]
    assert bench(*words, *GOOD, RACE).status == 0
    assert bench(*words, *BAD, RACE).status == 0
    assert raced(bench)["calibration_seed"].tolist() == [0]
    assert bench(*words, *BAD, "calibration.seed=1").status == 0
    assert len(raced(bench)) == 1
    ended = bench(*words, *(GOOD if swept else BAD), RACE)
    assert ended.status == 0, ended.err
    assert raced(bench).empty
    assert ("completing 1 raced run" in ended.err) == swept


def test_too_few_images_are_said_once(tmp_path: Path, cache: Path) -> None:
    bench = Bench(tmp_path / "out", cache)
    words = ["model=resnet18", "dataset.validation_images=30", *COMMON, RACE]
    ended = bench("--multirun", *words, "calibrator=percentile", "calibrator.percentile=100,50")
    assert ended.status == 0, ended.err
    assert ended.err.count("ends no run early: 30 images are too few") == 1
    assert raced(bench).empty


def test_a_search_by_an_objective_does_not_race(bench: Bench) -> None:
    """The sweeper need not be installed for that."""
    target = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    ended = bench("--multirun", "model=resnet18", RACE, f"hydra.sweeper._target_={target}")
    assert ended.status == 2
    assert "before they have an objective, which Optuna needs" in ended.one_line
    assert not bench.out.exists()


def test_the_report_lists_who_lost_and_counts_them_in_nothing(tmp_path: Path, cache: Path) -> None:
    bench = Bench(tmp_path / "out", cache)
    words = [*TASKS["classifier"], *COMMON, RACE, "calibrator=percentile"]
    ended = bench("--multirun", *words, "calibrator.percentile=100,50", report=True)
    assert ended.status == 0, ended.err
    assert "raced: at least" in ended.err
    assert "raced: lost a race" in " ".join(ended.out.split())
    page = (bench.out / "report.html").read_text()
    assert '<tr class="raced">' in page
    assert "1 of them raced" in page
    (lost,) = raced(bench).index
    verdicts = json.loads((bench.out / "claims.json").read_text())
    assert lost not in json.dumps(verdicts)
