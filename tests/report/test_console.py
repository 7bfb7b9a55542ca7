"""The table in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.report.console import print_table
from bench.report.summary import summarize
from bench.results.table import make_table


def printed(table, width=140):
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(summarize(table), console)
    return console.export_text()


def test_names_the_winner_and_marks_it(sweep):
    text = printed(sweep)
    (best,) = [line for line in text.splitlines() if line.strip().startswith("★") and "mse" in line]
    assert best.split()[:5] == ["★", "mse", "64", "float_head", "0.600"]
    assert "1.70x" in best
    assert "98 %" in best
    assert "mse, 64 calibration images, plan float_head: loses 0.005" in " ".join(text.split())


def test_fp16_has_a_column_where_it_was_timed(row):
    fp16 = {"fp16": 0.599, "fp16_delta": -0.001, "speedup_fp16": 1.31}
    text = printed(make_table([row(**fp16)]))
    assert "over FP16" in text and "1.31x" in text
    assert "over FP16" not in printed(make_table([row()]))


def test_says_when_nothing_was_measured(skip):
    text = printed(make_table([skip()]))
    assert "No answer: none of 1 run was measured." in text
    assert "1 run of 1 skipped: no depthwise layers." in text


def test_where_fp32_finds_nothing_no_row_is_marked(row):
    text = printed(make_table([row(fp32=0.002, int8=0.002, delta=0.0)]))
    assert "no run is recommended, as FP32 itself detects nothing (mAP50-95 0.002)" in text
    assert "No answer" not in text
    assert not [line for line in text.splitlines() if line.strip().startswith("★ m")]


def test_a_built_row_shows_its_engine(built):
    text = printed(make_table([built(builder_warnings=2)]))
    assert "yolov8n on shapes, tensorrt_rtx: engines built, not run" in text
    (line,) = [line for line in text.splitlines() if "minmax" in line]
    assert line.split() == ["minmax", "64", "all", "SM89", "built", "4.2", "6.8", "3.5", "1.5", "2"]
    assert "recommended" not in text
    assert "No answer: none of 1 run was measured." in text


def test_built_and_measured_rows_are_tables_of_their_own(row, built, skip):
    refused = skip(engine="tensorrt_rtx", calibrator="mse")
    text = printed(make_table([row(), built(), refused]))
    assert "mAP50-95" in text
    (line,) = [line for line in text.splitlines() if line.strip().startswith("mse")]
    assert "skipped" in line


def test_markup_in_names_is_only_text(row):
    assert "[red]x[/red]" in printed(make_table([row(model="[red]x[/red]", plan="[/]")]))


@pytest.mark.parametrize("fp16", [{}, {"fp16": 0.59, "fp16_delta": -0.01, "speedup_fp16": 1.31}])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_fits_the_terminal(row, width, fp16):
    rows = [row(**fp16), row(calibrator="percentile", calibrator_params="percentile=99.999",
                             plan="float_first_and_head", calibration_seed=1)]  # fmt: skip
    text = printed(make_table(rows), width)
    prose = [line for line in text.splitlines() if not line.startswith("    int8bench ")]
    assert max(map(len, prose)) <= width  # a command is one line, to be copied whole
    assert "…" not in text.partition("recommended")[0] or width < 80
    assert ("1.31x" in text) == bool(fp16) or width < 80
