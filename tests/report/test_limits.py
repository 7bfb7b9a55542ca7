"""The page of a large sweep stays small, and says what it leaves out."""

from __future__ import annotations

import pytest

from bench.cli.report import main
from bench.report import limits
from bench.results.table import make_table, write_table
from tests.benchmarks import made_up_sweep


@pytest.fixture
def folder(tmp_path, row, monkeypatch):
    for name, most in (("WHOLE", 3), ("LISTED", 2), ("DRAWN", 1)):
        monkeypatch.setattr(limits, name, most)
    rows = [
        row(model=model, calibrator=calibrator, delta=-0.1 * number)
        for model in ("yolov8n", "resnet18")
        for number, calibrator in enumerate(("minmax", "mse", "entropy2"))
    ]
    write_table(make_table(rows), tmp_path)
    return tmp_path


def test_a_large_sweep_lists_the_best_runs_and_draws_the_first_groups(folder):
    assert main([str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert page.count("2 of 3 runs: the recommended ones, then those that lose least.") == 2
    assert "The sweep is large: the first 1 of 2 groups are shown." in page
    assert {path.name.partition("-")[0] for path in (folder / "figures").iterdir()} == {"1"}
    assert "2 of 3 runs" in (folder / "report.md").read_text()


def test_another_model_is_drawn_on_a_page_of_its_own(folder, capsys):
    assert main([str(folder), "--only=resnet*"]) == 0
    page = (folder / "report-resnet.html").read_text()
    assert "resnet18 on shapes" in page
    assert "yolov8n on shapes" not in page
    assert not (folder / "report.html").exists()
    assert main([str(folder), "--only=vgg"]) == 2
    assert "--only=vgg matches no model of this sweep. It has yolov8n, resnet18" in (
        capsys.readouterr().err
    )


def test_a_made_up_sweep_has_what_a_real_one_has(tmp_path):
    made_up_sweep.write_sweep(tmp_path, 2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"histograms", "judged", "layers", "losses", "ranges", "rows"}
    keys = [row.run_key for row in made_up_sweep.made_up_rows(2000)]
    assert len(set(keys)) == 2000
