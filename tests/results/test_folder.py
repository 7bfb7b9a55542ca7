"""A sweep's folder: where its files lie."""

from __future__ import annotations

import inspect
from pathlib import Path

import yaml

from bench.results.folder import SweepFolder

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
