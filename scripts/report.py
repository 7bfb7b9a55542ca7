"""Redraw the report of a finished sweep from its table: ``python scripts/report.py FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.explain import command
from bench.report.page import write_report


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Redraw report.html, report.md and figures/*.png from FOLDER/table.csv."
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
    )
    folder = parser.parse_args(arguments).folder
    print(write_report(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
