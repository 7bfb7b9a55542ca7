"""What every subcommand shares: its words are read, and what its user did wrong is one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

from bench.errors import BenchError, ConfigError

P = ParamSpec("P")


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def add_folder(self) -> None:
        """The argument that most commands take."""
        self.add_argument(
            "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, f"{self.prog} --help shows how")


def plain_command(main: Callable[P, int]) -> Callable[P, int]:
    """The ``main`` of a command that composes no configuration, and so needs no Hydra: exit status
    2 and one line for what its user did wrong."""
    return in_one_line(main, (BenchError, OSError), plain_line)


def in_one_line(
    main: Callable[P, int],
    wrong: tuple[type[Exception], ...],
    say: Callable[[Exception], str],
) -> Callable[P, int]:
    """``main``, with one line and exit status 2 in place of what is ``wrong``."""

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except BrokenPipeError:  # who reads what is printed has gone
            raise
        except wrong as error:
            print(f"error: {say(error)}", file=sys.stderr)
            return 2

    return run


def plain_line(error: BaseException) -> str:
    """An error that says what was wrong and the fix itself, or that the system reports."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else "cannot write: "
        return f"{where}{error.strerror}. Check the paths given, sweep.out and sweep.cache too"
    return " ".join(str(error).split())
