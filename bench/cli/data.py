"""Fetch a public dataset: ``int8bench data coco-val2017``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cli.command import Parser, plain_command
from bench.data.fetch import fetch_data, known_data, read_data
from bench.environment import CONF


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench data",
        description="Fetch a dataset of conf/data into $BENCH_DATA (default datasets/). Shows its "
        "licence first, and prints the command that uses the dataset.",
    )
    root = Path(os.environ.get("BENCH_DATA", "datasets"))
    known = ", ".join(known_data(CONF / "data"))
    parser.add_argument("names", metavar="NAME", nargs="+", help=f"one or more of {known}")
    try:
        for name in parser.parse_args(argv).names:
            print(fetch_data(name, read_data(name, CONF / "data"), root))
    except KeyboardInterrupt:
        print(
            "error: interrupted. Downloaded data is kept; run the same command to continue",
            file=sys.stderr,
        )
        return 130
    return 0
