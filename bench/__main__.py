"""``int8bench``, or ``python -m bench``: the command line, one module per subcommand."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from bench.environment import harness_version

COMMANDS = {
    "sweep": ("bench.cli.app", "measure every combination of calibrators, sizes and plans"),
    "inspect": ("bench.cli.inspect", "say what a model is, and how it wants its images"),
    "diagnose": ("bench.cli.diagnose", "measure which layers INT8 harms, and why"),
    "status": ("bench.cli.status", "show a sweep's progress, and what failed"),
    "judge": ("bench.cli.judge", "measure files quantized by other tools"),
    "report": ("bench.cli.report", "redraw the report of a sweep"),
    "compare": ("bench.cli.compare", "compare two sweeps, with intervals"),
    "claims": ("bench.cli.claims", "judge published claims on a sweep's rows"),
    "guard": ("bench.cli.guard", "check results against expected ones"),
    "histograms": ("bench.cli.histograms", "draw every calibrator's thresholds"),
    "data": ("bench.cli.data", "fetch a public dataset"),
    "bundle": ("bench.deploy.__main__", "turn a row into a folder to deploy"),
    "kit": ("bench.deploy.kit.__main__", "pack rows to be measured on another machine"),
    "merge": ("bench.deploy.merge.__main__", "add what another machine measured of a kit"),
    "doctor": ("bench.doctor.__main__", "check this machine"),
    "cache": ("bench.cli.calibration_cache", "show, compare and convert calibration caches"),
}
"""Subcommand -> the module whose ``main`` runs it, and what it does. Imported when asked for: some
take seconds to import."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit status.

    Without one, the words are those of a run: ``python -m bench calibrator=minmax``, and with
    ``--multirun`` of a sweep, as ``int8bench sweep``. No words at all are the default run.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    named = bool(words) and words[0] in COMMANDS
    if words and words[0] in ("--version", "--help", "-h"):
        _parser().parse_args(words)
    if words and not named and "=" not in words[0] and words[0][0] not in "-+~":
        print(
            f"error: '{words[0]}' is not a command. Use {', '.join(COMMANDS)}, or KEY=VALUE",
            file=sys.stderr,
        )
        return 2
    module, _ = COMMANDS[words[0] if named else "sweep"]
    run = importlib.import_module(module).main
    if named and words[0] == "sweep":
        words.insert(1, "--multirun")
    try:
        try:
            status: int = run(words[1:] if named else words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        return 0
    return status


def _reader_has_gone() -> bool:
    """Whether nobody reads what is printed any more, as ``| head`` that has seen enough: that is no
    error. Nothing more is written then, also not when Python ends."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def command() -> int:
    """``int8bench``: as ``main``, but help where nothing is asked for."""
    return main(sys.argv[1:] or ["--help"])


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<12}{text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "int8bench",
        usage="int8bench COMMAND ...",
        description="Measure which calibrator, calibration set and precision plan a model needs.",
        epilog=f"commands, each with its own --help:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"int8bench {harness_version()}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
