"""The script that shows whose thresholds depend on batch size and order."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scripts.batch_and_order import cases, main


def test_the_embedded_resnet18(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["model=resnet18", "calibration.size=16", f"sweep.cache={tmp_path}/cache"]
    assert main([*few, "--orders", "2", "--out", f"{tmp_path}/out"]) == 0
    told = capsys.readouterr().out
    for name in ("minmax", "percentile", "mse", "legacy", "entropy2 without a batch size"):
        assert f"{name}: exactly 1 in every order" in told
    assert (tmp_path / "out/batch-and-order.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "out/batch-and-order.csv", dtype={"batch_size": str})
    table = table.set_index(["calibrator", "batch_size"])
    assert (table["tensors"] == 29).all()
    for rule in ("entropy2", "moving_average"):
        assert set(table.loc[rule].index) == {"1", "8", "16"}
        assert table.loc[(rule, "1"), "moved_1_percent"] > 0
        assert table.loc[(rule, "16"), ["least", "most"]].tolist() == [1, 1]


def test_commas_make_panels() -> None:
    assert cases([]) == [["model=yolov8n"], ["model=resnet18"]]
    assert cases(["model=resnet18", "calibration.size=8,16"]) == [
        ["model=resnet18", "calibration.size=8"],
        ["model=resnet18", "calibration.size=16"],
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model=nothing"], "model=nothing is unknown"),
        (["yolov8n"], "'yolov8n' cannot be read"),
        (["calibration.size=0"], "calibration.size=0 is below 1"),
        (["--orders", "0"], "--orders=0 is below 1"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
