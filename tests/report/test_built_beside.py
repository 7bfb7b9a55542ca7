"""An engine built beside a measured run: one sentence, on every first screen, and no warning."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from rich.console import Console

from bench.report.console import print_table
from bench.report.page import Report, render_html, render_markdown
from bench.report.summary import summarize
from bench.results.table import make_table

BUILT = {
    "builder": "tensorrt_rtx", "builder_version": "1.7.1.116", "compute_capability": "SM89",
    "engine_bytes": 4_200_000, "engine_build_s": 1.54, "fp32_engine_bytes": 6_800_000,
    "fp16_engine_bytes": 3_500_000, "builder_warnings": 0,
}  # fmt: skip
SENTENCE = (
    "tensorrt_rtx 1.7.1.116 also built an engine of this configuration in 1.5 s, for GPUs of "
    "compute capability 8.9 (SM89): 4.2 MB, against 6.8 MB in FP32 and 3.5 MB in FP16; it was not "
    "run: accuracy and latency come from openvino."
)


def said(table: pd.DataFrame) -> str:
    (answer,) = summarize(table).answers
    return answer.built.sentence


def first_screens(table: pd.DataFrame) -> list[str]:
    """What stands before the warnings and figures: of the page, of Markdown; and the console."""
    report, out = Report(summarize(table)), io.StringIO()
    print_table(report.summary, Console(file=out, width=200))
    page = re.sub(r"<[^>]+>", " ", render_html(report).partition("</style>")[2])
    texts = (
        page.partition("Each calibrator at its best")[0],
        render_markdown(report).partition("| calibrator | best")[0],
        out.getvalue().replace("\n", " "),
    )
    return [" ".join(text.split()) for text in texts]


def test_the_first_screen_says_what_was_built_and_that_it_was_not_run(row):
    table = make_table(
        [row(**BUILT), row(calibrator="mse", delta=-0.1, **BUILT | {"engine_bytes": 9_900_000})]
    )
    assert [text.count(SENTENCE) for text in first_screens(table)] == [1, 1, 1]
    assert summarize(table).warnings == ()


def test_sizes_that_are_not_known_are_left_out(row):
    alone = BUILT | {"fp32_engine_bytes": None, "fp16_engine_bytes": None}
    assert "(SM89): 4.2 MB; it was not run" in said(make_table([row(**alone)]))
    half = BUILT | {"fp16_engine_bytes": None}
    assert "4.2 MB, against 6.8 MB in FP32; it was" in said(make_table([row(**half)]))


def test_an_accuracy_that_no_engine_gave_is_not_put_down_to_one(row):
    emulated = row(**BUILT, accuracy_by="exact emulation", kernels_int8=0.5)
    assert said(make_table([emulated])).endswith(
        ": the accuracy comes from the Q/DQ file, the latency from openvino."
    )


def test_a_refusal_says_why_and_is_not_repeated(row):
    refused = {name: BUILT[name] for name in ("builder", "builder_version", "compute_capability")}
    refused |= {"builder_error": "no zero points."}
    rows = [row(calibrator=name, **refused) for name in ("minmax", "mse", "legacy")]
    table = make_table(rows)
    sentence = (
        "tensorrt_rtx 1.7.1.116 refused to build an engine of this configuration for GPUs of "
        "compute capability 8.9 (SM89), as in 2 other runs: no zero points."
    )
    assert [text.count(sentence) for text in first_screens(table)] == [1, 1, 1]
    assert summarize(table).warnings == ()


@pytest.mark.parametrize("others", [0, 2])
def test_without_a_builder_nothing_is_said(row, built, others):
    table = make_table([row(), *(built() for _ in range(others))])
    assert said(table) == ""
    assert all("also built" not in text for text in first_screens(table))
