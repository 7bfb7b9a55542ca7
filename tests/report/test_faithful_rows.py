"""What accuracies were computed with, as the report says it: kernels, an emulation, or nothing."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.claims.claim import load_claims
from bench.claims.select import find_cases, measured_rows
from bench.report.console import print_table
from bench.report.page import Report, render_html, render_markdown
from bench.report.summary import summarize
from bench.results.table import make_table

EMULATED = {
    "accuracy_by": "exact emulation", "exact_delta": 0.0, "kernels_int8": 0.31,
    "kernels_delta": -0.29, "kernels_ci_low": -0.31, "kernels_ci_high": -0.27,
}  # fmt: skip
WHY = "the outputs are 21.0 dB further off than rounding goes. Add engine.accuracy_by=emulation"


def printed(table) -> str:
    console = Console(width=200)
    with console.capture() as said:
        print_table(summarize(table), console)
    return " ".join(said.get().split())


@pytest.fixture
def mixed(row):
    """The best row by its numbers is unfaithful."""
    return make_table(
        [
            row(
                calibrator="entropy2", delta=0.02, status="unfaithful", error=WHY, exact_sqnr_db=14
            ),
            row(calibrator="minmax", delta=-0.01, accuracy_by="int8 kernels"),
        ]
    )


def test_an_unfaithful_row_is_never_recommended_and_said_first(mixed):
    summary = summarize(mixed)
    (answer,) = summary.answers
    assert (answer.best.calibrator_label, answer.ties) == ("minmax", ())
    assert summary.unfaithful == 1
    assert summary.warnings[0].startswith(
        "yolov8n on shapes, openvino, does not compute the Q/DQ file in 1 run"
    )
    assert WHY in summary.warnings[0]


def test_it_is_marked_wherever_rows_are_listed(mixed):
    report = Report(summarize(mixed))
    page, text, said = render_html(report), render_markdown(report), printed(mixed)
    assert '<tr class="unfaithful">' in page
    assert "✗ does not compute the Q/DQ file, see Warnings" in page
    assert "✗ does not compute the Q/DQ file, see Warnings" in text
    assert "1 of them unfaithful" in page
    assert "1 of them unfaithful" in text
    assert "✗ entropy2" in said
    assert "✗ does not compute the Q/DQ file" in said


def test_no_claim_counts_it(mixed):
    cases = [case for claim in load_claims() for case in find_cases(measured_rows(mixed), claim)]
    unfaithful = mixed["run_key"][0]
    assert cases
    assert all(unfaithful not in case.keys for case in cases)


def test_where_nothing_is_faithful_nothing_is_recommended(row):
    table = make_table([row(status="unfaithful", error=WHY, exact_sqnr_db=14.3)])
    summary = summarize(table)
    assert summary.answers == ()
    (sentence,) = summary.unanswered
    assert "no run is recommended, as none computes its Q/DQ file correctly" in sentence
    assert sentence in " ".join(render_markdown(Report(summary)).split())


def test_an_emulation_says_what_the_kernels_reach_here(row):
    table = make_table([row(**EMULATED), row(calibrator="mse", delta=-0.05, **EMULATED)])
    summary = summarize(table)
    (answer,) = summary.answers
    assert "the int8 kernels of this engine reach 0.310 on this processor" in answer.sentence
    assert "−0.310 to −0.270" in answer.sentence
    (warning,) = (one for one in summary.warnings if "exactly in float" in one)
    assert "openvino are not exact on this processor (yolov8n on shapes, 2 runs)" in warning
    assert "they reach 0.310 mAP50-95 where the Q/DQ file has 0.590" in warning
    page = render_html(Report(summary))
    assert "mAP50-95 of the int8 kernels here" in page
    assert "INT8 kernels here" in page  # a column
    assert "kernels here" in printed(table)


def test_an_emulation_that_was_asked_for_says_so(row):
    asked = row(**EMULATED, engine_options="accuracy_by=emulation")
    (warning,) = summarize(make_table([asked])).warnings
    assert "as engine.accuracy_by requests (yolov8n on shapes, 1 run)" in warning
    assert "its int8 kernels, which reach 0.310 mAP50-95 where the Q/DQ file has 0.590" in warning


def test_kernels_that_are_exact_need_no_word(row):
    table = make_table([row(accuracy_by="int8 kernels", exact_delta=0.0)])
    assert not any("kernels" in warning for warning in summarize(table).warnings)
    assert "kernels here" not in render_html(Report(summarize(table)))


@pytest.mark.parametrize(
    ("hardware", "engine", "wrong"),
    [
        ("AMD EPYC (no VNNI), 2 cores, 24 GiB", "openvino", True),
        ("AMD EPYC (avx512_vnni), 2 cores, 24 GiB", "openvino", False),
        ("AMD EPYC (no VNNI), 2 cores, 24 GiB", "tensorrt", False),
    ],
)
def test_rows_from_before_the_probe_on_such_a_processor_are_unfaithful(
    row, hardware, engine, wrong
):
    table = make_table([row(hardware=hardware, engine=engine, accuracy_by="")])
    summary = summarize(table)
    assert bool(summary.answers) != wrong
    assert any("Run the sweep again" in one for one in summary.warnings) == wrong


def test_a_row_that_nothing_was_compared_with_says_so(row):
    compared = {"accuracy_by": "int8 kernels", "exact_delta": 0.0}
    alone = compared | {"exact_delta": None}
    said = [summarize(make_table([row(**own)])).warnings for own in (compared, alone)]
    assert "was not compared" not in " ".join(said[0])
    assert "was not compared with an exact computation of the Q/DQ file in 1 run" in said[1][0]
