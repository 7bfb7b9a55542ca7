"""``int8bench compare``: two sweeps, configuration by configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.errors import DataError
from bench.report.comparison import Comparison, compare_folders
from bench.results.row import Row
from bench.results.table import make_table, write_table


@pytest.fixture
def compare(tmp_path: Path) -> Callable[[list[Row], list[Row]], Comparison]:
    def write_and_compare(first: list[Row], second: list[Row]) -> Comparison:
        for name, rows in (("first", first), ("second", second)):
            (tmp_path / name).mkdir(exist_ok=True)
            write_table(make_table(rows), tmp_path / name)
        return compare_folders(tmp_path / "first", tmp_path / "second")

    return write_and_compare


def kinds(comparison: Comparison) -> dict[str, str]:
    return {change.name.split(", ")[1]: change.kind for change in comparison.changes}


def test_what_is_proven_is_told_from_what_is_open(row, compare):
    before = {"minmax": -0.01, "mse": -0.05, "entropy2": -0.01, "legacy": -0.02}
    after = {"minmax": -0.05, "mse": -0.01, "entropy2": -0.012, "legacy": -0.02}
    found = compare(
        [row(calibrator=name, delta=delta) for name, delta in before.items()],
        [row(calibrator=name, delta=delta) for name, delta in after.items()],
    )
    assert kinds(found) == {
        "minmax": "worse", "mse": "better", "entropy2": "open", "legacy": "same",
    }  # fmt: skip
    assert found.changes[0].change.estimate == pytest.approx(-0.04)
    assert found.changes[0].change.high < 0
    assert not found.changes[0].fp32_changed


def test_many_configurations_need_stronger_evidence(row, compare):
    """One of twenty differences at the edge of its own interval proves nothing."""
    edge = {"delta": -0.016, "noise": 0.004}
    alone = compare([row(noise=0.004)], [row(**edge)])
    assert kinds(alone) == {"minmax": "worse"}
    sizes = range(10, 30)
    many = compare(
        [row(calibration_size=size, noise=0.004) for size in sizes],
        [row(calibration_size=size, **(edge if size == 10 else {})) for size in sizes],
    )
    assert not many.worse


def test_a_new_fp32_model_is_compared_by_its_losses(row, compare):
    found = compare([row(fp32=0.6, delta=-0.01)], [row(fp32=0.5, int8=0.49, delta=-0.01)])
    assert found.changes[0].fp32_changed
    assert found.changes[0].kind == "same"


def test_latencies_are_compared_on_one_machine_alone(row, compare):
    same = compare(
        [row(int8_latency_p50_ms=20.0, timing="alone")],
        [row(int8_latency_p50_ms=10.0, timing="alone")],
    )
    assert same.changes[0].faster == pytest.approx(0.5)
    for other in ({"hardware": "another"}, {"timing": "shared"}):
        changed = compare([row(timing="alone")], [row(**({"timing": "alone"} | other))])
        assert changed.changes[0].faster is None


def test_rows_of_one_sweep_alone_are_named(row, compare):
    found = compare([row(), row(calibrator="mse")], [row(), row(plan="float_head")])
    assert [name.split(", ")[1] for name in found.only_first] == ["mse"]
    assert [name.split(", ")[4] for name in found.only_second] == ["float_head"]


def test_nothing_in_common_is_an_error(row, compare):
    with pytest.raises(DataError, match="no measured configuration in common"):
        compare([row()], [row(model="other")])


def test_the_command_s_exit_status_is_for_a_ci(row, compare, tmp_path, capsys):
    words = ["compare", str(tmp_path / "first"), str(tmp_path / "second")]
    compare([row()], [row()])
    assert main(words) == 0
    assert "1 configuration in both: 1 the same value." in capsys.readouterr().out
    compare([row()], [row(delta=-0.3)])
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "proven worse" in said
    assert "−0.290 (" in said
    assert main(["compare", str(tmp_path / "first"), str(tmp_path / "none")]) == 2
    assert "none/table.csv does not exist" in capsys.readouterr().err
