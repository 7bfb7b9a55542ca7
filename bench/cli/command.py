"""What every subcommand shares: parsing of arguments, and one line for a user's error."""

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
    """A parser whose errors are one line."""

    def add_folder(self) -> None:
        """Add the argument that most commands take."""
        self.add_argument(
            "folder", metavar="FOLDER", type=Path, help="a sweep's results, as in results/<sweep>"
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, f"{self.prog} --help shows how")


def plain_command(main: Callable[P, int]) -> Callable[P, int]:
    """The ``main`` of a command without Hydra configuration: exit status 2 and one line for an
    error of the user."""
    return in_one_line(main, (BenchError, OSError), plain_line)


def in_one_line(
    main: Callable[P, int],
    wrong: tuple[type[Exception], ...],
    say: Callable[[Exception], str],
) -> Callable[P, int]:
    """``main``, with one line and exit status 2 instead of the exceptions in ``wrong``."""

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
    """An error's message with its fix, or the text of an error of the operating system."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else "cannot write: "
        return f"{where}{error.strerror}. Check the given paths, and sweep.out and sweep.cache"
    return " ".join(str(error).split())
