"""Exports with packages that only look like the real ones: what is asked, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ConfigError, ModelError
from bench.model.export import Export, run_export

YOLO = Export("ultralytics", "yolov8n.pt", 640)
MEND = "Put the file at models/yolov8n_coco.onnx"
WORKS = """
import os
class YOLO:
    def __init__(self, weights):
        assert os.environ["YOLO_AUTOINSTALL"] == "false"
        self.weights = weights
    def export(self, **asked):
        open("out.onnx", "w").write(f"{self.weights} {asked['imgsz']} {asked['simplify']}")
        return "out.onnx"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``package(text)``: a module called ultralytics for this process and those that it starts."""

    def make(text: str) -> None:
        folder = tmp_path / "packages"
        folder.mkdir()
        (folder / "ultralytics.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.syspath_prepend(folder)

    return make


def test_the_licence_is_told_before_anything_is_fetched(package, tmp_path, capsys):
    package(WORKS)
    assert YOLO.is_possible
    run_export(YOLO, tmp_path / "cache" / "net.onnx", MEND)
    assert (tmp_path / "cache" / "net.onnx").read_text() == "yolov8n.pt 640 False"
    said = capsys.readouterr()
    assert said.err.startswith("ultralytics (AGPL-3.0, code and weights) fetches yolov8n.pt")
    assert not said.out
    assert len(list((tmp_path / "cache").iterdir())) == 1  # what the package drops is gone


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class YOLO:\n def __init__(s, w):\n  raise ConnectionError('not\\nonline.')",
         "ultralytics could not export yolov8n.pt (ConnectionError: not online)"),
        ("raise SystemExit(3)", "(it ended with status 3)"),
        ("raise SystemExit(0)", "(it wrote no file)"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_leaves_nothing(text, told, package, tmp_path):
    package(text)
    with pytest.raises(ModelError) as caught:
        run_export(YOLO, tmp_path / "cache" / "net.onnx", MEND)
    line = str(caught.value)
    assert told in line
    assert line.endswith(MEND)
    assert "\n" not in line
    assert not list((tmp_path / "cache").iterdir())


def test_a_package_that_is_not_there_and_one_that_nobody_knows(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not YOLO.is_possible
    with pytest.raises(ConfigError, match=r"export\.package=timm is unknown"):
        Export("timm", "net", 224)
