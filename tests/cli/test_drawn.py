"""A report is drawn again only where something of it has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import drawn
from bench.cli.drawn import Drawn
from bench.results.folder import SweepFolder
from bench.results.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep's folder whose report has been drawn."""
    folder = SweepFolder(tmp_path)
    for path in (folder.table_csv, folder.report_html, folder.report_markdown, folder.claims):
        path.write_text(path.name)
    Drawn(tmp_path, Settings()).note()
    return folder


def test_what_was_drawn_is_current(folder: SweepFolder) -> None:
    assert Drawn(folder.path, Settings()).current


def test_before_it_was_drawn_it_is_not(tmp_path: Path) -> None:
    assert not Drawn(tmp_path, Settings()).current
    Drawn(tmp_path, Settings()).note()  # of nothing
    assert not Drawn(tmp_path, Settings()).current


@pytest.mark.parametrize("name", ["table_csv", "report_html", "report_markdown", "claims"])
def test_a_file_that_changed_or_is_gone_is_drawn_again(folder: SweepFolder, name: str) -> None:
    path: Path = getattr(folder, name)
    path.write_text("other")
    assert not Drawn(folder.path, Settings()).current
    path.unlink()
    assert not Drawn(folder.path, Settings()).current


def test_other_questions_roundings_or_code_draw_again(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Drawn(folder.path, Settings(max_loss=0.01)).current
    folder.roundings.mkdir()
    folder.rounding("0123").write_text("{}")
    assert not Drawn(folder.path, Settings()).current
    folder.rounding("0123").unlink()
    assert Drawn(folder.path, Settings()).current
    monkeypatch.setattr(drawn, "_CODE", "another")
    assert not Drawn(folder.path, Settings()).current
