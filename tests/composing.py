"""The configuration as the command line composes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from bench.cli.config import register
from bench.environment import CONF


def composed(*overrides: str, conf: Path = CONF) -> Any:
    """The whole configuration after these overrides; raises what Hydra raises."""
    register()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", list(overrides))
