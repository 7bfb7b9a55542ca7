"""``python -m bench``: Hydra composes, objects are built, errors become one line."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.compose import CONF
from bench.config import register
from bench.errors import BenchError, ConfigError
from bench.explain import one_line
from bench.sweep import conclude, confirm_leaders, end_progress, job


def main() -> None:
    """The command line. Exit status 2: what was asked cannot be; 130: interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here whole, and leave as one line
    register()
    with _interrupts() as interrupts:
        try:
            _sweep()
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if interrupts or isinstance(error, KeyboardInterrupt):
                _conclude_what_there_is()
                _leave("interrupted. Finished runs are kept; the same command goes on", 130)
            if isinstance(error, (BenchError, HydraException, OmegaConfBaseException, OSError)):
                _leave(one_line(error), 2)
            if isinstance(error, SystemExit) and isinstance(error.code, str):  # see sweep.job
                _conclude_what_there_is()
                _leave(error.code, 2)
            raise


def _sweep() -> None:
    _check_options()
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    finally:
        end_progress()
    confirm_leaders()
    conclude()


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts of this process so far, as OmegaConf's clean-up makes other errors of them.

    (An interrupt between its copies of a node and its flags ends as AttributeError, or as a key
    that is missing: 15 of 400 at random times of a composition.)
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


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
