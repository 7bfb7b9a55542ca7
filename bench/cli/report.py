"""Redraw the report of a finished sweep from its table: ``int8bench report FOLDER``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from bench.claims.judgements import Judgements
from bench.cli.command import Parser, plain_command
from bench.errors import ConfigError
from bench.report.page import write_report
from bench.report.summary import summarize
from bench.results.settings import read_settings, read_share, write_settings
from bench.results.table import read_table


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench report",
        description="Redraw report.html, report.md and figures/*.png from FOLDER/table.csv.",
    )
    parser.add_folder()
    parser.add_argument(
        "--max-loss", metavar="SHARE", help="largest allowed loss as a share of FP32, such as 1%%"
    )
    parser.add_argument(
        "--margin", metavar="SHARE", help="rows closer than this tie, such as 0.005"
    )
    parser.add_argument(
        "--only", metavar="MODEL", help="only these models, such as 'yolo*'; writes a separate page"
    )
    options = parser.parse_args(argv)
    print(redraw(options.folder, options.max_loss, options.margin, options.only or ""))
    return 0


def redraw(
    folder: Path, max_loss: str | float | None, margin: str | float | None, only: str = ""
) -> Path:
    """Draw a folder's report again, and return its page; what is given replaces its settings.

    Raises DataError without a table, ConfigError for a share that is none, and for ``only`` that
    names no model of the table.
    """
    table, settings = read_table(folder), read_settings(folder)
    if only:
        chosen = [fnmatchcase(str(model), only) for model in table["model"]]
        if not any(chosen):
            known = ", ".join(table["model"].unique())
            raise ConfigError(f"--only={only} matches no model of this sweep", f"It has {known}")
        table = table[chosen]
    given = {
        "margin": read_share("--margin", margin),
        "max_loss": read_share("--max-loss", max_loss),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if changes:
        settings = replace(settings, **changes)
        write_settings(folder, settings)
    summary = summarize(table, Judgements(folder), settings)
    return write_report(folder, summary, only)
