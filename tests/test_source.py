"""The hash of source code: it changes with any edit that can change a result, and no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench
from bench.source import source_key

FILES = {
    "__init__.py": "",
    "maker.py": "import math\nfrom tinypackage.tools import (\n    cut,\n    glue,\n)\n",
    "tools/__init__.py": "",
    "tools/cut.py": "def cut():\n    import tinypackage.deep.knife, os\n",
    "tools/glue.py": "",
    "tools/unused.py": "",
    "deep/__init__.py": "",
    "deep/knife.py": "from tinypackage import maker  # a circle\n",
}


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """``edit(name)`` changes a file of a tiny package."""
    for name, text in FILES.items():
        path = tmp_path / "tinypackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def change(name: str) -> None:
        path = tmp_path / "tinypackage" / name
        path.write_text((path.read_text() if path.exists() else "") + "# edited\n")

    yield change
    for name in [own for own in sys.modules if own.startswith("tinypackage")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["maker.py", "tools/cut.py", "tools/glue.py", "deep/knife.py"])
def test_an_edit_of_a_module_or_of_what_it_imports_changes_the_key(name, edit):
    before = source_key("tinypackage.maker")
    assert source_key("tinypackage.maker") == before
    edit(name)
    assert source_key("tinypackage.maker") != before


@pytest.mark.parametrize("name", ["tools/unused.py", "tools/new.py"])
def test_an_edit_of_another_module_does_not(name, edit):
    before, package = source_key("tinypackage.maker"), source_key("tinypackage.tools")
    edit(name)
    assert source_key("tinypackage.maker") == before
    assert source_key("tinypackage.tools") != package  # a package is all that lies below


def test_a_module_that_is_not_there_is_an_error(edit):
    for name in ("tinypackage.other", "no_such_package_at_all.module"):
        with pytest.raises(ModuleNotFoundError, match="there is no"):
            source_key(name)


@pytest.mark.parametrize(
    ("maker", "made_with"),
    [
        ("bench.data", ["data/preprocess.py", "data/files.py", "data/shapes.py"]),
        ("bench.calibration.collector", ["calibration/statistics.py", "calibration/tap.py",
                                         "calibration/kernels.py", "calibration/histogram.py"]),
        ("bench.measure", ["data/preprocess.py", "evaluation/task.py", "model/onnx_model.py"]),
        ("bench.engine", ["engine/onnxrt.py", "engine/trt/builder.py"]),
    ],
)  # fmt: skip
def test_what_makes_a_stored_result_is_part_of_its_key(
    maker: str, made_with: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = Path(bench.__file__).parent, Path.read_bytes
    edited: list[Path] = []
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read(path) + (b"#" if path in edited else b"")
    )
    keys = {source_key(maker)}
    for name in made_with:
        edited[:] = [root / name]
        keys.add(source_key(maker))
    assert len(keys) == 1 + len(made_with)
