"""A baseline far from what is published: a warning, a note in its row, a caveat in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.caveats import find_caveats
from bench.report.wording import tidy
from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

RUN = ["model=resnet18", "dataset.validation_images=12", "dataset.calibration_images=4"]


def published(value: float, classes: int = 10) -> list[str]:
    given = {
        "dataset": "'Shapes val'", "classes": classes, "metric": "Top-1", "value": value,
        "images": 5000, "source": "'https://docs'",
    }  # fmt: skip
    return [f"model.weights.shapes.published.{key}={what}" for key, what in given.items()]


def test_far_from_the_published_value(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench("--multirun", *RUN, "plan=all,float_first", *published(0.3), report=True)
    assert ended.status == 0, ended.err
    (warning,) = (line for line in ended.err.splitlines() if line.startswith("warning:"))
    assert warning.startswith("warning: resnet18: FP32 Top-1 is 1.000")
    assert "on 12 images, but 0.300 is published for the 5000 of Shapes val" in warning
    assert set(bench.table["published_fp32"]) == {0.3}
    (caveat,) = (c for c in find_caveats(tidy(bench.table.reset_index())) if "published" in c)
    assert caveat.startswith("resnet18, 2 runs: FP32 Top-1 is 1.000")
    assert "is published for" in (bench.out / "report.html").read_text()


def test_near_it_and_for_other_classes_nothing_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    for given in (published(0.9), published(0.3, classes=1000)):
        ended = bench(*RUN, *given)
        assert "warning" not in ended.err
    (row,) = bench.table.to_dict("records")  # what is published is no part of what is computed
    assert row["published_fp32"] == 0.9
    assert not isinstance(row["published_note"], str) or not row["published_note"]


def test_half_of_a_published_value_is_one_line(tmp_path: Path) -> None:
    ended = Bench(tmp_path / "out", tmp_path / "cache")(*RUN, *published(0.3)[:-1])
    assert "model.weights.shapes.published.source is not given" in ended.one_line
