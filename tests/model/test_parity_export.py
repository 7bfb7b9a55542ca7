"""Exports by the real packages, of random weights that lie on the disk: nothing is fetched.

Runs where ``pip install -e '.[ultralytics]'`` or ``'.[torchvision]'`` was done.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image as Pil

from bench.cli.heads import given_options, head_named
from bench.data.preprocess import make_preprocess
from bench.model.export import Export, _by_torchvision, run_export
from bench.model.onnx_model import load_model
from tests.composing import composed

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")


def outputs(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    network = load_model(path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {network.input_name: batch}))


@pytest.mark.parametrize("model", ["yolov8n", "yolo11n", "yolov10n"])
def test_ultralytics_exports_what_the_zoo_asks_for(model: str, tmp_path: Path) -> None:
    """In a fresh process, as for a user whose weights the package has fetched before."""
    ultralytics = pytest.importorskip("ultralytics", reason="needs the extra 'ultralytics'")
    torch = pytest.importorskip("torch")
    spec = composed(f"model={model}").model
    asked = spec.weights["coco"].export
    torch.manual_seed(0)
    network = ultralytics.YOLO(f"{model}.yaml")
    network.save(tmp_path / asked.weights)

    target = tmp_path / "cache" / "net.onnx"
    run_export(Export(asked.package, str(tmp_path / asked.weights), asked.size), target, "")
    assert list(target.parent.iterdir()) == [target]
    batch = np.random.default_rng(0).random((1, 3, asked.size, asked.size), np.float32)
    found = outputs(target, batch)
    head = head_named(spec.head).head
    head.check([output.shape for output in found], (asked.size, asked.size), 80)
    if spec.head == "yolov8":  # of equal scores, those of YOLOv10 may come in another order
        with torch.no_grad():
            wanted = network.model.eval()(torch.from_numpy(batch))[0].numpy()
        np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", ["resnet18", "resnet50", "mobilenetv2", "efficientnet_b0"])
def test_the_same_logits_as_torchvision(model: str, tmp_path: Path) -> None:
    """From the picture on: its transforms and network against our preprocessing and the export."""
    torch = pytest.importorskip("torch")
    try:
        from torchvision.models import get_model, get_model_weights
    except (ImportError, RuntimeError) as error:  # the latter from one built for another torch
        pytest.skip(f"needs the extra 'torchvision' ({error})")
    weights = composed(f"model={model}").model.weights["imagefolder"]
    (name, version), side = weights.export.weights.split("."), weights.export.size
    torch.manual_seed(0)
    network = get_model(name, weights=None).eval()
    torch.manual_seed(0)
    _by_torchvision(name, side, tmp_path / "net.onnx")  # without a version: random weights

    picture = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    with torch.no_grad():
        batch = getattr(get_model_weights(name), version).transforms()(Pil.fromarray(picture))
        theirs = network(batch[None]).numpy()[0]
    chosen = head_named("classifier")
    given = chosen.convention | given_options(weights.preprocess)
    preprocess = make_preprocess((side, side), **given)
    found = outputs(tmp_path / "net.onnx", preprocess.normalise(preprocess.place(picture)[0][None]))
    chosen.head.check([found[0].shape], (side, side), 1000)
    ours = chosen.head.logits([found[0][0]])
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
    assert ours.argmax() == theirs.argmax()
