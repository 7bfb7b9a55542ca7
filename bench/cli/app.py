"""``int8bench sweep``, and ``python -m bench``: Hydra composes the configuration of every run.

Every error becomes one line.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import FrameType

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.cli.config import register
from bench.cli.job import job, rounding_job
from bench.cli.launchers import in_sharing_order, is_of_launcher, launcher_settings
from bench.cli.messages import one_line
from bench.cli.sweep import Sweep
from bench.cli.targets import check_words
from bench.environment import CONF
from bench.errors import BenchError, ConfigError

CONTINUE = "Finished runs are kept; run the same command to continue"
MOST_LINES = 5
"""Most error lines that are printed: a full disk stops ten thousand runs."""


def main(argv: Sequence[str]) -> int:
    """Run what these overrides request. Exit status 2: not possible; 130: interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here complete, and are printed as one line
    register()
    with _interrupts() as interrupts, _as_arguments(argv), Sweep() as sweep:
        try:
            wrong = _run(sweep)
        except BrokenPipeError:  # who reads what is printed has gone
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if interrupts or isinstance(error, KeyboardInterrupt):
                _conclude_what_there_is(sweep)
                return _tell(f"interrupted. {CONTINUE}", 130)
            if isinstance(error, (BenchError, HydraException, OmegaConfBaseException, OSError)):
                return _tell(one_line(error), 2)
            if isinstance(error, SystemExit) and isinstance(error.code, str):  # of SweepWatch
                return _tell(error.code, 2)
            if isinstance(error, BrokenExecutor):
                _conclude_what_there_is(sweep)
                return _tell(
                    "a worker of the launcher was killed, perhaps because memory ran out. "
                    f"{CONTINUE}",
                    2,
                )
            if is_of_launcher(error):
                _conclude_what_there_is(sweep)
                return _tell(f"the launcher failed. {CONTINUE}. It says: {one_line(error)}", 2)
            raise
    for line in wrong[:MOST_LINES]:
        _tell(line, 2)
    if len(wrong) > MOST_LINES:
        _tell(f"{len(wrong) - MOST_LINES} more; int8bench status FOLDER lists them", 2)
    return 2 if wrong else 0


def sweep_folders(words: Sequence[str]) -> list[Path]:
    """Run a sweep of these KEY=VALUE words for a Python caller; returns the folders of its rows.

    Interrupts are the caller's. Raises BenchError, OSError, and what Hydra and OmegaConf raise; of
    runs that failed one ConfigError, once the others are in the table.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    try:
        with _as_arguments(["--multirun", *words]), Sweep() as sweep:
            wrong = _run(sweep)
    except SystemExit as error:  # of SweepWatch
        raise ConfigError(str(error.code)) from error
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ConfigError(f"some runs failed: {wrong[0]}{more}", "The others are in the table")
    return sweep.folders


def _run(sweep: Sweep) -> list[str]:
    """Returns the errors of runs, each line once."""
    _check_options()
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
        sweep.confirm(job, rounding_job)
    finally:
        sweep.end_runs()
    return sweep.conclude()


@contextlib.contextmanager
def _as_arguments(argv: Sequence[str]) -> Iterator[None]:
    """Hydra reads ``sys.argv``. Its options come before or after all overrides; only --multirun may
    also stand between them."""
    before = sys.argv
    several = [word for word in argv if word in ("--multirun", "-m")]
    words = [word for word in argv if word not in several]
    if several and {"--cfg", "-c", "--info", "-i"} & {word.partition("=")[0] for word in words}:
        several, words = [], _first_values(words)
    elif several:
        words = [*in_sharing_order(words), *launcher_settings(words)]
    sys.argv = ["int8bench", *several, *words]
    try:
        yield
    finally:
        sys.argv = before


def _first_values(words: Sequence[str]) -> list[str]:
    """Of a sweep the words of its first run, which is the one that Hydra can print."""
    typed = [word for word in words if "=" in word and not word.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(typed)
    except HydraException:
        return list(words)  # Hydra says what is wrong with them
    first = {
        own.input_line: f"{own.get_key_element()}={next(own.sweep_string_iterator())}"
        for own in parsed
        if own.is_sweep_override() and own.is_discrete_sweep()
    }
    others = [word for word in words if word not in typed]  # Hydra reads options behind them
    return [*(first.get(word, word) for word in typed), *others]


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Count the interrupts of this process, since OmegaConf's clean-up may hide them.

    (An interrupt while it copies a node and its flags becomes an AttributeError or a missing key:
    15 of 400 interrupts at random times of a composition.)
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
    """Check options that begin with a dash, since Hydra answers a misspelt one with a page of help,
    and words that Hydra answers with a traceback."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            asked = get_args_parser().parse_args()
    except SystemExit as error:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(reason, "python -m bench --hydra-help lists the options") from error
    check_words(asked.overrides)


def _conclude_what_there_is(sweep: Sweep) -> None:
    """Write the table with the finished runs, also for a sweep that ends early."""
    with contextlib.suppress(BenchError, OSError):  # one error is already printed
        sweep.conclude()


def _tell(line: str, status: int) -> int:
    print(f"error: {line}", file=sys.stderr)
    return status
