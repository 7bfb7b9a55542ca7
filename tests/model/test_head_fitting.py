"""Which head a network's outputs fit, and how many classes they have."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.cli.heads import all_heads
from bench.errors import ModelError
from bench.model.class_names import COCO, class_names, noted_names
from bench.model.heads.fitting import Fit, fitting_heads, settle_head
from bench.model.onnx_model import OnnxModel


@pytest.mark.parametrize(
    ("shapes", "size", "fits"),
    [
        ([(1, 1000)], (224, 224), {"classifier": 1000}),
        ([(1, 84, 8400)], (640, 640), {"yolov8": 80}),
        ([(1, 10, 2100)], (320, 320), {"yolov8": 6}),
        ([(1, 25200, 85)], (640, 640), {"yolov5": 80}),
        ([(1, 8400, 85)], (640, 640), {"yolox": 80}),
        ([(1, 85, 80, 80), (1, 85, 40, 40), (1, 85, 20, 20)], (640, 640), {"yolox": 80}),
        ([(1, 300, 6)], (640, 640), {"yolov10": None, "detections": None}),
        ([(1, 1), (1, 100, 4), (1, 100), (1, 100)], (640, 640), {"detections": None}),
        ([(1, 8400, 6)], (640, 640), {"yolov10": None, "detections": None, "yolox": 1}),
        ([(1, 25200, 6)], (640, 640), {"yolov5": 1}),
        ([(1, 1600, 80), (1, 1600, 32)], (320, 320), {}),
        ([(1, 1, 960, 640)], (960, 640), {}),
    ],
)
def test_heads_that_fit(shapes, size, fits):
    found = {fit.name: fit.n_classes for fit in fitting_heads(all_heads(), shapes, size)}
    assert found == fits


def network(shapes, *ops):
    """A graph that has outputs of these shapes and nodes of these kinds, and its model."""
    graph = SimpleNamespace(
        output_names=tuple(map(str, range(len(shapes)))),
        shape=lambda name: shapes[int(name)],
        nodes={op: SimpleNamespace(op_type=op) for op in ops},
    )
    model = OnnxModel(None, "", None, "x", (1, 3, 640, 640), graph.output_names)
    return all_heads(), model, graph


def test_an_operator_tells_suppression_inside():
    assert settle_head(*network([(1, 300, 6)], "Conv")) == Fit("yolov10", None)
    assert settle_head(*network([(1, 300, 6)], "NonMaxSuppression")) == Fit("detections", None)


def test_none_and_several_are_named():
    with pytest.raises(ModelError, match=r"1x1x960x640.*fit no head \(classifier, detections"):
        settle_head(*network([(1, 1, 960, 640)]))
    with pytest.raises(ModelError, match=r"fit the heads .*yolox.*Choose one: model\.head="):
        settle_head(*network([(1, 8400, 6)]))


def test_names_are_the_files_or_cocos_or_numbers():
    noted = {"names": "{0: 'cat', 1: 'dog'}"}
    assert class_names(2, noted, True) == ("cat", "dog")
    assert class_names(3, noted, True) == ("0", "1", "2")
    assert class_names(80, {}, True) == COCO and len(set(COCO)) == 80
    assert class_names(80, {}, False)[0] == "0"


@pytest.mark.parametrize(
    "text", ["", "{1: 'a'}", "__import__('os').getcwd()", "[1, 2]", "{0:", "(" * 500, "7"]
)
def test_other_names_count_as_none(text):
    assert noted_names({"names": text}) == ()
