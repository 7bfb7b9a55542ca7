"""The overrides of a row, as a sweep launches them again."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from hydra.types import HydraContext
from omegaconf import OmegaConf

from bench.cli.further import FurtherJobs
from bench.errors import ConfigError

CONTEXT = cast(HydraContext, None)
"""What only launchers need."""


def words(typed: list[str], row: list[str], out: str) -> list[str]:
    """Those of a row in a sweep into ``out`` of these typed words."""
    config = {"hydra": {"overrides": {"task": typed}}, "sweep": {"out": out}}
    return FurtherJobs(OmegaConf.create(config), CONTEXT).words(row)


def test_of_the_same_sweep_they_stay_as_they_are() -> None:
    row = ["sweep.out=here", "calibrator=mse", "confirm.seeds=1", "plan=all"]
    typed = ["sweep.out=here", "calibrator=minmax,mse", "confirm.seeds=1", "plan=all"]
    assert words(typed, row, "here") == row


def test_the_settings_of_another_sweep_give_way_to_those_of_this_one() -> None:
    row = ["sweep.out=there", "sweep.cache=/tmp/there", "calibrator=mse", "confirm.seeds=1"]
    typed = ["calibrator=mse", "sweep.out=here", "confirm.roundings=0"]
    assert words(typed, row, "here") == ["calibrator=mse", "sweep.out=here", "confirm.roundings=0"]


def test_they_never_race() -> None:
    typed = ["calibrator=mse", "sweep.out=here", "sweep.race=true"]
    assert words(typed, typed, "here") == typed[:2]


def test_the_folder_is_named_where_it_is_not_the_default_of_the_row() -> None:
    typed = ["calibrator=mse"]
    assert words(typed, typed, "results/yolov8n-shapes") == typed
    assert words(typed, typed, "its old, long name") == [*typed, "sweep.out='its old, long name'"]


@pytest.mark.parametrize(
    "word",
    [
        "hydra.job_logging.handlers.x.class=os.system",
        "+hydra.callbacks.x._target_=os.system",
        "hydra/launcher=joblib",
        "+calibrator@hydra.job_logging=mse",
        "model=../../elsewhere",
    ],
)
def test_a_row_configures_no_launcher(word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a row cannot set|names a file outside|is not a choice"):
        words([], [word], str(tmp_path))
