"""One probe and one cache for all tests of whole runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import Bench, probed_once


@pytest.fixture(scope="module", autouse=True)
def one_probe(probes: Path) -> Iterator[None]:
    with probed_once(probes):
        yield


@pytest.fixture
def bench(tmp_path: Path, files: Path, cache: Path) -> Bench:
    """A command line with a folder of its own, which shares its cache."""
    return Bench(tmp_path / "out", cache, files)


@pytest.fixture
def run(tmp_path: Path, files: Path) -> Bench:
    """A command line with a cache of its own, for tests that look into it."""
    return Bench(tmp_path / "out", tmp_path / "cache", files)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that do not look into it."""
    return tmp_path_factory.mktemp("cache")
