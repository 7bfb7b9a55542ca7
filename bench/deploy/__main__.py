"""``int8bench bundle results/SWEEP``: a chosen row of a table as a folder to deploy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cli.command import Parser
from bench.cli.messages import command
from bench.deploy.bundle import write_bundle
from bench.deploy.choose import choose_row, rebuild_run
from bench.deploy.target import check_target
from bench.engine.trt.rtx import TensorRtRtx
from bench.results.folder import SweepFolder


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit status 2: what was asked cannot be."""
    options = _parser().parse_args(argv)
    row = choose_row(options.folder, options.run)
    target = options.to or SweepFolder(options.folder).bundle(row.run_key)
    check_target(target)
    builders = [TensorRtRtx(capability) for capability in dict.fromkeys(options.engine)]
    write_bundle(row, rebuild_run(row), options.folder, target, builders)
    print(f"{target}: begin with its README.md; check it with python {target / 'verify.py'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "int8bench bundle", description="Turn one row of a sweep's table into a bundle."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a sweep, as results/SWEEP")
    parser.add_argument(
        "--run", metavar="KEY", help="the row's run_key (default: what the report recommends)"
    )
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, help="default: bundle-KEY in the sweep's folder"
    )
    parser.add_argument(
        "--engine",
        metavar="SM89",
        action="append",
        default=[],
        help="add an engine by TensorRT for RTX for this compute capability; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
