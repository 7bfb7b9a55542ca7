"""``make benchmark``: what calibration costs here, and what ONNX Runtime's own tool costs.

Writes ``benchmark.json``, ``scaling.png`` and ``coverage.csv`` and prints tables. It measures the
embedded YOLOv8n, and a YOLOX-nano if one is found (yolox_nano*.onnx under $BENCH_MODELS or
models/), in seven parts, and two more that know no model of yours:

  collection  a pass with statistics against a bare FP32 pass
  memory      the peak of collection, over the number of images
  thresholds  the search of each calibrator
  peer        nine quantized files by onnxruntime's quantize_static, and by one pass of ours
  scale       how collection grows with images and tensors
  evaluation  from prepared pixels to predictions, against the same inferences alone
  diagnosis   which layers lose most: onnxruntime's comparison of activations, and ``diagnose``
  coverage    how often the intervals cover the truth, by simulation
  workers     a sweep of accuracies by two joblib workers, and by one process

Ratios are what to quote: every comparison alternates its sides. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from rich.console import Console

from bench.cache import write_atomically
from bench.environment import git_commit, hardware, software
from tests.benchmarks.coverage import Line, print_lines, simulate_to
from tests.benchmarks.parts import KEYS, PARTS, Found, Options
from tests.benchmarks.plot import draw
from tests.benchmarks.subject import find_models, load_subject
from tests.benchmarks.tables import tables
from tests.benchmarks.workers import measure_workers, print_workers

COVERAGE, WORKERS = "coverage", "workers"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    progress = Console(stderr=True)
    options = Options(
        given.images,
        given.rounds,
        given.memory_sizes,
        given.peer_sizes,
        given.scale_sizes,
        given.peer_memory_limit_mb,
        tuple(shlex.split(given.evaluate)),
    )
    models = [load_subject(path) for path in find_models(given.model)]
    found = [Found(model, options) for model in models]
    for index, one in enumerate(found):
        for part in (name for name in PARTS if name in given.only):
            begin = perf_counter()
            progress.print(f"{one.subject.name}: {part} ...")
            found[index] = found[index].with_part(part)
            progress.print(f"{one.subject.name}: {part} took {perf_counter() - begin:.0f} s")
            _write(found, options, given.out)  # so that a part that fails costs no other
    lines: list[Line] = []
    if COVERAGE in given.only:
        begin = perf_counter()
        progress.print(f"{COVERAGE} ...")
        lines = simulate_to(given.out / "coverage.csv", given.coverage_trials)
        progress.print(f"{COVERAGE} took {perf_counter() - begin:.0f} s")
    console = Console()
    for one in found:
        for table in tables(one):
            console.print(table)
    if lines:
        console.print("\n[bold]95 % intervals[/]: how often they cover the truth")
        print_lines(lines)
    if WORKERS in given.only:
        found_by_workers = measure_workers(given.rounds)
        print_workers(found_by_workers)
        content = json.dumps(found_by_workers.seconds, indent=1)
        write_atomically(given.out / "workers.json", content.encode())


def _write(found: Sequence[Found], options: Options, folder: Path) -> None:
    content = {
        **{key: found[0].figures()[key] for key in KEYS},
        "options": asdict(options),
        "machine": hardware(),
        "software": software(),
        "commit": git_commit(),
        "models": {one.subject.name: one.details() for one in found},
    }
    write_atomically(folder / "benchmark.json", json.dumps(content, indent=1).encode())
    scales = {one.subject.name: one.scale for one in found if one.scale}
    if scales:
        draw(scales, folder / "scaling.png")


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--images",
        type=_count,
        default=default.images,
        help="images of a pass (collection, thresholds); default %(default)s",
    )
    add(
        "--rounds",
        type=_count,
        default=default.rounds,
        help="how often each side of a comparison runs; default %(default)s",
    )
    add(
        "--model",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an ONNX detector to measure beside the embedded one; may be given again",
    )
    add("--out", type=Path, default=Path("results/benchmark"), help="folder; default %(default)s")
    add(
        "--only",
        type=_parts,
        default=(*PARTS, COVERAGE, WORKERS),
        metavar="PART,...",
        help=f"of {','.join((*PARTS, COVERAGE, WORKERS))}; what is left out is null in the file",
    )
    for name, what in (("memory", "memory"), ("peer", "the quantized files"), ("scale", "scale")):
        sizes = getattr(default, f"{name}_sizes")
        add(
            f"--{name}-sizes",
            type=_sizes,
            default=sizes,
            metavar="N,...",
            help=f"numbers of images of {what}; default {','.join(map(str, sizes))}",
        )
    add(
        "--peer-memory-limit-mb",
        type=float,
        default=default.peer_memory_limit_mb,
        metavar="MB",
        help="kill a run of the peer above it, and report a lower bound; default %(default)s",
    )
    add(
        "--coverage-trials",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="of the simulation's trials, to shorten it or to be more sure; default %(default)s",
    )
    add(
        "--evaluate",
        default="",
        metavar="'model=... dataset=... ...'",
        help="overrides of the harness that say what a model beside the embedded is evaluated on",
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def _parts(text: str) -> tuple[str, ...]:
    parts = (*PARTS, COVERAGE, WORKERS)
    unknown = set(text.split(",")) - set(parts)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: use {', '.join(parts)}")
    return tuple(text.split(","))


if __name__ == "__main__":
    main()
