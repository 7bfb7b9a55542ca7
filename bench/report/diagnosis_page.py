"""A diagnosis as a page."""

from __future__ import annotations

from pathlib import Path

from bench.cache import write_atomically
from bench.results.diagnosis import Diagnosis


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """To be drawn."""
    write_atomically(path, b"")
