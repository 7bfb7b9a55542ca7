"""Redraw the report of a finished sweep from its table: ``int8bench report FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.cli.command import Parser, plain_command
from bench.report.page import redraw_report
from bench.results.settings import read_settings, read_share, write_settings
from bench.results.table import read_table


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench report",
        description="Redraw report.html, report.md and figures/*.png from FOLDER/table.csv.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
    )
    parser.add_argument("--max-loss", metavar="SHARE", help="what may be lost of FP32, as 1%%")
    parser.add_argument("--margin", metavar="SHARE", help="rows tie within it, as 0.005")
    options = parser.parse_args(argv)
    kept = read_settings(options.folder)
    given = {
        "margin": read_share("--margin", options.margin),
        "max_loss": read_share("--max-loss", options.max_loss),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if changes:
        read_table(options.folder)  # nothing is written where there is no sweep
        write_settings(options.folder, replace(kept, **changes))
    print(redraw_report(options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
