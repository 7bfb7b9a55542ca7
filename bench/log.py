"""The log of a run: one file per run, through Python's ``logging``.

It never reaches the console: modules log to ``LOG`` or a child of it, and only a run's file
handler is attached.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG = logging.getLogger("bench")
LOG.addHandler(logging.NullHandler())

_FORMAT = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")


class _File(logging.FileHandler):
    """A log never stops a run: lines that a full disk cannot hold are dropped."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        pass


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write the log of the ``with`` block to a file, line by line. An exception that leaves the
    block is written last, with its traceback. Raises OSError if the file cannot be created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _File(path, mode="w", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(_FORMAT)
    level = LOG.level
    LOG.addHandler(file)
    LOG.setLevel(logging.INFO)
    try:
        yield
    except BaseException:
        LOG.exception("failed")
        raise
    finally:
        LOG.setLevel(level)
        LOG.removeHandler(file)
        with suppress(OSError):  # a full disk
            file.close()
