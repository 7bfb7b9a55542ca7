"""Calibration caches and dynamic ranges from the shell: ``int8bench cache``.

``show``, ``rewrite`` and ``diff`` work on TensorRT's caches; ``export`` turns a cache, or the
dynamic ranges that a sweep stores for every run (``results/SWEEP/ranges/RUN_KEY.json``), into a
cache, dynamic ranges or a table.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cache import write_atomically
from bench.calibration.trt_cache import (
    CalibrationCache,
    changed,
    from_json,
    from_ranges,
    parse,
    to_csv,
    to_json,
)
from bench.cli.command import Parser
from bench.errors import BenchError, ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit status 1: ``diff`` shows a difference; 2: not possible."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may not fit the terminal
    try:
        status = _run(_parser().parse_args(argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the output was cut, as by | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BenchError as error:
        line = str(error)
    except OSError as error:
        line = f"{error.filename2 or error.filename}: {error.strerror}. Check the path"
    print(f"error: {line}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    text = "TensorRT calibration caches and dynamic ranges"
    parser = Parser("int8bench cache", description=text)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, *caches: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        for cache in caches:
            command.add_argument(cache, type=_read)
        return command

    add("show", "print the header and every tensor's scale and amax", "FILE")
    rewrite = add("rewrite", "read a cache and write it, byte for byte the same", "IN")
    rewrite.add_argument("OUT", type=Path)
    add("diff", "print what differs; exit status 1 if anything does", "A", "B")
    export = add("export", "write a cache or a run's ranges/*.json in another format")
    export.add_argument("FILE", type=Path)
    kind = export.add_mutually_exclusive_group(required=True)
    kind.add_argument("--json", type=Path, metavar="OUT", help="tensor: [-amax, amax]")
    kind.add_argument("--csv", type=Path, metavar="OUT", help="tensor, amax, scale, hex")
    kind.add_argument("--cache", type=Path, metavar="OUT", help="a cache for TensorRT 8 to 10")
    export.add_argument(
        "--tensorrt", metavar="VERSION", help="the version that will read the cache, such as 8.6.1"
    )
    export.add_argument(
        "--algorithm",
        default="EntropyCalibration2",
        help="the type of the calibrator set on the builder (default: %(default)s)",
    )
    return parser


def _read(path: str) -> CalibrationCache:
    return parse(Path(path).read_bytes(), path)


def _run(options: argparse.Namespace) -> int:
    if options.command == "show":
        _show(options.FILE)
    elif options.command == "rewrite":
        write_atomically(options.OUT, options.IN.to_bytes())
    elif options.command == "diff":
        return int(_differ(options.A, options.B))
    else:
        _export(options)
    return 0


def _export(options: argparse.Namespace) -> None:
    content, version = options.FILE.read_bytes(), options.tensorrt
    if content.lstrip().startswith(b"{"):
        ranges = from_json(content, str(options.FILE))
        if options.cache and not version:
            raise ConfigError(
                "a cache is written for one version of TensorRT", "Add --tensorrt 8.6.1"
            )
        cache = from_ranges(ranges, version or "8.6.1", options.algorithm)
    else:
        cache = parse(content, str(options.FILE))
        ranges = cache.ranges()
        if version:
            cache = from_ranges(cache.amax, version, options.algorithm)
    if options.json:
        write_atomically(options.json, to_json(ranges).encode())
    elif options.csv:
        write_atomically(options.csv, to_csv(cache).encode())
    else:
        write_atomically(options.cache, cache.to_bytes())


def _show(cache: CalibrationCache) -> None:
    amax = cache.amax
    print(f"{cache.header}\n{'scale':<14}{'amax':<14}tensor")
    for name, scale in cache.scales.items():
        print(f"{scale:<14.7g}{amax[name]:<14.7g}{_shown(name)}")


def _differ(a: CalibrationCache, b: CalibrationCache) -> bool:
    """Print the differences. Headers count, since TensorRT reads them; the order does not."""
    rows = changed(a, b)
    alone = [f"only in A: {_shown(name)}" for name in a.words if name not in b.words]
    alone += [f"only in B: {_shown(name)}" for name in b.words if name not in a.words]
    if a.header != b.header:
        print(f"header: {a.header} in A, {b.header} in B")
    if rows:
        print(f"{'B / A':<17}{'amax A':<17}{'amax B':<17}tensor")
    for name, x, y, ratio in rows:
        print(f"{ratio:<17.9g}{x:<17.9g}{y:<17.9g}{_shown(name)}")
    print(*alone, f"{len(rows)} of {len(a.words.keys() & b.words.keys())} tensors differ", sep="\n")
    return bool(rows or alone or a.header != b.header)


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)[1:-1]
