"""A sweep's folder: where its files lie."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.row import Row

ROOT = Path(__file__).parents[2]


def test_every_path_lies_under_the_folder_and_no_two_are_one() -> None:
    folder, paths = SweepFolder(Path("sweep")), []
    for name, member in inspect.getmembers(SweepFolder):
        if isinstance(member, property):
            paths.append(getattr(folder, name))
        elif inspect.isfunction(member) and not name.startswith("_"):
            paths.append(member(folder, "key"))
    assert len(set(paths)) == len(paths) > 15
    assert all(path.is_relative_to("sweep") for path in paths)


def test_names_that_users_know() -> None:
    folder = SweepFolder(Path("s"))
    assert folder.table_csv == Path("s/table.csv")
    assert folder.report_html == Path("s/report.html")
    assert folder.row("k") == Path("s/rows/k.json")
    assert folder.layers("k") == Path("s/layers/k.json")


def test_hydra_writes_its_jobs_there() -> None:
    sweep = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())["hydra"]["sweep"]
    assert sweep["dir"] == "${sweep.out}/" + SweepFolder(Path()).jobs.as_posix()


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", "a\0", ".hidden"])
def test_a_name_from_a_row_leads_out_of_no_folder(name, tmp_path):
    folder = SweepFolder(tmp_path)
    ways = [folder.row, folder.rounding, folder.judged, folder.histograms, folder.ranges,
            folder.rules, folder.layers, folder.losses, folder.picture, folder.bundle]  # fmt: skip
    for way in ways:
        with pytest.raises(DataError, match="cannot name a file of results"):
            way(name)
        assert way("a-1").is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"run_key": "../../x"}, {"run_key": 7}, {"overrides": "calibrator='minmax"}]
)
def test_a_row_that_leads_elsewhere_is_not_one(changes, full_row):
    with pytest.raises(ValueError, match=r"run_key|quotation"):
        Row.from_json(full_row().to_json() | changes)
