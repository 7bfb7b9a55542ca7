"""The folder of a bundle or a kit: complete, or not there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import ConfigError


def check_target(target: Path) -> None:
    """Raise ConfigError where something would be overwritten."""
    if target.exists():
        raise ConfigError(f"{target} exists already", "Delete it, or name another: --to FOLDER")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target``, which becomes ``target`` in the end, and is removed
    after an error. Raises ConfigError if ``target`` exists."""
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        check_target(target)  # a rename would replace an empty folder
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
