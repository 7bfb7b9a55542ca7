"""``int8bench kit results/SWEEP``: rows of a table as a kit, to be measured on another machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from bench.calibration.native import Algorithm
from bench.cli.command import Parser
from bench.cli.messages import command
from bench.deploy.kit.rows import choose_rows
from bench.deploy.kit.write import write_kit
from bench.deploy.target import check_target
from bench.errors import ConfigError

NATIVE = "minmax,entropy2"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit status 2: what was asked cannot be."""
    options = _parser().parse_args(argv)
    target = options.to or Path("kit")
    check_target(target)
    native = _native(options.native)
    rows = choose_rows(options.folder, options.run, options.model)
    sizes = write_kit(
        rows,
        options.folder,
        target,
        native,
        lambda line: print(f"{line} ..."),
        fp16=options.fp16,
    )
    print(
        f"{target}: {len(rows)} rows in {sizes['models'] / 1e6:.1f} MB of models and scales, "
        f"{sizes['images'] / 1e6:.1f} MB of images. Copy it to the target and run there: "
        f"python3 run.py; then here: int8bench merge {target}"
    )
    return 0


def _native(text: str) -> list[Algorithm]:
    names = [] if text == "none" else text.split(",")
    known = get_args(Algorithm)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--native={name} is not a calibrator of TensorRT's",
                f"Use some of {', '.join(known)}, or none",
            )
    return [cast(Algorithm, name) for name in dict.fromkeys(names)]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "int8bench kit",
        description="Pack rows of a sweep's table, to be measured on a machine that will never "
        "have this package.",
    )
    parser.add_folder()
    parser.add_argument(
        "--run",
        metavar="KEY",
        action="append",
        default=[],
        help="a row's run_key; may be repeated (default: every measured row)",
    )
    parser.add_argument("--model", metavar="NAME", help="of several models, the rows of this one")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="default: kit")
    parser.add_argument(
        "--native",
        metavar="NAMES",
        default=NATIVE,
        help=f"TensorRT's own calibrators to ask there (default: {NATIVE}), or none: then "
        "calibration images stay here",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="also pack the model in FP16, which the FP16 row needs on TensorRT 11 (half the bytes "
        "of the model)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
