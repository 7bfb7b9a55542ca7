"""Fetch a public dataset: ``python scripts/data.py coco-val2017``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.compose import CONF
from bench.data.fetch import fetch_data, known_data, read_data
from bench.explain import command


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Fetch a dataset of conf/data into $BENCH_DATA (default datasets/), after its "
        "licence, and print the command that uses it."
    )
    known = ", ".join(known_data(CONF / "data"))
    parser.add_argument("names", metavar="NAME", nargs="+", help=f"one or more of {known}")
    try:
        for name in parser.parse_args(arguments).names:
            print(fetch_data(name, read_data(name, CONF / "data")))
    except KeyboardInterrupt:
        print("error: interrupted. What has come is kept; the same command goes on",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
