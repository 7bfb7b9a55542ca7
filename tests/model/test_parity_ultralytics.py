"""Our heads against Ultralytics' own suppression and predictor, on networks that it builds here.

The architectures come from its YAML files with random weights: no network is needed. YOLOv5 with
anchors is not among them: the package builds YOLOv5u for that name, whose head is YOLOv8's.
Runs where ``pip install -e '.[ultralytics]'`` was done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from omegaconf import OmegaConf

from bench.cli.create import create
from bench.data.preprocess import make_preprocess
from bench.environment import CONF
from bench.model.detections import Detections
from bench.model.graph import Graph
from bench.model.heads.suppression import Suppression
from bench.model.heads.yolov8 import YoloV8Head
from bench.model.onnx_model import load_model

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
ultralytics = pytest.importorskip("ultralytics", reason="needs the extra 'ultralytics'")
torch = pytest.importorskip("torch")

SIZE = 320
NETS = {"yolov8n": "yolov8", "yolov5n": "yolov8", "yolo11n": "yolov8", "yolov10n": "yolov10"}
BOX_TOLERANCE = 1e-3
"""Pixels: float32 against float64 on the way through suppression."""


@dataclass(frozen=True)
class Exported:
    """A network with random weights, its ONNX file, and our head for it."""

    name: str
    network: Any
    path: Path
    head: Any

    def outputs(self, batch: np.ndarray) -> list[np.ndarray]:
        session = ort.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        return list(session.run(None, {"images": batch}))


def blobs(count: int, height: int = SIZE, seed: int = 0) -> np.ndarray:
    """Pictures of coloured blocks under a little noise, count x height x SIZE x 3."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 230, (count, SIZE // 20, SIZE // 20, 3))
    whole = coarse.repeat(20, axis=1).repeat(20, axis=2)
    return (whole + rng.integers(0, 25, whole.shape)).astype(np.uint8)[:, :height]


def tensor(pictures: np.ndarray) -> np.ndarray:
    return make_preprocess((SIZE, SIZE), fit="letterbox").normalise(pictures)


def build(name: str, folder: Path, **how: Any) -> tuple[Any, Path]:
    """The architecture with random weights that find something everywhere, and its export."""
    torch.manual_seed(0)
    network = ultralytics.YOLO(f"{name}.yaml")
    _liven(network.model)
    here = Path.cwd()
    os.chdir(folder)  # the export goes where one stands
    try:
        made = network.export(
            format="onnx", imgsz=SIZE, opset=17, simplify=False, device="cpu", **how
        )
    finally:
        os.chdir(here)
    return network, (folder / made).rename(folder / f"{name}.onnx")


def _liven(model: Any) -> None:
    """As made, activations fade out on their way, and no score passes 0.001."""
    detect = model.model[-1]
    for branch in (detect.cv2, detect.cv3):
        one_to_one = getattr(detect, f"one2one_{'cv2' if branch is detect.cv2 else 'cv3'}", None)
        for level in (*branch, *(one_to_one or ())):
            torch.nn.init.normal_(level[-1].weight, std=0.1)
            if branch is detect.cv3:
                torch.nn.init.constant_(level[-1].bias, -4.0)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():  # every layer's output to unit variance
        model.train()(torch.from_numpy(tensor(blobs(8))))
    model.eval()


@pytest.fixture(scope="module", params=NETS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network, path = build(request.param, tmp_path_factory.mktemp(request.param), nms=False)
    head = create(OmegaConf.load(CONF / "head" / f"{NETS[request.param]}.yaml").head, "head")
    return Exported(request.param, network, path, head)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """RGB, wider than high: letterboxing has something to do."""
    return blobs(1, 230, seed=1)[0]


def same(ours: Detections, theirs: np.ndarray, tolerance: float) -> None:
    """``theirs`` (n, 6): x1 y1 x2 y2 score class, best first; nothing equal to the last bit."""
    assert len(ours.scores) == len(theirs) > 20
    np.testing.assert_allclose(ours.scores, theirs[:, 4], rtol=1e-5)
    np.testing.assert_allclose(ours.boxes, theirs[:, :4], atol=tolerance)
    np.testing.assert_array_equal(ours.labels, theirs[:, 5])


def test_the_harness_takes_the_export(exported: Exported) -> None:
    graph = Graph(load_model(exported.path))
    shapes = [graph.shape(name) for name in graph.output_names]
    exported.head.check(shapes, (SIZE, SIZE), 80)
    assert 5 < len(graph.head & set(graph.compute)) < len(graph.compute) / 3


def test_the_same_boxes_as_its_suppression(exported: Exported) -> None:
    """Its validator's settings, on the very same outputs."""
    from ultralytics.utils.nms import non_max_suppression

    batch = tensor(blobs(1, seed=1))
    (output,) = exported.outputs(batch)
    (theirs,) = non_max_suppression(
        torch.from_numpy(output.astype(np.float64)),  # it shifts classes by 7680: float32 blurs
        conf_thres=0.001, iou_thres=0.7, multi_label=True, max_det=300, max_nms=30_000,
    )  # fmt: skip
    same(exported.head.decode([output[0]]), theirs.numpy(), BOX_TOLERANCE)


@pytest.mark.usefixtures("torchvision_works")
def test_the_same_boxes_as_its_predictor(exported: Exported, picture: np.ndarray) -> None:
    """From the picture to boxes in the picture: letterbox, network, head and the way back.

    The predictor suppresses on the best class alone, in float32; a few pairs of boxes within
    rounding of the threshold may be decided otherwise.
    """
    score = 0.05
    native = ultralytics.YOLO(str(exported.path), task="detect")
    (result,) = native.predict(
        picture[..., ::-1], imgsz=SIZE, conf=score, iou=0.7, max_det=300, verbose=False,
        device="cpu",
    )  # fmt: skip
    theirs = result.boxes.data.numpy()

    preprocess = make_preprocess((SIZE, SIZE), fit="letterbox", pad=114)
    fitted, fitting = preprocess.place(picture)
    (output,) = exported.outputs(preprocess.normalise(fitted[None]))
    head = exported.head
    if isinstance(head, YoloV8Head):
        head = YoloV8Head(Suppression(score=score, several_labels=False))
        ours = head.decode([output[0]])
    else:
        ours = type(head)(score=score).decode([output[0]])
    ours = Detections(fitting.to_picture(ours.boxes), ours.scores, ours.labels)
    assert len(theirs) > 20
    assert abs(len(ours.scores) - len(theirs)) <= 0.02 * len(theirs)
    found = np.column_stack([ours.boxes, ours.scores, ours.labels])
    distance = np.abs(found[:, None] - theirs[None]).max(2).min(0)
    assert (distance < 0.05).mean() >= 0.98


@pytest.mark.usefixtures("torchvision_works")
def test_suppression_inside_gives_what_suppression_outside_gives(tmp_path: Path) -> None:
    """``nms=True`` on the best class alone, as its export does."""
    network, inside = build("yolov8n", tmp_path, nms=True, conf=0.001, iou=0.7)
    batch = tensor(blobs(1, seed=1))
    (rows,) = Exported("", network, inside, None).outputs(batch)
    network, outside = build("yolov8n", tmp_path, nms=False)
    (raw,) = Exported("", network, outside, None).outputs(batch)
    detections = create(OmegaConf.load(CONF / "head" / "detections.yaml").head, "head")
    detections.check([rows.shape], (SIZE, SIZE), 80)
    wanted = YoloV8Head(Suppression(several_labels=False)).decode([raw[0]])
    theirs = np.column_stack([wanted.boxes, wanted.scores, wanted.labels])
    same(detections.decode([rows[0]]), theirs, 0.01)
