"""``python -m bench``: Hydra composes, objects are built, errors become one line."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench.compose import build_run, one_line
from bench.config import Config, register
from bench.errors import BenchError
from bench.results.store import RowStore
from bench.run import execute
from bench.sweep import MARK

_announced: set[str] = set()


def job(config: DictConfig) -> None:
    """One run of a sweep, unless its row is there already."""
    try:
        run = build_run(cast(Config, config))
        _announce(f"{run.model.name}: weights {run.model.weights}")
        store = RowStore(Path(config.sweep.out))
        if not store.has(run.key):
            execute(run, store, shlex.join(HydraConfig.get().overrides.task))
    except (BenchError, OmegaConfBaseException) as error:
        _fail(error)
    (Path(HydraConfig.get().runtime.output_dir) / MARK).write_text(run.key + "\n")


def main() -> None:
    """The command line; exit status 2 says that something was asked that cannot be."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here whole, and leave as one line
    register()
    try:
        hydra.main(version_base="1.3", config_path="../conf", config_name="config")(job)()
    except (BenchError, HydraException, OmegaConfBaseException) as error:
        _fail(error)


def _announce(line: str) -> None:
    if line not in _announced:
        _announced.add(line)
        print(line, file=sys.stderr)


def _fail(error: BaseException) -> NoReturn:
    print(f"error: {one_line(error)}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
