"""Every YAML of claims and published cases is whole, and a bad one is one clear line."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any

import pytest

from bench.claims.claim import load_claims
from bench.claims.reference import FAMILIES, compare_references, load_references
from bench.environment import CONF
from bench.errors import ConfigError
from bench.results.table import make_table
from tests.claims.made import pair
from tests.composing import composed
from tests.report.conftest import make_row

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
        ("https://example.org/1", "me", "'me' is not a source"),
        ("statement:", "statment:", "has no field 'statment'"),
        ("calibrator: mse", "calibrater: mse", "second has an unknown column 'calibrater'"),
        ("difference", "feeling", r"test.quantity=feeling is unknown. Use difference,"),
        ("quantity: difference", "quantity: ratio", "needs test.columns"),
        ("quantity: difference", "quantity: winner", "needs test.over"),
        ("quantity: difference", "quantity: kept", "needs no first and second"),
        ("difference}", "difference, threshold: much}", "threshold=much is not a number"),
        ("{quantity: difference}", "difference", "test is not a mapping"),
        ("{calibrator: mse}", "mse", "second is not a mapping"),
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
    cases = {one.case.id: one for one in compare_references(load_references(), make_table(rows))}
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
