"""Redraw the report of a finished sweep from its table: ``int8bench report FOLDER``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

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
    table, settings = read_table(options.folder), read_settings(options.folder)
    if options.only:
        chosen = [fnmatchcase(str(model), options.only) for model in table["model"]]
        if not any(chosen):
            known = ", ".join(table["model"].unique())
            raise ConfigError(
                f"--only={options.only} matches no model of this sweep", f"It has {known}"
            )
        table = table[chosen]
    given = {
        "margin": read_share("--margin", options.margin),
        "max_loss": read_share("--max-loss", options.max_loss),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if changes:
        settings = replace(settings, **changes)
        write_settings(options.folder, settings)
    summary = summarize(table, Judgements(options.folder), settings)
    print(write_report(options.folder, summary, options.only or ""))
    return 0
