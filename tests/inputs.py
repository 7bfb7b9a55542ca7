"""Tiny models and images, good and bad, for the command line to run on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image as Pil

SIDE = 64


def write_inputs(folder: Path, sketch: Any) -> None:
    """All of them under one folder; ``sketch`` is the class that draws graphs."""
    _write_models(folder, sketch)
    _write_folder(folder / "folder")
    _write_folder(folder / "broken_calibration", broken="calib/a/1.png")
    _write_folder(folder / "broken_validation", broken="val/b/2.png")
    _write_coco(folder / "coco")
    (folder / "empty").mkdir()


def _write_models(folder: Path, sketch: Any) -> None:
    def classify(classes: int, **options: Any) -> onnx.ModelProto:
        g = sketch(1)
        channels = options.get("channels", 3)
        x = g.op("Relu", g.conv("images", channels, 8, "stem", k=8, strides=[8, 8], pads=[0] * 4))
        return g.model(g.classify(x, 8, classes), **{"size": (SIDE, SIDE)} | options)

    def detect(classes: int) -> onnx.ModelProto:
        g = sketch(2)
        maps = []
        for stride in (8, 16, 32):
            options = {"k": stride, "strides": [stride, stride], "pads": [0] * 4}
            x = g.conv("images", 3, 4 + classes, f"map{stride}", **options)
            shape = g.const(np.array([0, 4 + classes, (SIDE // stride) ** 2]))
            maps.append(g.op("Reshape", g.op("Relu", x), shape))
        return g.model(g.op("Concat", *maps, axis=2), size=(SIDE, SIDE))

    def quantized() -> onnx.ModelProto:
        g = sketch(3)
        scale, zero = g.const(np.float32(0.1)), g.const(np.int8(0))
        x = g.op("QuantizeLinear", "images", scale, zero)
        x = g.op("DequantizeLinear", x, scale, zero)
        return g.model(g.classify(g.conv(x, 3, 8, "stem"), 8, 10), size=(SIDE, SIDE))

    def without_layers() -> onnx.ModelProto:
        g = sketch(4)
        x = g.op("Flatten", g.op("GlobalAveragePool", "images"))
        return g.model(g.op("Pad", x, g.const(np.array([0, 0, 0, 7]))), size=(SIDE, SIDE))

    def two_inputs() -> onnx.ModelProto:
        model = classify(10)
        other = onnx.ValueInfoProto()
        other.CopyFrom(model.graph.input[0])
        other.name = "more"
        model.graph.input.append(other)
        return model

    onnx.save(classify(10), folder / "classifier.onnx")
    onnx.save(classify(2), folder / "two_classes.onnx")
    onnx.save(classify(10, batch=4), folder / "fixed_batch.onnx")
    onnx.save(classify(10, size=("height", "width")), folder / "open.onnx")
    onnx.save(classify(10, channels=1), folder / "grey.onnx")
    onnx.save(detect(10), folder / "detector.onnx")
    onnx.save(detect(2), folder / "two_class_detector.onnx")
    onnx.save(quantized(), folder / "quantized.onnx")
    onnx.save(without_layers(), folder / "without_layers.onnx")
    onnx.save(two_inputs(), folder / "two_inputs.onnx")
    whole = (folder / "classifier.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("<html>404 Not Found</html>\n")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "checkpoint.pt").write_bytes(b"PK\x03\x04" + bytes(100))


def _write_images(folder: Path, names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pil.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(path)


def _write_folder(folder: Path, broken: str = "") -> None:
    """Two classes, three images each, for validation and for calibration."""
    names = [f"{name}/{number}.png" for name in "ab" for number in range(3)]
    for seed, split in enumerate(("val", "calib")):
        _write_images(folder / split, names, seed)
    if broken:
        (folder / broken).write_text("no image")


def _write_coco(folder: Path, broken: str = "") -> None:
    """Six images with a box each, and six to calibrate on."""
    names = [f"{number}.png" for number in range(6)]
    _write_images(folder / "val", names, 0)
    _write_images(folder / "calib", names, 1)
    if broken:
        (folder / broken).write_text("no image")
    (folder / "annotations.json").write_text(json.dumps(coco_annotations(names)))
    wrong = {
        "other_images": coco_annotations(["7.png", *names]),
        "unknown_image": coco_annotations(names, image_id=99),
        "unknown_category": coco_annotations(names, category_id=99),
        "short_box": coco_annotations(names, bbox=[1, 2, 3]),
        "words_in_box": coco_annotations(names, bbox=[1, 2, 3, "wide"]),
        "without_box": coco_annotations(names, bbox=None),
        "no_boxes": coco_annotations(names) | {"annotations": []},
        "no_images": coco_annotations(names) | {"images": []},
        "twice": coco_annotations([*names, names[0]], ids=[*range(6), 0]),
        "nameless": coco_annotations(names) | {"images": [{"id": i} for i in range(6)]},
        "list": list(range(3)),
    }
    for name, content in wrong.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "cut.json").write_text(json.dumps(coco_annotations(names))[:50])


def coco_annotations(names: list[str], ids: Any = None, **changes: Any) -> dict[str, Any]:
    """COCO annotations; ``changes`` are made to the first box, None takes a key away."""
    boxes: list[dict[str, Any]] = [
        {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [4, 4, 20, 20], "area": 400}
        for i in range(len(names))
    ]
    boxes[0] = {k: v for k, v in (boxes[0] | changes).items() if v is not None}
    numbers = ids or range(len(names))
    return {
        "images": [{"id": i, "file_name": n} for i, n in zip(numbers, names, strict=True)],
        "annotations": boxes,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
