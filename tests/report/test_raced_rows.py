"""Rows that lost a race: listed and explained, and in no answer, figure, verdict or comparison."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.claims.claim import load_claims
from bench.claims.select import find_cases, measured_rows
from bench.cli.run_line import row_line
from bench.report.console import print_table
from bench.report.figures import groups_of
from bench.report.page import Report, render_html, render_markdown
from bench.report.summary import summarize
from bench.results.table import make_table

LOST = {
    "status": "raced", "n_images": 50, "raced_against": "key", "raced_ahead": 0.004,
    "error": "at most 0.0040 better than minmax, 64 images, plan all, as 50 images of 400 prove",
    "speedup": None, "int8_latency_p50_ms": None, "fp32_latency_p50_ms": None,
    "baseline_latency_p50_ms": None, "int8_mac_share": None, "run_s": 2.0,
}  # fmt: skip


@pytest.fixture
def rows(row):
    """On the few images that it saw, the run that lost looks best by far."""
    return [row(delta=-0.01), row(calibrator="entropy2", delta=0.2, **LOST)]


@pytest.fixture
def table(rows):
    return make_table(rows)


def test_it_is_never_recommended_and_counts_as_a_candidate(row, table):
    (answer,) = summarize(table).answers
    assert answer.best.calibrator_label == "minmax"
    assert [result.calibrator_label for result in answer.results] == ["minmax"]
    assert answer.choice.candidates == 2
    assert answer.reason.endswith("1 other configuration lost a race: see Warnings.")
    (alone,) = summarize(make_table([row(delta=-0.01)])).answers
    assert answer.best.difference.low < alone.best.difference.low  # it holds for both at once
    assert answer.best.difference.high > alone.best.difference.high


def test_it_is_listed_last_with_what_it_saw(table):
    report = Report(summarize(table))
    page, text = render_html(report), render_markdown(report)
    for said in (page, text):
        assert "1 of them raced" in said
        assert "raced, saw 50 images: at most 0.0040 better than minmax" in said
        assert "its numbers are those on the images that it saw" in said
        assert "lost a race in 1 run after 50 images" in said
    assert page.index(">minmax</td>") < page.index('<tr class="raced">')
    assert "validated on 50" not in text
    assert "only: the intervals are wide" not in text  # it says nothing of the rows that count


def test_the_terminal_does_not_show_its_accuracy_as_one_on_all_images(table):
    console = Console(width=200)
    with console.capture() as captured:
        print_table(summarize(table), console)
    said = captured.get()
    lines = [line for line in said.splitlines() if "entropy2" in line]
    assert "raced" in lines[0]
    assert "0.800" not in said
    assert "raced: lost a race" in " ".join(said.split())


def test_a_row_that_lost_too_much_of_fp32_is_described_so(row):
    against = LOST | {"raced_against": "FP32", "raced_ahead": -0.1}
    lost = [row(calibrator="entropy2", delta=-0.3, **against)]
    text = " ".join(summarize(make_table([row(), *lost])).warnings)
    assert "lost a race in 1 run after 50 images: proven to lose more than max_loss" in text
    assert "than a complete run" not in text
    both = [*lost, row(calibrator="mse", delta=-0.01, **LOST)]
    text = " ".join(summarize(make_table([row(), *both])).warnings)
    assert "1 proven to lose more than max_loss, 1 proven to be better than a complete" in text


def test_it_counts_configurations_without_a_complete_row(row):
    lost = [row(calibrator="entropy2", calibration_seed=seed, **LOST) for seed in (0, 1)]
    (answer,) = summarize(make_table([row(), *lost])).answers
    assert answer.choice.candidates == 2
    assert "1 other configuration lost a race" in answer.reason
    complete = row(calibrator="entropy2", calibration_seed=2)
    (answer,) = summarize(make_table([row(), *lost, complete])).answers
    assert answer.choice.candidates == 2
    assert "lost a race" not in answer.reason


def test_claims_and_figures_leave_it_out(rows, row):
    table, lost = make_table([*rows, row(calibrator="mse", plan="float_head")]), rows[1].run_key
    cases = [case for claim in load_claims() for case in find_cases(measured_rows(table), claim)]
    assert all(lost not in case.keys for case in cases)
    completed = make_table([rows[0], row(calibrator="entropy2", run_key=lost)])
    claims = load_claims()
    cases = [case for claim in claims for case in find_cases(measured_rows(completed), claim)]
    assert any(lost in case.keys for case in cases)  # the same run, once it is complete
    (group,) = groups_of(table)
    assert lost not in set(group.rows["run_key"])


def test_the_progress_says_why_it_ended(rows):
    assert row_line(rows[1]) == f"entropy2, 64 images, plan all: raced: {LOST['error']}, 2 s"


def test_with_nothing_else_there_is_no_answer(row):
    summary = summarize(make_table([row(**LOST)]))
    assert (summary.answers, summary.raced) == ((), 1)
