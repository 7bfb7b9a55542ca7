"""The detector's training target and loss.

Which anchors learn which object is decided by task alignment (TOOD, arXiv 2108.07755, section
3.2): the score of the right class times a power of the overlap.  Boxes learn by complete IoU
(arXiv 1911.08287, section 4) and by distribution focal loss (arXiv 2006.04388, section 3.2),
classes by binary cross entropy against the alignment as a soft target.  Everything is one batch
of (images, objects, anchors) tensors; at 256 px that is about 16 x 12 x 1344 numbers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .yolov8 import REG_MAX, anchor_grid

TOP_K, ALPHA, BETA = 10, 0.5, 6.0
BOX_GAIN, CLASS_GAIN, DFL_GAIN = 7.5, 0.5, 1.5
EPS = 1e-7


def _area(size: Tensor) -> Tensor:
    return size[..., 0] * size[..., 1]


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """CIoU of broadcastable xyxy boxes (arXiv 1911.08287, equations 8 to 11)."""
    a_low, a_high = a[..., :2], a[..., 2:]
    b_low, b_high = b[..., :2], b[..., 2:]
    a_size, b_size = a_high - a_low, b_high - b_low
    inter = _area((torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(min=0))
    iou = inter / (_area(a_size) + _area(b_size) - inter + EPS)
    hull = torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)
    diagonal = hull.square().sum(-1) + EPS
    distance = (a_low + a_high - b_low - b_high).square().sum(-1) / 4
    a_angle = torch.atan(a_size[..., 0] / (a_size[..., 1] + EPS))
    b_angle = torch.atan(b_size[..., 0] / (b_size[..., 1] + EPS))
    v = (4 / math.pi**2) * (b_angle - a_angle).square()
    with torch.no_grad():
        weight = v / (1 - iou + v + EPS)
    return iou - distance / diagonal - weight * v


@torch.no_grad()
def assign(
    scores: Tensor,
    boxes: Tensor,
    centres: Tensor,
    gt_labels: Tensor,
    gt_boxes: Tensor,
    real: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Task-aligned assignment.

    scores (B, A, C) after sigmoid, boxes (B, A, 4) and gt_boxes (B, M, 4) xyxy in pixels, centres
    (A, 2) in pixels, gt_labels (B, M), real (B, M) false for padding.  Returns the object of each
    anchor (B, A), whether it has one (B, A) and the soft class target of that object (B, A).
    """
    objects = gt_boxes.shape[1]
    from_low = centres[None, None] - gt_boxes[:, :, None, :2]
    to_high = gt_boxes[:, :, None, 2:] - centres[None, None]
    inside = (torch.minimum(from_low, to_high).amin(-1) > 1e-9) & real[:, :, None]
    overlap = complete_iou(gt_boxes[:, :, None], boxes[:, None]).clamp(min=0) * inside
    index = gt_labels.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1])
    class_score = scores.transpose(1, 2).gather(1, index)
    metric = class_score.pow(ALPHA) * overlap.pow(BETA) * inside

    best = metric.topk(min(TOP_K, metric.shape[2]), dim=2).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    # An anchor wanted by several objects goes to the one it overlaps most.
    owner = (overlap * chosen - (~chosen).to(overlap.dtype)).argmax(1)
    foreground = chosen.any(1)
    chosen &= F.one_hot(owner, objects).transpose(1, 2).bool()

    metric = metric * chosen
    highest_metric = metric.amax(2, keepdim=True)
    highest_overlap = (overlap * chosen).amax(2, keepdim=True)
    target = (metric * highest_overlap / (highest_metric + 1e-9)).amax(1)
    return owner, foreground, target


class DetectionLoss:
    """Loss of the raw predictions of one input size; keeps the anchor grid of each size."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._grids: dict[tuple[int, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def _grid(self, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if (size, device) not in self._grids:
            centres, strides = anchor_grid(size, size)
            bins = torch.arange(REG_MAX, dtype=torch.float32)
            self._grids[size, device] = (
                centres[0].T.contiguous().to(device), strides.T.contiguous().to(device),
                bins.to(device),
            )  # fmt: skip
        return self._grids[size, device]

    def __call__(
        self, raw: Tensor, size: int, gt_labels: Tensor, gt_boxes: Tensor, real: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum, and its three parts for the log."""
        centres, strides, bins = self._grid(size, raw.device)
        raw = raw.float().transpose(1, 2)
        box_raw, logits = raw.split((4 * REG_MAX, self.classes), 2)
        box_raw = box_raw.reshape(*raw.shape[:2], 4, REG_MAX)
        distance = box_raw.softmax(3) @ bins
        cells = torch.cat((centres - distance[..., :2], centres + distance[..., 2:]), 2)
        owner, foreground, soft = assign(
            logits.detach().sigmoid(), cells.detach() * strides, centres * strides,
            gt_labels, gt_boxes, real,
        )  # fmt: skip
        total = soft.sum().clamp(min=1.0)
        one_hot = F.one_hot(gt_labels.clamp(min=0).gather(1, owner), self.classes)
        target = one_hot * (soft * foreground)[..., None]
        class_loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total

        where = foreground.nonzero(as_tuple=True)
        anchors = where[1]
        truth = gt_boxes[where[0], owner[where]] / strides[anchors]
        weight = soft[where]
        box_loss = ((1 - complete_iou(cells[where], truth)) * weight).sum() / total
        low, high = centres[anchors] - truth[:, :2], truth[:, 2:] - centres[anchors]
        wanted = torch.cat((low, high), 1).clamp(0, REG_MAX - 1.01)
        dfl_loss = (_distribution_loss(box_raw[where], wanted) * weight).sum() / total

        loss = BOX_GAIN * box_loss + CLASS_GAIN * class_loss + DFL_GAIN * dfl_loss
        parts = torch.stack((box_loss, class_loss, dfl_loss)).detach().tolist()
        return loss, dict(zip(("box", "cls", "dfl"), parts, strict=True))


def _distribution_loss(box_raw: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy against the two bins around the wanted distance (equation 6), per anchor."""
    log_p = box_raw.log_softmax(2)
    left = wanted.floor().long()
    share = wanted - left
    below = log_p.gather(2, left[..., None])[..., 0]
    above = log_p.gather(2, left[..., None] + 1)[..., 0]
    return -(below * (1 - share) + above * share).mean(1)
