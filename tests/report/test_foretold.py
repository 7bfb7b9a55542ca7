"""How well this machine foretold a target: the sentence, its interval, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.claims.judgements import Judgements
from bench.cli.confirm import answers_in
from bench.cli.expected import write_reference
from bench.evaluation.bootstrap import mean_replicates
from bench.evaluation.interval import half_samples
from bench.evaluation.judgement import pack_judgement, save_judgement
from bench.report.foretold import find_foretold
from bench.report.page import Report, render_html, render_markdown
from bench.report.reproduce import reproduce_command
from bench.report.summary import summarize
from bench.report.wording import tidy
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.results.table import make_table

IMAGES = 200
PLANS = ("all", "float_first", "float_head", "float_depthwise")


def judged(folder: Path, key: str, correct: np.ndarray) -> None:
    """What a classifier's run keeps of its predictions."""

    halves = mean_replicates(correct, half_samples(IMAGES))
    path = SweepFolder(folder).judged(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        save_judgement(file, pack_judgement(correct, halves, halves, 0.0))


@pytest.fixture
def measured(row: Callable[..., Row], tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Four plans here and on a target, which has one image in ten wrong that was right here."""
    rng, rows = np.random.default_rng(0), []
    for number, plan in enumerate(PLANS):
        here = rng.random(IMAGES) < 0.9 - 0.1 * number
        there = here & (rng.random(IMAGES) < 0.9)
        source = row(plan=plan, run_key=f"here{number}")
        values: dict[str, Any] = {
            "int8": float(there.mean()), "predicted_int8": float(here.mean()), "fp32": 0.95,
            "engine_fp32": 0.94, "delta": float(there.mean()) - 0.95,
        }  # fmt: skip
        target = row(
            plan=plan, run_key=f"there{number}", source_key=source.run_key, engine="tensorrt",
            measured_on="orin", device="Orin, driver 1", n_images=IMAGES, overrides="", **values,
        )  # fmt: skip
        judged(tmp_path, source.run_key, here)
        judged(tmp_path, target.run_key, there)
        rows += [source, target]
    return make_table(rows), tmp_path


def test_the_mean_has_a_paired_interval(measured: tuple[pd.DataFrame, Path]) -> None:
    table, folder = measured
    (found,) = find_foretold(tidy(table), Judgements(folder))

    target = table[table["measured_on"] == "orin"]
    difference = float((target["int8"] - target["predicted_int8"]).mean())
    assert found.mean.estimate == pytest.approx(difference)
    assert found.mean.low < difference < found.mean.high < 0
    assert found.mean.high - found.mean.low < 0.06  # unpaired it would be more than 0.1
    assert found.group == "yolov8n on shapes, tensorrt on orin, Q/DQ files"
    assert "(95 % interval" in found.headline and "mean of 4 configurations" in found.headline
    assert found.order is not None and found.order > 0.9
    assert "FP32 there is −0.0100 from FP32 here." in found.detail
    assert [row.predicted for row in found.rows] == sorted(target["predicted_int8"])[::-1]


def test_without_what_was_judged_there_is_no_interval(
    measured: tuple[pd.DataFrame, Path],
) -> None:
    (found,) = find_foretold(tidy(measured[0]), Judgements(None))
    assert not found.mean.known
    assert found.span == "unknown"


def test_ranges_are_judged_apart_from_files(measured: tuple[pd.DataFrame, Path]) -> None:
    """With a calibration cache TensorRT chooses itself what runs in INT8."""
    table, folder = measured
    last = table.index[-1]
    table.loc[last, "engine_options"] = "mode=implicit"
    found = find_foretold(tidy(table), Judgements(folder))
    assert [(one.group.rpartition(", ")[2], len(one.rows)) for one in found] == [
        ("Q/DQ files", 3),
        ("calibration caches", 1),
    ]
    assert found[1].order is None


def test_a_choice_that_the_target_would_not_make_is_told(row: Callable[..., Row]) -> None:
    there = {"engine": "tensorrt", "measured_on": "orin", "source_key": "x"}
    rows = [
        row(plan="all", int8=0.5, predicted_int8=0.6, **there),
        row(plan="float_head", int8=0.55, predicted_int8=0.58, **there),
    ]
    (found,) = find_foretold(tidy(make_table(rows)), Judgements(None))
    assert "is 0.0500 behind the best there" in found.detail
    assert found.farthest.name == "minmax, 64 images, all"


def test_it_leads_the_report_and_targets_are_groups(measured: tuple[pd.DataFrame, Path]) -> None:
    table, folder = measured
    summary = summarize(table, Judgements(folder), Settings())
    assert [answer.group for answer in summary.answers] == [
        "yolov8n on shapes, openvino",
        "yolov8n on shapes, tensorrt on orin",
    ]
    page = render_html(Report(summary))
    assert page.index('id="foretold"') < page.index('id="answer"')
    assert "How well this machine foretells the target" in page
    assert "tensorrt on orin" in render_markdown(Report(summary))


def test_a_table_without_targets_says_nothing_of_them(row: Callable[..., Row]) -> None:
    summary = summarize(make_table([row(), row(plan="float_head")]))
    assert summary.foretold == ()
    assert "foretells" not in render_html(Report(summary))


def test_what_a_target_measured_is_not_made_again_here(
    measured: tuple[pd.DataFrame, Path],
) -> None:
    table, folder = measured
    commands = reproduce_command(table).splitlines()
    assert len(commands) == 1 and commands[0].endswith("plan=" + ",".join(PLANS))
    for values in table.to_dict("records"):
        clean = {name: None if value != value else value for name, value in values.items()}
        RowStore(folder).add(Row.from_json(clean), {})
    assert [answer.engine for answer in answers_in(folder, Settings())] == ["openvino"]
    (folder / "claims.json").write_text("[]")
    expected = yaml.safe_load(write_reference(table, folder))
    assert [case["expect"]["int8"]["value"] for case in expected["cases"]] == [
        round(value, 4) for value in table.loc[table["measured_on"] == "", "int8"]
    ]
