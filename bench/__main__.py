"""``python -m bench``: Hydra composes, objects are built, errors become one line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.compose import CONF
from bench.config import register
from bench.errors import BenchError, ConfigError
from bench.explain import one_line
from bench.sweep import conclude, end_progress, job


def main() -> None:
    """The command line. Exit status 2: what was asked cannot be; 130: interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here whole, and leave as one line
    register()
    try:
        _check_options()
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
        finally:
            end_progress()
        conclude()
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        _leave(one_line(error), 2)
    except SystemExit as stop:
        if isinstance(stop.code, str):  # a job's error, see bench.sweep.job
            _conclude_what_there_is()
            _leave(stop.code, 2)
        raise
    except KeyboardInterrupt:
        _conclude_what_there_is()
        _leave("interrupted. Finished runs are kept; the same command goes on from there", 130)


def _check_options() -> None:
    """Options that begin with a dash, before Hydra answers a misspelt one with a page.

    Hydra takes them before or behind all overrides; --multirun may also stand between.
    """
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda given: given not in ("--multirun", "-m"))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            get_args_parser().parse_args()
    except SystemExit as error:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(reason, "python -m bench --hydra-help lists the options") from error


def _conclude_what_there_is() -> None:
    """A sweep that ends early has its finished runs in the table all the same."""
    with contextlib.suppress(BenchError, OSError):  # one error is told already
        conclude()


def _leave(line: str, status: int) -> NoReturn:
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
