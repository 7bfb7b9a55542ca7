"""Rendered training images and their augmentation.

The generator of `bench.data.shapes` draws an image in milliseconds, too slow to do it inside the
training step on two cores; so each split is drawn once, in parallel, into a uint8 array on disk
and memory-mapped afterwards.  The file name carries a fingerprint of the generator's output, so a
changed generator is never mixed with old images.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from bench.data.shapes import draw_picture, draw_scene, split_seed

SCENE_SIZE = 256
PICTURE_SIZE = 64
GREY = 114
# Constants of the classifiers' input: (pixel / 255 - MEAN) / STD, the same for each channel.
MEAN, STD = 0.5, 0.25


def letterbox(image: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale to fit size x size keeping the aspect ratio, centred on grey; boxes move along."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_w, new_h = round(width * scale), round(height * scale)
    left, top = (size - new_w) // 2, (size - new_h) // 2
    canvas = np.full((size, size, 3), GREY, np.uint8)
    resized = Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR)
    canvas[top : top + new_h, left : left + new_w] = np.asarray(resized)
    return canvas, boxes * np.float32(scale) + np.array([left, top, left, top], np.float32)


def _scene(index: int, split: str) -> tuple[np.ndarray, list[list[float]]]:
    scene = draw_scene(split_seed(split, index))
    image, boxes = letterbox(scene.image, scene.boxes, SCENE_SIZE)
    rows = np.concatenate((scene.labels[:, None].astype(np.float32), boxes), 1)
    return image, rows.tolist()


def _picture(index: int, split: str) -> tuple[np.ndarray, list[list[float]]]:
    image, label = draw_picture(split_seed(split, index))
    return image, [[float(label)]]


_DRAW = {"scenes": (_scene, SCENE_SIZE), "pictures": (_picture, PICTURE_SIZE)}


def _draw_range(job: tuple[str, str, str, int, int]) -> tuple[int, list[list[list[float]]]]:
    """Worker: draw images start..stop into the shared file, return their labels."""
    path, kind, split, start, stop = job
    images = np.load(path, mmap_mode="r+")
    labels = []
    for index in range(start, stop):
        images[index], rows = _DRAW[kind][0](index, split)
        labels.append(rows)
    images.flush()
    return start, labels


@dataclass(frozen=True)
class Rendered:
    """Images (n, size, size, 3) uint8 and labels (n, most, 5 or 1); a row of -1 is padding."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def render(kind: str, split: str, count: int, cache: Path, processes: int) -> Rendered:
    """The first `count` images of a split, drawn if the cache does not hold them yet."""
    draw, size = _DRAW[kind]
    digest = hashlib.sha256()
    for index in range(4):
        image, rows = draw(index, split)
        digest.update(image.tobytes() + json.dumps(rows).encode())
    stem = f"{kind}_{split}_{count}_{size}_{digest.hexdigest()[:8]}"
    cache.mkdir(parents=True, exist_ok=True)
    images_path, labels_path = cache / f"{stem}.npy", cache / f"{stem}_labels.npy"
    if not labels_path.exists():
        part = cache / f"{stem}.{os.getpid()}.part.npy"
        np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3)).flush()
        jobs = [(str(part), kind, split, at, min(at + 50, count)) for at in range(0, count, 50)]
        labels: list[list[list[float]]] = [[] for _ in range(count)]
        with multiprocessing.Pool(processes) as pool:
            done = pool.imap_unordered(_draw_range, jobs)
            for start, drawn in track(done, f"drawing {stem}", total=len(jobs)):
                labels[start : start + len(drawn)] = drawn
        most = max(1, max(map(len, labels)))
        padded = np.full((count, most, 5 if kind == "scenes" else 1), -1, np.float32)
        for index, rows in enumerate(labels):
            if rows:
                padded[index, : len(rows)] = rows
        os.replace(part, images_path)
        labels_part = cache / f"{stem}_labels.{os.getpid()}.part.npy"
        np.save(labels_part, padded)
        os.replace(labels_part, labels_path)
    return Rendered(np.load(images_path, mmap_mode="r"), np.load(labels_path))


def _symmetry(image: np.ndarray, boxes: np.ndarray, which: int) -> np.ndarray:
    """One of the 8 symmetries of the square; boxes (rows x1 y1 x2 y2) are changed in place."""
    size = image.shape[0]
    if which & 1:
        image = image[:, ::-1]
        boxes[:, [0, 2]] = size - boxes[:, [2, 0]]
    if which & 2:
        image = image[::-1]
        boxes[:, [1, 3]] = size - boxes[:, [3, 1]]
    if which & 4:
        image = image.transpose(1, 0, 2)
        boxes[:] = boxes[:, [1, 0, 3, 2]]
    return image


def _crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random window of 85 % to 100 % of a picture, scaled back to its size."""
    size = image.shape[0]
    side = size * rng.uniform(0.85, 1.0)
    x, y = rng.uniform(0, size - side, 2)
    window = (x, y, x + side, y + side)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=window))


def batch(
    data: Rendered, indices: np.ndarray, rng: np.random.Generator | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) in 0..1, channels last, and their label rows; augmented if rng given."""
    images, labels = data.images[indices], data.labels[indices]
    if rng is not None:
        scenes = labels.shape[2] == 5
        for row, which in enumerate(rng.integers(0, 8, len(indices))):
            real = labels[row, :, 0] >= 0
            boxes = labels[row, real, 1:] if scenes else np.zeros((0, 4), np.float32)
            image = _symmetry(images[row], boxes, int(which))
            if scenes:
                labels[row, real, 1:] = boxes
            elif rng.random() < 0.5:
                image = _crop(image, rng)
            images[row] = image.copy()
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().mul_(1 / 255)
    if rng is not None:
        contrast = rng.uniform(0.75, 1.25, (len(indices), 1, 1, 1)).astype(np.float32)
        middle = rng.uniform(-0.1, 0.1, (len(indices), 1, 1, 1)).astype(np.float32)
        scale = torch.from_numpy(contrast).to(device)
        shift = torch.from_numpy(0.5 * (1 - contrast) + middle).to(device)
        x = x.mul_(scale).add_(shift).clamp_(0, 1)
    return x, torch.from_numpy(labels).to(device)
