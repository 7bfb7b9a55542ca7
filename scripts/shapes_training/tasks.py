"""What a detector and a classifier do differently: model, batch, loss and validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.shapes import CLASSES

from .classifiers import MobileNetV2, ResNet18
from .data import MEAN, PICTURE_SIZE, SCENE_SIZE, STD, Rendered, batch, render
from .detection_loss import DetectionLoss
from .evaluation import coco_map
from .yolov8 import Decoded

# Share of the schedule (of the time, or of the steps) a detector trains at half resolution.
HALF_RESOLUTION_SHARE = 0.38
NAMES = ("yolov8n", "resnet18", "mobilenetv2")


@dataclass(frozen=True)
class Recipe:
    """Defaults of one network's training; `epochs` is what one plain command reproduces."""

    images: int
    epochs: int
    batch: int
    lr: float
    weight_decay: float
    metric_name: str
    metric_images: int


RECIPES = {
    "yolov8n": Recipe(16000, 25, 32, 2e-3, 5e-4, "mAP50-95", 500),
    "resnet18": Recipe(20000, 12, 64, 2e-3, 2e-2, "top1", 2000),
    "mobilenetv2": Recipe(20000, 12, 64, 2e-3, 2e-2, "top1", 2000),
}


class TrainingTask(Protocol):
    """The part of the training that depends on the kind of network."""

    train: Rendered
    size: int
    outputs: str

    def build(self) -> nn.Module: ...

    def loss(
        self, model: nn.Module, rows: np.ndarray, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, dict[str, float]]: ...

    def validate(self, model: nn.Module) -> dict[str, float]: ...

    def metric(self, model: nn.Module, images: int) -> float | None: ...


class _Base:
    def __init__(self, name: str, images: int, cache: Path, device: torch.device, threads: int):
        kind = "scenes" if name == "yolov8n" else "pictures"
        self.name, self.device = name, device
        self.train = render(kind, "train", images, cache, threads)
        self.validation = render(kind, "validation", RECIPES[name].metric_images, cache, threads)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

    def _batches(self, images: int, step: int = 50) -> Iterator[Any]:
        for at in range(0, min(images, len(self.validation)), step):
            rows = np.arange(at, min(at + step, images, len(self.validation)))
            yield batch(self.validation, rows, None, self.device)


class DetectorTask(_Base):
    """YOLOv8n on scenes: half resolution first, then the full 256 px."""

    size, outputs = SCENE_SIZE, "output0"

    def __init__(self, name: str, images: int, cache: Path, device: torch.device, threads: int):
        super().__init__(name, images, cache, device, threads)
        self.criterion = DetectionLoss(len(CLASSES))

    def build(self) -> nn.Module:
        return Decoded(len(CLASSES), self.size)

    def _criterion(self, raw: Tensor, size: int, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        boxes = labels[..., 1:] * (size / self.size)
        return self.criterion(raw, size, labels[..., 0].long(), boxes, labels[..., 0] >= 0)

    def loss(
        self, model: nn.Module, rows: np.ndarray, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        x, labels = batch(self.train, rows, rng, self.device)
        size = self.size
        if progress < HALF_RESOLUTION_SHARE:
            x, size = F.avg_pool2d(x, 2), self.size // 2
        with self._autocast():
            raw = model(x)
        return self._criterion(raw, size, labels)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean full-resolution loss on 200 validation scenes."""
        losses = []
        for x, labels in self._batches(200):
            with self._autocast():
                raw = model(x)
            losses.append(self._criterion(raw, self.size, labels)[0].item())
        return {"validation_loss": float(np.mean(losses))}

    @torch.no_grad()
    def metric(self, model: nn.Module, images: int) -> float | None:
        """mAP50-95, computed in fp32."""
        decoded = [model.decoded(x) for x, _ in self._batches(images)]
        part = Rendered(self.validation.images[:images], self.validation.labels[:images])
        return coco_map(torch.cat(decoded), part)


class ClassifierTask(_Base):
    """ResNet-18 or MobileNetV2 on single pictures."""

    size, outputs = PICTURE_SIZE, "logits"
    label_smoothing = 0.05

    def build(self) -> nn.Module:
        return {"resnet18": ResNet18, "mobilenetv2": MobileNetV2}[self.name](len(CLASSES))

    def loss(
        self, model: nn.Module, rows: np.ndarray, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        x, labels = batch(self.train, rows, rng, self.device)
        with self._autocast():
            logits = model((x - MEAN) / STD)
        logits, wanted = logits.float(), labels[:, 0, 0].long()
        right = (logits.argmax(1) == wanted).float().mean().item()
        loss = F.cross_entropy(logits, wanted, label_smoothing=self.label_smoothing)
        return loss, {"top1": right}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"top1": self.metric(model, 1000)}

    @torch.no_grad()
    def metric(self, model: nn.Module, images: int) -> float:
        """Top-1 in fp32."""
        right = 0
        for x, labels in self._batches(images, 250):
            right += int((model((x - MEAN) / STD).argmax(1) == labels[:, 0, 0].long()).sum())
        return right / min(images, len(self.validation))


def make_task(
    name: str, images: int, cache: Path, device: torch.device, threads: int
) -> TrainingTask:
    kind = DetectorTask if name == "yolov8n" else ClassifierTask
    return kind(name, images, cache, device, threads)
