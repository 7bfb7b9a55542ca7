"""The allowed values of plain keys of the configuration. Hydra checks them when it composes, and
nothing below checks them again. Members are named like the values that the objects take."""

from __future__ import annotations

from enum import Enum, auto


class Placement(Enum):
    explicit = auto()
    explicit_residual = auto()
    implicit = auto()
    implicit_tensorrt10 = auto()


class Scheme(Enum):
    symmetric = auto()
    asymmetric = auto()


class Granularity(Enum):
    per_channel = auto()
    per_tensor = auto()


class WeightRule(Enum):
    max = auto()
    mse = auto()


class InputRange(Enum):
    calibrated = auto()
    declared = auto()


class Fit(Enum):
    letterbox = auto()
    resize_crop = auto()
    stretch = auto()


class CalibrationFit(Enum):
    same = auto()
    stretch = auto()
    crop = auto()


class Strategy(Enum):
    random = auto()
    balanced = auto()


class Color(Enum):
    rgb = auto()
    bgr = auto()


class Interpolation(Enum):
    bilinear = auto()
    bicubic = auto()


class Provider(Enum):
    cpu = auto()
    cuda = auto()
