"""Judge published claims on a finished sweep: ``int8bench claims FOLDER``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from bench.claims.judgements import Judgements
from bench.claims.record import write_claims
from bench.cli.command import Parser, plain_command
from bench.report.console_verdicts import print_verdicts
from bench.report.page import write_report
from bench.report.summary import summarize
from bench.results.settings import read_settings
from bench.results.table import read_table


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench claims",
        description="Judge every claim of conf/claim on FOLDER/table.csv, write FOLDER/claims.json "
        "and references.json, and redraw the report with them.",
    )
    parser.add_folder()
    folder = parser.parse_args(argv).folder
    judgements = Judgements(folder)
    summary = summarize(read_table(folder), judgements, read_settings(folder))
    print_verdicts(write_claims(folder, summary.tidied, judgements), Console())
    print(f"{folder / 'claims.json'}   {write_report(folder, summary)}")
    return 0
