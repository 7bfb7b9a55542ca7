"""From a picture to a network's input, and from its boxes back to the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pil

from bench.data.dataset import Image
from bench.errors import ConfigError

Fit = Literal["letterbox", "resize_crop", "stretch"]
CalibrationFit = Literal["same", "stretch", "crop"]
Pad = int | Literal["noise"]
"""A grey level from 0 to 255, or every padded value drawn uniformly from these."""

_RESAMPLING = {"bilinear": Pil.Resampling.BILINEAR, "bicubic": Pil.Resampling.BICUBIC}


@dataclass(frozen=True)
class Fitting:
    """Where a picture came to lie in the network's input: x_input = x_picture * scale_x + left."""

    scale_x: float
    scale_y: float
    left: float
    top: float
    width: int
    height: int

    def to_picture(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map boxes (n, 4) x1 y1 x2 y2 from input pixels to the picture's, clipped to it."""
        offset = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        return np.clip((boxes - offset) / scale, 0, limit).astype(np.float32)


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its input: fit, colour order, then (pixel * scale - mean) / std, as NCHW.

    ``size`` is the input's height and width. ``letterbox`` keeps the aspect ratio and pads both
    sides with ``pad`` (OpenCV bilinear, as the YOLO family does); ``stretch`` does not keep it;
    ``resize_crop`` brings the shorter side to ``resize`` (null: to the input's own) and cuts out
    the centre (Pillow, ``interpolation`` bilinear or bicubic, as torchvision's transforms do).
    """

    size: tuple[int, int]
    fit: Fit = "letterbox"
    pad: Pad = 114
    resize: int | None = None
    color: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = field(default=(0.0, 0.0, 0.0))
    std: tuple[float, ...] = field(default=(1.0, 1.0, 1.0))
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if self.interpolation not in _RESAMPLING or (
            self.interpolation != "bilinear" and self.fit != "resize_crop"
        ):
            raise ConfigError(
                f"model.preprocess.interpolation={self.interpolation} is not possible with "
                f"model.preprocess.fit={self.fit}",
                "Use bilinear, or with resize_crop bicubic too",
            )
        if self.pad != "noise" and not 0 <= self.pad <= 255:
            raise ConfigError(
                f"model.preprocess.pad={self.pad} is not a pixel value", "Use 0 to 255"
            )
        if self.fit == "resize_crop" and self.resize and self.resize < max(self.size):
            raise ConfigError(
                f"model.preprocess.resize={self.resize} is below the input's "
                f"{self.size[0]}x{self.size[1]}, which is cut out of it",
                f"Use {max(self.size)} or more",
            )
        if not 0 < self.scale < math.inf:
            raise ConfigError(
                f"model.preprocess.scale={self.scale} is not possible", "Use a number above 0"
            )
        if not (
            len(self.mean) == len(self.std) == 3
            and all(map(math.isfinite, self.mean))
            and all(0 < value < math.inf for value in self.std)
        ):
            raise ConfigError("model.preprocess.mean and std need three numbers, std above 0")
        if not self.input_amax() < float(np.finfo(np.float32).max):
            raise ConfigError(
                "model.preprocess.scale, mean and std make values beyond float32", "Change them"
            )

    def for_calibration(self, how: CalibrationFit, pad: Pad | None = None) -> Preprocess:
        """The same, with calibration images fitted ``same``, ``stretch`` or ``crop``.

        ``pad`` replaces the padding of a letterbox; raises ConfigError where nothing is padded.
        """
        if pad is not None:
            if pad != "noise" and not (isinstance(pad, int) and 0 <= pad <= 255):
                raise ConfigError(
                    f"calibration.pad={pad} is not a pixel value", "Use 0 to 255 or noise"
                )
            if how != "same" or self.fit != "letterbox":
                fit = self.fit if how == "same" else how
                raise ConfigError(
                    f"calibration.pad={pad} changes nothing: calibration images are fitted by "
                    f"{fit}, which pads nothing",
                    "Drop it, or use calibration.preprocess=same with a letterbox",
                )
            return replace(self, pad=pad)
        if how == "same":
            return self
        if how == "stretch":
            return replace(self, fit="stretch", interpolation="bilinear")
        return replace(self, fit="resize_crop", resize=None)

    def place(self, image: Image, seed: int = 0) -> tuple[Image, Fitting]:
        """Fit one picture into ``size``: height x width x 3 uint8, and where it came to lie.

        ``seed`` is that of a padding by noise: equal seeds, equal noise.
        """
        if self.fit == "letterbox":
            return self._letterbox(image, seed)
        if self.fit == "stretch":
            return self._stretch(image)
        return self._resize_crop(image)

    def normalise(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """N x height x width x 3 uint8 RGB -> N x 3 x height x width float32, contiguous."""
        values = np.arange(256, dtype=np.float64)[None, :] * self.scale
        mean, std = np.array(self.mean)[:, None], np.array(self.std)[:, None]
        lookup = ((values - mean) / std).astype(np.float32)
        order = (0, 1, 2) if self.color == "rgb" else (2, 1, 0)
        count, height, width, _ = images.shape
        planes = np.empty((count, 3, height, width), np.float32)
        for image, out in zip(images, planes, strict=True):
            for i, channel in enumerate(order):
                cv2.LUT(np.ascontiguousarray(image[..., channel]), lookup[i], dst=out[i])
        return planes

    def input_range(self) -> tuple[float, float]:
        """The lowest and highest value that any 8-bit picture can put into the network."""
        ends = [
            (v * self.scale - m) / s
            for v in (0, 255)
            for m, s in zip(self.mean, self.std, strict=True)
        ]
        return min(ends), max(ends)

    def input_amax(self) -> float:
        """The larger magnitude of the two."""
        return max(map(abs, self.input_range()))

    def _letterbox(self, image: Image, seed: int) -> tuple[Image, Fitting]:
        (height, width), (rows, columns) = image.shape[:2], self.size
        ratio = min(rows / height, columns / width)
        new_width, new_height = max(round(width * ratio), 1), max(round(height * ratio), 1)
        resized = image
        if (new_width, new_height) != (width, height):
            resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        left = round((columns - new_width) / 2 - 0.1)
        top = round((rows - new_height) / 2 - 0.1)
        canvas = self._padding(seed)
        canvas[top : top + new_height, left : left + new_width] = resized
        return canvas, Fitting(ratio, ratio, left, top, width, height)

    def _padding(self, seed: int) -> Image:
        shape = (*self.size, 3)
        if self.pad == "noise":
            return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        return np.full(shape, self.pad, np.uint8)

    def _stretch(self, image: Image) -> tuple[Image, Fitting]:
        (height, width), (rows, columns) = image.shape[:2], self.size
        resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return resized, Fitting(columns / width, rows / height, 0, 0, width, height)

    def _resize_crop(self, image: Image) -> tuple[Image, Fitting]:
        (height, width), (rows, columns) = image.shape[:2], self.size
        short, side = min(height, width), self.resize or max(self.size)
        picture = Pil.fromarray(image)
        if short != side:
            size = (side * width // short, side * height // short)
            picture = picture.resize(size, _RESAMPLING[self.interpolation])
        left, top = round((picture.width - columns) / 2), round((picture.height - rows) / 2)
        cut = np.asarray(picture.crop((left, top, left + columns, top + rows)))
        scale_x, scale_y = picture.width / width, picture.height / height
        return cut, Fitting(scale_x, scale_y, -left, -top, width, height)


def make_preprocess(
    input_size: tuple[int, int],
    *,
    fit: Fit,
    size: int | None = None,
    resize: int | None = None,
    crop: int | None = None,
    pad: int = 114,
    color: Literal["rgb", "bgr"] = "rgb",
    scale: float = 1 / 255,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Preprocess:
    """``Preprocess`` from plain configuration values, for a network input of ``input_size``.

    ``size`` and ``crop`` need not be given; raises ConfigError if one is and contradicts the model.
    """
    for key, value in (("size", size), ("crop", crop)):
        if value is not None and (value, value) != input_size:
            raise ConfigError(
                f"model.preprocess.{key}={value} contradicts the model, whose input is "
                f"{input_size[0]}x{input_size[1]}",
                f"Drop model.preprocess.{key}, or give a model of that size",
            )
    return Preprocess(
        input_size, fit, pad, resize, color, scale, tuple(mean), tuple(std), interpolation
    )
