"""Judge published claims on a finished sweep: ``int8bench claims FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.claims.record import write_claims
from bench.cli.messages import Parser, command
from bench.report.page import write_report
from bench.report.verdicts import print_verdicts


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench claims",
        description="Judge every claim of conf/claim on FOLDER/table.csv, write FOLDER/claims.json "
        "and references.json, and redraw the report with them.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
    )
    folder = parser.parse_args(argv).folder
    print_verdicts(write_claims(folder), Console())
    print(f"{folder / 'claims.json'}   {write_report(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
