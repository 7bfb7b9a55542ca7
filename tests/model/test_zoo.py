"""Which weights: the user's, the carried, the ones to be put somewhere; never others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ConfigError, ModelError
from bench.model.zoo import find_weights

FILES = {"shapes": "carried:net_shapes.onnx", "coco": "net_coco.onnx"}


def test_a_file_of_ones_own_goes_first():
    found = find_weights("net", "shapes", "mine.onnx", FILES)
    assert found.path == Path("mine.onnx")
    assert "mine.onnx" in found.origin


def test_carried_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.model.zoo.CARRIED", tmp_path)
    with pytest.raises(ModelError, match=r"net_shapes\.onnx.* missing") as caught:
        find_weights("net", "shapes", None, FILES)
    assert "\n" not in str(caught.value)
    (tmp_path / "net_shapes.onnx").touch()
    found = find_weights("net", "shapes", None, FILES)
    assert found.path == tmp_path / "net_shapes.onnx"
    assert "carried for shapes" in found.origin


def test_weights_under_the_models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        find_weights("net", "coco", None, FILES)
    text = str(caught.value)
    assert str(tmp_path / "net_coco.onnx") in text
    assert "model.path=FILE.onnx" in text
    assert "dataset=shapes" in text  # the weights that need no file
    assert "\n" not in text
    (tmp_path / "net_coco.onnx").touch()
    assert find_weights("net", "coco", None, FILES).path == tmp_path / "net_coco.onnx"


def test_no_other_dataset_s_weights():
    with pytest.raises(ConfigError, match=r"no weights for dataset imagefolder .*coco, shapes"):
        find_weights("net", "imagefolder", None, FILES)
    with pytest.raises(ConfigError, match="none"):
        find_weights("custom", "coco", None, {})
