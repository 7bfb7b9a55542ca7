"""Judge published claims on a finished sweep: ``python scripts/claims.py FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.claims.record import write_claims
from bench.explain import command
from bench.report.page import write_report
from bench.report.verdicts import print_verdicts


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Judge every claim of conf/claim on FOLDER/table.csv, write FOLDER/claims.json "
        "and references.json, and redraw the report with them."
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
    )
    folder = parser.parse_args(arguments).folder
    print_verdicts(write_claims(folder), Console())
    print(f"{folder / 'claims.json'}   {write_report(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
