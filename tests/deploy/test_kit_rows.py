"""Which rows a kit takes, and what a target does first."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.deploy.kit.jobs import list_jobs
from bench.deploy.kit.rows import by_worth, choose_rows, label_of
from bench.errors import ConfigError, DataError
from bench.results.row import Row
from bench.results.store import RowStore
from tests.report.conftest import make_row, make_skip


def stored(folder: Path, *rows: Row) -> Path:
    for row in rows:
        RowStore(folder).add(row, {})
    return folder


def test_what_differs_most_comes_first() -> None:
    rows = [
        make_row(run_key="c", calibrator="minmax", plan="all", delta=-0.03),
        make_row(run_key="b", calibrator="minmax", plan="all", delta=-0.02),
        make_row(run_key="e", calibrator="entropy2", plan="all", delta=-0.2),
        make_row(run_key="a", calibrator="minmax", plan="float_first", delta=-0.01),
        make_row(run_key="d", calibrator="entropy2", plan="float_head", delta=-0.1),
        make_row(run_key="f", calibrator="entropy2", plan="float_head", delta=-0.15),
    ]
    # the best row, the best of the other calibrator, of the plan that is left, then by loss
    assert [row.run_key for row in by_worth(rows)] == ["a", "d", "b", "c", "f", "e"]


def test_native_caches_then_the_best_row_and_what_it_is_compared_with() -> None:
    rows = [make_row(run_key="a"), make_row(run_key="b")]
    jobs = [job["id"] for job in list_jobs(rows, ["minmax", "entropy2"])]
    assert jobs == [
        "native-minmax", "native-entropy2", "int8-a", "fp32", "int8-native-minmax",
        "int8-native-entropy2", "fp16", "int8-b",
    ]  # fmt: skip
    assert [job["id"] for job in list_jobs(rows, [])] == ["int8-a", "fp32", "fp16", "int8-b"]


def test_only_what_a_target_can_measure_is_taken(tmp_path: Path) -> None:
    folder = stored(
        tmp_path,
        make_row(run_key="good"),
        make_skip(run_key="skipped"),
        make_row(run_key="asymmetric", scheme="asymmetric"),
        make_row(run_key="target", measured_on="orin"),
        make_row(run_key="native", calibrator="tensorrt_minmax"),
        make_row(run_key="later", engine="onnxruntime"),  # the same file in another engine
    )
    assert [row.run_key for row in choose_rows(folder, [], None)] == ["good"]
    with pytest.raises(DataError, match="no run asymmetric that a kit can hold"):
        choose_rows(folder, ["asymmetric"], None)


def test_a_kit_has_one_model(tmp_path: Path) -> None:
    folder = stored(
        tmp_path,
        make_row(run_key="one"),
        make_row(run_key="two", model="resnet18", model_sha256="b" * 64),
    )
    with pytest.raises(ConfigError, match="several models, and a kit holds one"):
        choose_rows(folder, [], None)
    assert [row.run_key for row in choose_rows(folder, [], "resnet18")] == ["two"]
    assert [row.run_key for row in choose_rows(folder, ["one"], None)] == ["one"]


def test_labels_say_what_a_person_wants_to_know() -> None:
    row = make_row(
        calibrator="percentile", calibrator_params="percentile=99.99", calibration_size=1
    )
    assert label_of(row) == "INT8 percentile 99.99, 1 image, seed 0, all"
    other = make_row(calibrator="entropy2", calibrator_params="bins=2048", placement="implicit")
    assert label_of(other) == "INT8 entropy2, 64 images, seed 0, all, implicit"
