"""The names of a network's classes: as its file says, or of the well-known number of COCO's."""

from __future__ import annotations

import ast

from bench.model.onnx_file import read_proto
from bench.model.onnx_model import OnnxModel

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""In the order of their category ids, as models trained on COCO have them (cocodataset.org)."""


def metadata(model: OnnxModel) -> dict[str, str]:
    """What the exporter noted in the file, such as Ultralytics' ``task`` and ``names``."""
    return {entry.key: entry.value for entry in read_proto(model.path).metadata_props}


def class_names(n_classes: int, noted: dict[str, str], detector: bool) -> tuple[str, ...]:
    """The names in the file, if they are so many; COCO's for a detector of 80; else numbers."""
    names = noted_names(noted)
    if len(names) == n_classes:
        return names
    if detector and n_classes == len(COCO):
        return COCO
    return tuple(map(str, range(n_classes)))


def noted_names(noted: dict[str, str]) -> tuple[str, ...]:
    """The names in the file; Ultralytics writes {0: 'person', ...}. What is something else counts
    as none.

    Only a literal is read: nothing in it is run.
    """
    try:
        names = ast.literal_eval(noted.get("names", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return ()
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(name if name.isprintable() else "?" for name in names)
