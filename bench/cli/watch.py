"""What Hydra tells of a sweep before its first run: what is asked for, and whether that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.cli.config import settings_of
from bench.cli.further import FurtherJobs
from bench.cli.launchers import prepare_workers
from bench.cli.messages import one_line
from bench.cli.recovery import clean
from bench.cli.sweep import Asked, open_sweep
from bench.cli.targets import check_names
from bench.errors import BenchError
from bench.results.settings import Settings


class SweepWatch(Callback):
    """Reports the runs to the open sweep before the first one.

    Hydra turns errors in here into warnings, so the conclusion runs after it. Hydra also sends this
    object to the launcher's processes, so it has no state.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        swept = _swept(config)
        apart = _apart({override.key_or_group for override in swept}, config)
        if apart:
            raise SystemExit(
                f"a sweep over {' and '.join(apart)} needs one folder for all its rows. "
                "Add sweep.out=FOLDER"
            )
        _require_names(config)
        _refuse_raced_search(config)
        repeat = config.confirm
        for name in ("seeds", "roundings"):
            if repeat[name] < 0:
                raise SystemExit(f"confirm.{name}={repeat[name]} is below 0. Use 0 or more")
        asked = _asked(config, repeat.seeds, repeat.roundings)
        clean(Path(config.sweep.cache), asked.folder)
        prepare_workers(config)
        open_sweep().start_runs(asked, config.hydra.sweeper.get("n_trials") or _count(swept))

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _require_names(config)  # before Hydra makes a folder
        asked = _asked(config, 0, 0)
        clean(Path(config.sweep.cache), asked.folder)
        open_sweep().start_runs(asked, 1)


def _swept(config: DictConfig) -> list[Override]:
    """What names several values: a preset's, unless it was typed, and what was typed."""
    preset = config.hydra.sweeper.get("params") or {}
    words = [f"{key}={value}" for key, value in preset.items()]
    parsed = OverridesParser.create().parse_overrides([*words, *config.hydra.overrides.task])
    last = {override.get_key_element(): override for override in parsed}
    return [override for override in last.values() if override.is_sweep_override()]


def _asked(config: DictConfig, seeds: int, roundings: int) -> Asked:
    how, further = config.sweep, FurtherJobs.of_hydra(config)
    return Asked(Path(how.out), _settings(config), further, seeds, roundings, how.race)


def _require_names(config: DictConfig) -> None:
    try:
        check_names(config)
    except (BenchError, OmegaConfBaseException) as error:
        raise SystemExit(one_line(error)) from error


def _refuse_raced_search(config: DictConfig) -> None:
    """Optuna needs the objective of every run; one that lost a race has none."""
    if config.sweep.race and "optuna" in str(config.hydra.sweeper.get("_target_")):
        raise SystemExit(
            "sweep.race=true ends runs before they have an objective, which Optuna needs. Leave "
            "out hydra/sweeper=optuna or sweep.race=true"
        )


def _settings(config: DictConfig) -> Settings:
    try:
        return settings_of(config)
    except BenchError as error:
        raise SystemExit(one_line(error)) from error


def _count(swept: Sequence[Override]) -> int | None:
    """How many runs these overrides make; None if a glob leaves that to Hydra."""
    try:
        return math.prod(len(list(override.sweep_string_iterator())) for override in swept)
    except HydraException:
        return None


def _apart(swept: set[str], config: DictConfig) -> list[str]:
    """The swept keys that would put runs into different folders, with one table each."""
    keys = {"sweep.out"}
    if OmegaConf.is_interpolation(config.sweep, "out"):
        keys |= {"model", "model.name", "dataset", "dataset.name"}
        if OmegaConf.is_interpolation(config.model, "name"):  # of the file
            keys.add("model.path")
    return sorted(keys & swept)
