"""The configuration as the command line composes it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.cli.compose import build_typed
from bench.cli.config import register
from bench.cli.messages import one_line
from bench.environment import CONF
from bench.errors import BenchError


def composed(*overrides: str, conf: Path = CONF) -> Any:
    """The whole configuration after these overrides; raises what Hydra raises."""
    register()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", list(overrides))


def refusal(folder: Path, *overrides: str) -> str:
    """The one line about a run that cannot be made, before anything of it is computed.

    Rows and caches would go below ``folder``; nothing may be left there.
    """
    usual = {"sweep.out": folder / "out", "sweep.cache": folder / "cache", "calibration.size": 4}
    given = {override.partition("=")[0] for override in overrides}
    try:
        default = [f"{key}={value}" for key, value in usual.items() if key not in given]
        build_typed([*default, *overrides]).check()
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        assert not (folder / "out").exists()
        return one_line(error)
    raise AssertionError(f"{overrides} is a run")
