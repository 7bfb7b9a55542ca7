"""Compare two sweeps: ``int8bench compare FIRST SECOND``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.cli.command import Parser, plain_command
from bench.report.comparison import compare_folders, print_comparison


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 where a configuration is proven worse, 2 where nothing can be compared."""
    parser = Parser(
        "int8bench compare",
        description="Compare the rows of two sweeps with the same settings: SECOND minus FIRST, "
        "with 95 %% intervals that hold for all rows at once. Exit status 1 if any is proven "
        "worse.",
    )
    parser.add_argument("first", metavar="FIRST", type=Path, help="results before")
    parser.add_argument("second", metavar="SECOND", type=Path, help="results after")
    parser.add_argument("--all", action="store_true", help="also list what did not change")
    options = parser.parse_args(argv)
    comparison = compare_folders(options.first, options.second)
    print_comparison(comparison, Console(highlight=False), options.all)
    return 1 if comparison.worse else 0
