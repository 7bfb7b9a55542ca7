"""Detection accuracy by COCO's rules: hotcoco matches and scores, we only keep the record.

``evaluate_boxes`` scores one detector on one set of images. Its ``MatchTable`` remembers which
detection matched what, so that the mAP of any resample of these images follows without matching
again: COCO matches within one image, so drawing images again changes counts, never matches.

Source: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, 2014, and pycocotools'
``COCOeval``, the reference implementation. hotcoco has the same interface and is written in Rust;
the tests compare its matches and scores with those of pycocotools.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hotcoco import COCO, COCOeval

from bench.data.dataset import BoxTarget
from bench.errors import DataError, ModelError
from bench.evaluation.matches import N_IOU, MatchTable
from bench.model.detections import Detections


@dataclass(frozen=True, eq=False)
class DetectionScore:
    """COCO's summary, all in [0, 1]; nan where there is no ground truth of that kind.

    ``map50_95`` is the headline: precision averaged over IoU thresholds, recalls and classes.
    ``map_small``, ``map_medium`` and ``map_large`` split the ground truth at areas of 32 x 32 and
    96 x 96 pixels. ``ar100`` is the recall with at most 100 detections per image and class,
    averaged over thresholds and classes. ``n_by_size`` counts the boxes to find of each size.
    """

    map50_95: float
    map50: float
    map75: float
    map_small: float
    map_medium: float
    map_large: float
    ar100: float
    n_by_size: tuple[int, int, int]
    matches: MatchTable


def evaluate_boxes(
    targets: Sequence[BoxTarget], detections: Sequence[Detections], n_classes: int
) -> DetectionScore:
    """Score the detections of each image against its ground truth with COCOeval.

    A detection with a NaN or infinite coordinate is kept as an empty box, hence a false positive,
    and a score that is not finite counts as 0: a broken engine scores badly, it does not crash, nor
    does COCOeval take IoU = NaN for a match. Raises ValueError when the two sequences differ in
    length, DataError for no images or for a label that is not in [0, n_classes), ModelError for
    such a label in a detection.
    """
    if len(targets) != len(detections):
        raise ValueError(f"{len(targets)} targets but {len(detections)} images with detections")
    if not targets:
        raise DataError("There is no image to evaluate", "Choose at least one validation image.")
    for image, (target, one) in enumerate(zip(targets, detections, strict=True)):
        if not _are_classes(target.labels, n_classes):
            raise DataError(
                f"A ground-truth label of image {image} is not in [0, {n_classes})",
                "Check the annotations and the dataset's class names.",
            )
        if not _are_classes(one.labels, n_classes):
            raise ModelError(
                f"A detection in image {image} has a label that is not in [0, {n_classes})",
                "Check that the model's head and the dataset have the same classes.",
            )
    truth = _truth(targets, n_classes)
    results = truth.load_res(_rows(detections))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its summary
        evaluator = COCOeval(truth, results, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    # COCOeval says -1 where there is nothing to find.
    ap, ap50, ap75, small, medium, large, _, _, ar100 = (
        float(value) if value >= 0 else float("nan") for value in evaluator.stats[:9]
    )
    counts = _count_by_size(targets, evaluator.params.area_rng[1:])
    matches = _match(truth, results, targets, n_classes)
    return DetectionScore(ap, ap50, ap75, small, medium, large, ar100, counts, matches)


def _are_classes(labels: npt.NDArray[np.int64], n_classes: int) -> bool:
    return bool(((labels >= 0) & (labels < n_classes)).all())


def _truth(targets: Sequence[BoxTarget], n_classes: int) -> COCO:
    annotations = (
        {
            "image_id": image,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": area,
            "iscrowd": int(crowd),
        }
        for image, target in enumerate(targets)
        for (x1, y1, x2, y2), label, area, crowd in zip(
            target.boxes.tolist(),
            target.labels.tolist(),
            target.areas.tolist(),
            target.crowd.tolist(),
            strict=True,
        )
    )
    return COCO(
        {
            "images": [{"id": image} for image in range(len(targets))],
            "categories": [{"id": label, "name": str(label)} for label in range(n_classes)],
            # Numbered from 1: COCOeval writes the matched id and reads 0 as unmatched.
            "annotations": [
                {"id": number, **annotation} for number, annotation in enumerate(annotations, 1)
            ],
        }
    )


def _rows(detections: Sequence[Detections]) -> npt.NDArray[np.float64]:
    """(n, 7) of all images: image, left, top, width, height, score and class."""
    parts = []
    for image, one in enumerate(detections):
        boxes = one.boxes.astype(np.float64)
        boxes = np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, 0)
        images = np.full(len(boxes), image)
        corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        parts.append(np.column_stack([images, corner, size, one.finite_scores, one.labels]))
    return np.concatenate(parts)


def _match(truth: COCO, results: COCO, targets: Sequence[BoxTarget], n_classes: int) -> MatchTable:
    """What matched what among objects of all sizes."""
    evaluator = COCOeval(truth, results, "bbox")
    everything = evaluator.params
    everything.area_rng, everything.area_rng_lbl = everything.area_rng[:1], ["all"]
    evaluator.params = everything
    evaluator.evaluate()
    by_class: list[list[Any]] = [[] for _ in range(n_classes)]
    for record in evaluator.eval_imgs:
        if record is not None:
            by_class[record["category_id"]].append(record)
    positives = np.zeros((len(targets), n_classes), dtype=np.int32)
    columns = []
    for label, records in enumerate(by_class):
        records.sort(key=lambda record: record["image_id"])
        for record in records:
            positives[record["image_id"], label] = record["gtIgnore"].count(False)
        columns.append(_ordered_columns(records))
    image, score, hit, ignored = (np.concatenate(column) for column in zip(*columns, strict=True))
    class_start = np.cumsum([0, *(len(column[0]) for column in columns)], dtype=np.int64)
    return MatchTable(image, score, hit, ignored, class_start, positives)


def _count_by_size(
    targets: Sequence[BoxTarget], area_ranges: Sequence[Sequence[float]]
) -> tuple[int, int, int]:
    """The boxes to find that are small, medium and large: both ends of a range belong to it."""
    areas = np.concatenate([target.areas[~target.crowd] for target in targets])
    small, medium, large = (
        int(np.count_nonzero((areas >= low) & (areas <= high))) for low, high in area_ranges
    )
    return small, medium, large


def _ordered_columns(records: Sequence[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Image, score, hit and ignored of one class's detections, in the order of COCOeval."""
    image = np.array([r["image_id"] for r in records for _ in r["dtIds"]], dtype=np.int32)
    score = np.array([score for r in records for score in r["dtScores"]], dtype=np.float32)
    none = np.zeros((N_IOU, 0), dtype=np.bool_)
    matched, ignored = (
        np.concatenate(
            [none, *(np.array(r[key], np.int64) > 0 for r in records if r["dtIds"])], axis=1
        )
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-score, kind="mergesort")
    columns = (image, score, _bits(matched & ~ignored), _bits(ignored))
    return tuple(column[order] for column in columns)


def _bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """(N_IOU, n) bool to (n,) uint16, bit t from row t."""
    return (2 ** np.arange(N_IOU) @ flags).astype(np.uint16)
