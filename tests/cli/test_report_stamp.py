"""A report is drawn again only where something of it has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import report_stamp
from bench.cli.report_stamp import ReportStamp
from bench.results.folder import SweepFolder
from bench.results.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep's folder whose report has been drawn."""
    folder = SweepFolder(tmp_path)
    for path in (folder.table_csv, folder.report_html, folder.report_markdown, folder.claims):
        path.write_text(path.name)
    ReportStamp(tmp_path, Settings()).write()
    return folder


def test_what_was_drawn_is_current(folder: SweepFolder) -> None:
    assert ReportStamp(folder.path, Settings()).matches


def test_before_it_was_drawn_it_is_not(tmp_path: Path) -> None:
    assert not ReportStamp(tmp_path, Settings()).matches
    ReportStamp(tmp_path, Settings()).write()  # of nothing
    assert not ReportStamp(tmp_path, Settings()).matches


@pytest.mark.parametrize("name", ["table_csv", "report_html", "report_markdown", "claims"])
def test_a_file_that_changed_or_is_gone_is_drawn_again(folder: SweepFolder, name: str) -> None:
    path: Path = getattr(folder, name)
    path.write_text("other")
    assert not ReportStamp(folder.path, Settings()).matches
    path.unlink()
    assert not ReportStamp(folder.path, Settings()).matches


def test_other_questions_roundings_or_code_draw_again(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ReportStamp(folder.path, Settings(max_loss=0.01)).matches
    folder.roundings.mkdir()
    folder.rounding("0123").write_text("{}")
    assert not ReportStamp(folder.path, Settings()).matches
    folder.rounding("0123").unlink()
    assert ReportStamp(folder.path, Settings()).matches
    monkeypatch.setattr(report_stamp, "_CODE", "another")
    assert not ReportStamp(folder.path, Settings()).matches
