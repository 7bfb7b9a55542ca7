"""The result of a folder of rows: its table, verdicts and report, written and printed."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from bench.claims.judgements import Judgements
from bench.claims.record import write_claims
from bench.cli.report_stamp import ReportStamp
from bench.report.console import print_table
from bench.report.page import write_report
from bench.report.summary import Summary, summarize
from bench.results.folder import SweepFolder
from bench.results.settings import Settings, write_settings
from bench.results.store import RowStore
from bench.results.table import write_table


def conclude_folder(folder: Path, settings: Settings, console: Console) -> Summary | None:
    """Write table, claims and report of the rows in ``folder``, and print the table.

    Returns the summary; None where there is no row.
    """
    store = RowStore(folder)
    store.pack()
    table = store.table()
    if table.empty:
        return None
    write_settings(folder, settings)
    write_table(table, folder)
    judgements = Judgements(folder)
    summary = summarize(table, judgements, settings)
    stamp = ReportStamp(folder, settings)
    if not stamp.matches:
        print("writing table, verdicts and report", file=sys.stderr)
        write_claims(folder, summary.tidied, judgements)
        write_report(folder, summary)
        stamp.write()
    store.packs.restore(summary.best_keys)  # the report names their files
    print_table(summary, console)
    return summary


def print_places(folder: Path, console: Console) -> None:
    """Say where table and report are."""
    report = SweepFolder(folder).report_html
    console.print(f"Table: {folder / 'table.csv'}   Report: {report}", soft_wrap=True)
