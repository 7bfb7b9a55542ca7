"""Random detection scenes with everything that makes COCO scoring awkward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.data.dataset import BoxTarget
from bench.model.detections import Detections

Scene = tuple[list[BoxTarget], list[Detections]]


def _scene(seed: int, n_images: int = 8, n_classes: int = 4, tie_levels: int = 6) -> Scene:
    """Targets and detections; few ``tie_levels`` make many equal scores, 0 makes none.

    The last class is absent from the targets, and some images have no boxes, no detections or
    neither. Detections are shaken ground truth, some of it twice or of another class, and noise.
    """
    rng = np.random.default_rng(seed)
    targets, detections = [], []
    for _ in range(n_images):
        n = int(rng.choice([0, 1, 3, 6]))
        corner, size = rng.uniform(0, 300, (n, 2)), rng.uniform(5, 200, (n, 2))
        boxes = np.hstack([corner, corner + size])
        labels = rng.integers(0, max(n_classes - 1, 1), n)
        targets.append(
            BoxTarget(
                boxes=boxes.astype(np.float32),
                labels=labels,
                areas=(size.prod(axis=1) * rng.uniform(0.5, 1, n)).astype(np.float32),
                crowd=rng.random(n) < 0.2,
            )
        )
        source = rng.integers(0, n, 2 * n) if n else np.zeros(0, dtype=np.int64)
        shaken = boxes[source] + rng.normal(0, 1, (2 * n, 4)) * size[source].mean(1)[:, None] * 0.1
        n_noise = int(rng.choice([0, 4]))
        noise = rng.uniform(0, 200, (n_noise, 4)) + [0, 0, 100, 100]
        found = np.vstack([shaken, noise])[: 0 if rng.random() < 0.1 else None]
        guesses = np.concatenate([labels[source], rng.integers(0, n_classes, n_noise)])
        guesses = np.where(rng.random(len(guesses)) < 0.1, n_classes - 1, guesses)[: len(found)]
        scores = rng.random(len(found))
        if tie_levels:
            scores = np.ceil(scores * tie_levels) / tie_levels
        order = np.argsort(-scores, kind="stable")
        detections.append(
            Detections(
                boxes=found[order].astype(np.float32),
                scores=scores[order].astype(np.float32),
                labels=guesses[order],
            )
        )
    return targets, detections


@pytest.fixture(scope="session")
def scene() -> Callable[..., Scene]:
    return _scene
