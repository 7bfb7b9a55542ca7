"""Measure files quantized by other tools beside ours: ``int8bench judge FILE ... KEY=VALUE ...``.

Every file becomes a row of the sweep's folder, like every other row.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.progress import track
from rich.text import Text

from bench.calibration.engine_file import EngineFile
from bench.calibration.quantized_file import QuantizedFile
from bench.cli.compose import build_typed
from bench.cli.conclusion import conclude_folder, print_places
from bench.cli.config import Config, register, settings_of
from bench.cli.messages import command, one_line
from bench.cli.run_line import row_line
from bench.cli.targets import check_typed, check_words
from bench.diagnosis.lists import quoted
from bench.engine.trt.serialized import is_engine
from bench.environment import CONF
from bench.errors import ConfigError, DataError, ModelError
from bench.quantization.plan import PrecisionPlan
from bench.report.judged import judge_files, print_judged
from bench.report.wording import plural
from bench.results.row import Row
from bench.results.store import RowStore
from bench.run.execute import execute_once
from bench.run.given import check_given, quantized_model
from bench.run.shared import Shared
from bench.run.spec import Run

HELP = """usage: int8bench judge FILE [FILE ...] KEY=VALUE ...

Measures INT8 files of other tools beside the calibrators of this program, on the same images. FILE:
  an ONNX file with Q/DQ or QOperator nodes (ONNX Runtime, ModelOpt, NNCF, Quark, any QAT), or
  ranges: a TensorRT calibration cache, ONNX Runtime's calibration.json or calibration.cache,
  or a JSON file such as {"images": [-1.0, 1.0]}, or
  a serialized TensorRT engine, where TensorRT and the engine's GPU are. Loading an engine runs its
  code: name only engines that you trust like a program.
Writes one row per file into results/MODEL-DATASET, and compared/RUN_KEY.csv: its ranges beside
those of the best row of this program, tensor by tensor.

Keys are those of a run; model= and model.path= name the FP32 file that FILE was made from.
Further keys:
  ours=[minmax,entropy2,percentile,mse]   calibrators to compare with; ours=[] for none
Defaults: engine=onnxruntime engine.accuracy_by=emulation timing=off, so that every file is computed
exactly, and plan=all for the calibrators and for ranges. A serialized engine is measured and timed
as it is, with engine=tensorrt.

  int8bench judge yolov8n_int8.onnx model=yolov8n model.path=yolov8n.onnx dataset=coco ..."""

_USUAL = ("engine=onnxruntime", "engine.accuracy_by=emulation", "timing=off")
_OURS = ("minmax", "entropy2", "percentile", "mse")


@dataclass(frozen=True)
class _Planned:
    """A run to make, and its overrides."""

    run: Run
    words: list[str]
    judged: bool
    """Whether the run measures a file of another tool."""


@command
def main(argv: Sequence[str]) -> int:
    """Measure the files; exit status 2: not possible."""
    if {"--help", "-h"} & set(argv) or not argv:
        print(HELP)
        return 0
    files = [word for word in argv if "=" not in word and not word.startswith("-")]
    if not files:
        raise ConfigError("judge needs a file", "int8bench judge FILE KEY=VALUE ...")
    ours, typed = _ours([word for word in argv if word not in files])
    words = [*_defaults(typed), *typed]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"), Shared() as shared:
        config = cast(Config, compose("config", words))
        folder, settings = Path(config.sweep.out), settings_of(config)
        planned, faults = _planned(files, ours, typed, shared)
        if not any(one.judged for one in planned):
            return _tell(faults)
        store, console = RowStore(folder), Console(stderr=True)
        rows: list[tuple[_Planned, Row]] = []
        for one in track(planned, "runs", console=console, transient=True):
            row = execute_once(one.run, store, shlex.join(one.words))
            console.print(row_line(row), soft_wrap=True, highlight=False, markup=False)
            rows.append((one, row))
    console = Console()
    conclude_folder(folder, settings, console)
    theirs, ours_keys = (
        [row.run_key for one, row in rows if one.judged is judged] for judged in (True, False)
    )
    outputs = planned[0].run.model.network.output_names
    print_judged(judge_files(folder, theirs, ours_keys, outputs), console)
    for one, row in rows:
        _warn_of_channels(one.run, row.calibrator, console)
    print_places(folder, console)
    refused = [f"{row.calibrator}: {row.error}" for _, row in rows if row.status == "skipped"]
    return _tell([*faults, *refused])


def _warn_of_channels(run: Run, name: str, console: Console) -> None:
    """Warn that TensorRT does not take a file's scales."""
    if isinstance(run.calibrator, QuantizedFile):
        tensors = quantized_model(run, run.calibrator).per_channel
        if tensors:
            console.print(
                Text(
                    f"! {name}: {plural(len(tensors), 'activation')} with one scale per channel, "
                    "which TensorRT does not take.",
                    style="yellow",
                )
            )


def _tell(faults: Sequence[str]) -> int:
    """Print what could not be measured, one line each; return the exit status."""
    for line in faults:
        print(f"error: {line}", file=sys.stderr)
    return 2 if faults else 0


def _ours(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The calibrators to compare the files with, and the other words.

    Raises ConfigError for words that are not KEY=VALUE with one value.
    """
    given = [word for word in words if word.startswith("ours=")]
    rest = [word for word in words if word not in given]
    ours: tuple[str, ...] = _OURS
    if given:
        named = given[-1].removeprefix("ours=").strip("[]")
        ours = tuple(name.strip() for name in named.split(",") if name.strip())
    for override in check_words(rest):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.key_or_group} names several values, but judge takes one per key",
                "Give one value; for several calibrators write ours=[A,B]",
            )
        if override.key_or_group.partition(".")[0] == "calibrator":
            raise ConfigError(
                f"{override.input_line} names a calibrator", "Use ours=[...] for calibrators"
            )
    check_typed(rest)
    return ours, rest


def _defaults(typed: Sequence[str]) -> list[str]:
    """The defaults of this command that the typed words leave."""
    keys = {word.partition("=")[0] for word in typed}
    return [word for word in _USUAL if _fits(word, keys)]


def _fits(word: str, keys: set[str]) -> bool:
    """Whether a default may be added to the keys that were given."""
    key = word.partition("=")[0]
    return key not in keys and not (key == "engine.accuracy_by" and "engine" in keys)


def _planned(
    files: Sequence[str], ours: Sequence[str], typed: Sequence[str], shared: Shared
) -> tuple[list[_Planned], list[str]]:
    """Every run, checked before the first is made, and the errors of files: the other files are
    measured anyway."""
    planned, faults = [], []
    words = [*_defaults(typed), *typed]
    for file in files:
        try:
            kind = _kind(Path(file))
            if kind == "engine":
                planned.append(_of_engine(Path(file), typed, shared))
            else:
                planned.append(_of_file(Path(file), kind, words, shared))
        except (DataError, ModelError) as error:
            faults.append(one_line(error))
    for name in ours:
        of_ours = [f"calibrator={name}", *words]
        run = build_typed(of_ours, shared)
        run.check()
        planned.append(_Planned(run, of_ours, False))
    return planned, faults


def _of_file(file: Path, kind: str, words: Sequence[str], shared: Shared) -> _Planned:
    path = f"calibrator.path={quoted(str(file.resolve()))}"
    # A plan applies to our calibrators and to ranges: a quantized file contains its plan.
    applicable = [word for word in words if kind == "ranges_file" or not word.startswith("plan")]
    typed = [f"calibrator={kind}", path, *applicable]
    run = build_typed(typed, shared)
    run.check()
    check_given(run)
    return _Planned(run, typed, True)


def _of_engine(file: Path, typed: Sequence[str], shared: Shared) -> _Planned:
    """A run of the user's engine, by the typed words without the defaults of other files. No
    configuration can choose it, so the row's words are those of this command, which no other part
    of the program composes again."""
    kept = [word for word in typed if not word.startswith("plan")]
    if not any(word.startswith("engine=tensorrt") for word in kept):
        kept = ["engine=tensorrt", *(word for word in kept if not word.startswith("engine"))]
    run = replace(
        build_typed(kept, shared),
        calibrator=EngineFile(str(file.resolve())),
        plan=PrecisionPlan("file"),
    )
    run.check()
    try:
        check_given(run)
    except ConfigError as error:  # TensorRT or its GPU is absent: other files are measured
        raise ModelError(f"{file} is a serialized TensorRT engine: {error}") from error
    return _Planned(run, ["judge", str(file.resolve()), *kept], True)


def _kind(file: Path) -> str:
    """What reads a file: "engine", or the calibrator of ranges (a text file) or of a quantized ONNX
    file."""
    if not file.is_file():
        raise ConfigError(f"{file} is not a file", "Check the path")
    if is_engine(file):
        return "engine"
    with file.open("rb") as opened:
        start = opened.read(4096)
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        text = start[: error.start].decode() if error.start > len(start) - 4 else "\0"
    return "ranges_file" if text.strip() and "\0" not in text else "quantized_file"
