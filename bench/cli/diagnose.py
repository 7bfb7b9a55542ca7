"""Which layers INT8 harms, and why: ``int8bench diagnose KEY=VALUE ...``, with a run's keys."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.cache import write_atomically
from bench.calibration.auto import AutoCalibrator
from bench.calibration.calibrator import Calibrator
from bench.cli.compose import build_run
from bench.cli.config import Config, register
from bench.cli.create import create
from bench.cli.messages import command
from bench.cli.targets import check_typed, check_words
from bench.environment import CONF
from bench.errors import ConfigError
from bench.report.diagnosis_console import print_diagnosis
from bench.report.diagnosis_page import write_page
from bench.results.diagnosis_file import diagnosis_to_bytes
from bench.results.folder import SweepFolder
from bench.run.diagnose import DiagnosisSettings, diagnose
from bench.run.shared import Shared

HELP = """usage: int8bench diagnose KEY=VALUE ...

Measures which layers INT8 harms, by how much, and why: each layer alone in INT8, all layers except
it in INT8, blocks of layers, and every tensor with the thresholds of several calibrators. Writes
results/MODEL-DATASET/diagnosis/CALIBRATOR.json and .html.

Keys are those of a run: model=, model.path=, dataset=, calibrator=, calibration.size= ... All
layers are quantized; plan= is ignored. Further keys:
  diagnose.images=32     number of images, half of them from the calibration set
  diagnose.metric=true   also measure the metric with each layer alone in INT8 (slow)
  diagnose.rules=[...]   calibrators whose thresholds are compared, tensor by tensor

  int8bench diagnose model=yolov8n calibrator=entropy2"""

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""


@command
def main(argv: Sequence[str]) -> int:
    """Run what these overrides request; exit status 2: not possible."""
    if {"--help", "-h"} & set(argv):
        print(HELP)
        return 0
    _check_words(argv)
    _give_memory_back()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"), Shared() as shared:
        config = cast(Config, compose("config", list(argv)))
        run = build_run(config, shared)
        if isinstance(run.calibrator, AutoCalibrator):
            raise ConfigError("calibrator=auto is a search", "Name the calibrator to diagnose")
        asked = config.diagnose
        rules = {name: _calibrator(name) for name in asked.rules}
        settings = DiagnosisSettings(
            _name_of(run.calibrator, rules), rules, asked.images, asked.metric
        )
        with _Bars() as bars:
            diagnosis = diagnose(run, settings, bars.report)
    folder, name = SweepFolder(Path(config.sweep.out)), re.sub(r"[^\w-]", "_", settings.rule)
    json, page = folder.diagnosis(name), folder.diagnosis_html(name)
    write_atomically(json, diagnosis_to_bytes(diagnosis))
    write_page(diagnosis, page)
    console = Console()
    print_diagnosis(diagnosis, console)
    console.print(f"Page: {page}   JSON: {json}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _give_memory_back() -> None:
    """Return arrays of a megabyte or more to the system when they are freed: a tenth less peak
    memory. Works with glibc; elsewhere it does nothing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)


def _check_words(words: Sequence[str]) -> None:
    for override in check_words([word for word in words if not word.startswith("-")]):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.key_or_group} names several values, but a diagnosis is of one run",
                "Give one value, or write a list as KEY=[A,B]",
            )
    check_typed(words)


def _calibrator(name: str) -> Calibrator:
    """The calibrator of a file of ``conf/calibrator``, with its default options."""
    if not re.fullmatch(r"[\w.]+", str(name)):
        raise ConfigError(f"diagnose.rules has '{name}'", "Use names of conf/calibrator")
    node = compose("config", [f"calibrator={name}"]).calibrator
    calibrator: Calibrator = create(node, "calibrator")
    if getattr(calibrator, "native", False) or isinstance(calibrator, AutoCalibrator):
        raise ConfigError(
            f"diagnose.rules has {name}, which computes no thresholds here", "Drop it"
        )
    return calibrator


def _name_of(calibrator: Calibrator, rules: dict[str, Calibrator]) -> str:
    """A calibrator's name on the command line, with its options if they differ from the default."""

    def same(other: Calibrator) -> bool:
        return (other.name, other.params) == (calibrator.name, calibrator.params)

    for name, rule in rules.items():
        if same(rule):
            return name
    for file in sorted((CONF / "calibrator").glob(f"{calibrator.name}*.yaml")):
        node = compose("config", [f"calibrator={file.stem}"]).calibrator
        if same(create(node, "calibrator")):
            return file.stem
    values = re.findall(r"=([^,;]+)", calibrator.params)
    return "_".join([calibrator.name, *values])[:100]


class _Bars:
    """A progress bar on stderr for each stage."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def report(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done)
