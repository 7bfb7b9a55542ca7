"""``int8bench merge KIT``: what targets measured becomes rows of the sweep that the kit is of."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.claims.judgements import Judgements
from bench.claims.record import write_claims
from bench.cli.command import Parser
from bench.cli.messages import command
from bench.deploy.merge.returned import Target, find_targets
from bench.deploy.merge.scoring import open_scoring
from bench.deploy.merge.target import merge_target
from bench.errors import DataError
from bench.report.console import print_table
from bench.report.page import write_report
from bench.report.summary import summarize
from bench.results.folder import SweepFolder
from bench.results.settings import read_settings
from bench.results.store import RowStore
from bench.results.table import write_table
from bench.sealed import from_sealed_json, warn


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1: a file that came back is damaged; 2: nothing can be merged."""
    options = _parser().parse_args(argv)
    sweep, record = _record(options.kit, options.sweep)
    targets = list(find_targets(options.kit, record, options.name))
    if not targets:
        raise DataError(
            f"{options.kit / 'results'} has no results of this kit",
            "Copy results/NAME of the target's kit there",
        )
    store = RowStore(sweep)
    rows = store.rows()
    wrong = _merge(targets, rows, record, store)
    _conclude(sweep)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "int8bench merge", description="Add what targets measured of a kit to its sweep's table."
    )
    parser.add_argument("kit", metavar="KIT", type=Path, help="a kit, with results/NAME in it")
    parser.add_argument("--name", help="merge this target alone")
    parser.add_argument(
        "--sweep", metavar="FOLDER", type=Path, help="the kit's sweep (default: where it was)"
    )
    return parser


def _record(kit: Path, sweep: Path | None) -> tuple[Path, Mapping[str, Any]]:
    """The sweep of a kit, and what the sweep keeps of it: of the kit's own files only its name is
    believed, since it may have been elsewhere."""
    path = kit / "kit.json"
    try:
        said = json.loads(path.read_bytes())
        name, folder = str(said["id"]), sweep or Path(str(said["sweep"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({error})", "Name a folder that int8bench kit wrote"
        ) from error
    kept = SweepFolder(folder).kit(name)
    if not kept.is_file():
        raise DataError(
            f"{folder} does not know this kit", "Name the sweep that it was made of: --sweep FOLDER"
        )
    return folder, from_sealed_json(kept.read_bytes(), kept)


def _merge(
    targets: Sequence[Target], rows: Sequence[Any], record: Mapping[str, Any], store: RowStore
) -> int:
    """How many files were damaged, each of which was said in a line."""
    scoring = open_scoring(rows, record)
    wrong = 0
    for target in targets:
        merged, damaged = merge_target(target, scoring, rows, store)
        for error in damaged:
            warn(f"{error}: that job is left out")
        wrong += len(damaged)
        print(f"{target.machine.name}: {merged} rows merged", file=sys.stderr)
    return wrong


def _conclude(sweep: Path) -> None:
    """Table, claims and report of all rows."""
    table, settings, judgements = RowStore(sweep).table(), read_settings(sweep), Judgements(sweep)
    write_table(table, sweep)
    summary = summarize(table, judgements, settings)
    write_claims(sweep, summary.tidied, judgements)
    page = write_report(sweep, summary)
    console = Console()
    print_table(summary, console)
    console.print(f"Table: {sweep / 'table.csv'}   Report: {page}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
