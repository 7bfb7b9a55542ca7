"""Metrics of the networks on validation images: COCO mAP of the detector (if pycocotools is there).

Boxes are compared in the letterboxed 256x256 frame; candidates above a score of 0.001 pass a
class-wise non-maximum suppression at IoU 0.7, as is usual when mAP is measured.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Rendered

MIN_SCORE, NMS_IOU, MOST_CANDIDATES, MOST_KEPT = 0.001, 0.7, 600, 100


def suppress(decoded: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) xyxy, scores and classes that survive, of one image's (4 + classes, anchors)."""
    classes = decoded.shape[0] - 4
    flat = decoded[4:].T.reshape(-1)
    scores, order = flat.topk(min(MOST_CANDIDATES, flat.numel()))
    order = order[scores > MIN_SCORE]
    scores = scores[scores > MIN_SCORE]
    labels = order % classes
    centre, size = decoded[:2].T[order // classes], decoded[2:4].T[order // classes]
    boxes = torch.cat((centre - size / 2, centre + size / 2), 1)
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(2)
    area = size.prod(1)
    overlaps = inter / (area[:, None] + area[None] - inter + 1e-9) > NMS_IOU
    overlaps &= labels[:, None] == labels[None]
    clash = overlaps.cpu().numpy()
    alive = np.ones(len(clash), bool)
    for index in range(len(clash)):
        if alive[index]:
            alive[index + 1 :] &= ~clash[index, index + 1 :]
    keep = np.flatnonzero(alive)[:MOST_KEPT]
    return boxes.cpu().numpy()[keep], scores.cpu().numpy()[keep], labels.cpu().numpy()[keep]


def coco_map(decoded: Tensor, data: Rendered) -> float | None:
    """mAP50-95 of the decoded outputs of all images of `data`; None without pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        return None
    truth: list[Any] = []
    found: list[Any] = []
    for image in range(len(data)):
        for label, *box in data.labels[image].tolist():
            if label >= 0:
                truth.append(_annotation(image, int(label), box, id=len(truth) + 1, iscrowd=0))
        boxes, scores, labels = suppress(decoded[image])
        for box, score, label in zip(boxes.tolist(), scores, labels, strict=True):
            found.append(_annotation(image, int(label), box, score=float(score)))
    if not found:
        return 0.0
    categories = decoded.shape[1] - 4
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(len(data))],
            "annotations": truth,
            "categories": [{"id": label} for label in range(categories)],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


def _annotation(image: int, label: int, box: list[float], **more: float) -> dict[str, object]:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    return {
        "image_id": image, "category_id": label, "bbox": [x1, y1, width, height],
        "area": width * height, **more,
    }  # fmt: skip
