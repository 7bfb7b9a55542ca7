"""A small finished sweep, and bundles of its rows."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.deploy.__main__ import main
from bench.deploy.kit.__main__ import main as kit_main
from bench.results.row import Row
from bench.results.store import RowStore
from tests.deploy.kit_commands import Said, said_by
from tests.e2e.command import Bench, probed_once

CLASSIFIER = [
    "model=resnet18", "dataset.validation_images=48", "dataset.calibration_images=8",
    "calibration.size=4", "calibrator=minmax", "plan=all,float_first", "engine=onnxruntime",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_probe(probes: Path) -> Iterator[None]:
    with probed_once(probes):
        yield


@pytest.fixture(scope="package")
def swept(tmp_path_factory: pytest.TempPathFactory, probes: Path) -> Bench:
    """A classifier measured in ONNX Runtime, all INT8 and with the first convolution in float."""
    folder = tmp_path_factory.mktemp("swept")
    bench = Bench(folder / "out", folder / "cache")
    with probed_once(probes):
        ended = bench("--multirun", *CLASSIFIER)
    assert ended.status == 0, ended.err
    return bench


@pytest.fixture(scope="package")
def rows(swept: Bench) -> dict[str, Row]:
    """By plan."""
    return {row.plan: row for row in RowStore(swept.out).rows()}


@pytest.fixture(scope="package")
def deploy() -> Callable[..., Said]:
    """``deploy(folder, *options)`` runs ``python -m bench.deploy`` in this process."""

    def run(folder: Path, *options: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(folder), *map(str, options)])
        return Said(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="package")
def bundles(
    swept: Bench,
    rows: dict[str, Row],
    deploy: Callable[..., Said],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A bundle of each row, by plan; nobody may change them."""
    folder = tmp_path_factory.mktemp("bundles")
    for plan, row in rows.items():
        said = deploy(swept.out, "--run", row.run_key, "--to", folder / plan)
        assert said.status == 0, said.err
    return {plan: folder / plan for plan in rows}


@pytest.fixture
def copied(bundles: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle of one's own, as it arrives on another machine."""
    return Path(shutil.copytree(bundles["all"], tmp_path / "copied"))


@pytest.fixture
def sweep_with(swept: Bench, tmp_path: Path) -> Callable[..., Path]:
    """``sweep_with(*rows)``: the folder of a sweep with these rows, and the ranges of ``swept``."""

    def make(*rows: Row) -> Path:
        folder = tmp_path / "sweep"
        shutil.copytree(swept.out / "ranges", folder / "ranges")
        for row in rows:
            RowStore(folder).add(row, {})
        return folder

    return make


@pytest.fixture(scope="module")
def sweep(swept: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sweep, to which this module's merges may add."""
    return Path(shutil.copytree(swept.out, tmp_path_factory.mktemp("kits") / "sweep"))


@pytest.fixture(scope="module")
def packed(sweep: Path) -> Path:
    kit = sweep.parent / "kit"
    said = said_by(kit_main, sweep, "--to", kit)
    assert said.status == 0, said.err
    assert "2 rows" in said.out
    return kit


@pytest.fixture
def kit(packed: Path, tmp_path: Path) -> Path:
    """The kit as it arrives on a target."""
    return Path(shutil.copytree(packed, tmp_path / "kit"))
