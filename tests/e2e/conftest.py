"""One probe and one cache for all tests of whole runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engine import probe
from tests.e2e.command import Bench


@pytest.fixture(scope="session")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="module", autouse=True)
def one_probe(probes: Path) -> Iterator[None]:
    """This machine's int8 kernels are probed once for these tests, whatever cache each has."""
    folder, remember = probes, probe._remember
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_remember", lambda engine, _, *rest: remember(engine, folder, *rest))
        yield


@pytest.fixture
def bench(tmp_path: Path, files: Path, cache: Path) -> Bench:
    """A command line with a folder of its own, which shares its cache."""
    return Bench(tmp_path / "out", cache, files)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that do not look into it."""
    return tmp_path_factory.mktemp("cache")
