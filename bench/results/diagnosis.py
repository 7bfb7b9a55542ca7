"""A diagnosis as stored data: which layers INT8 harms, by how much, and why.

Decibels are signal over noise at the network's outputs, 10 log10 of the energies' ratio; None
stands for infinite (no noise at all), as JSON has no infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Decibels = Mapping[str, float | None]
"""By part of the outputs: "boxes" and "scores", or "logits"."""


@dataclass(frozen=True)
class Effect:
    """What one change of precision does to the outputs on one set of images.

    ``noise`` is noise over signal, the mean over the outputs' arrays; ``kl`` the divergence of an
    image's scores or classes, nats.
    """

    sqnr_db: Decibels
    noise: float | None
    kl: float


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer: a product or a residual Add, named as its node in the ONNX file.

    ``only``, ``weights_only``, ``activations_only``: this layer alone in INT8, by set of images
    ("calibration", "other"); ``all_but``: every layer except this one in INT8. ``metric_loss`` is
    the metric's loss with this layer alone in INT8, as a share of FP32, with its 95 % interval;
    None where it was not measured. ``channel_spread``: of the layer's first input, the largest
    |x| of any channel over the median channel's; None for an input without channels.
    """

    name: str
    op: str
    macs: int
    mac_share: float
    depthwise: bool
    block: str
    inputs: tuple[str, ...]
    only: Mapping[str, Effect]
    weights_only: Mapping[str, Effect]
    activations_only: Mapping[str, Effect]
    all_but: Mapping[str, Effect]
    channel_spread: float | None = None
    metric_loss: float | None = None
    metric_loss_low: float | None = None
    metric_loss_high: float | None = None


@dataclass(frozen=True)
class BlockDiagnosis:
    """Layers with the same name prefix; only they are in INT8."""

    name: str
    layers: tuple[str, ...]
    mac_share: float
    only: Mapping[str, Effect]


@dataclass(frozen=True)
class RuleError:
    """What one calibrator's threshold does to a tensor: squared error of clipping and of rounding,
    each as a share of the tensor's energy."""

    amax: float
    clipping: float
    rounding: float

    @property
    def total(self) -> float:
        return self.clipping + self.rounding


@dataclass(frozen=True)
class TensorDiagnosis:
    """One quantized activation, in the order of the network.

    ``rules`` by calibrator; ``depth_db`` is signal over noise of its values where everything before
    it is in INT8 (None: no noise). ``zero_share`` is the share of exact zeros, ``saturated_share``
    that of values beyond the range in use; ``dead_channels`` never differ from zero; ``not_finite``
    counts NaN and infinite values. ``counts`` is the histogram of x over ``low`` to ``high``;
    ``pairs`` are FP32 and INT8 values of some elements, for a scatter plot.
    """

    name: str
    producer: str
    min: float
    max: float
    amax: float
    rules: Mapping[str, RuleError]
    depth_db: float | None
    zero_share: float
    saturated_share: float
    dead_channels: int
    channels: int
    not_finite: int
    counts: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 0.0
    pairs: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Everything that ``int8bench diagnose`` measures of one model, calibrated in one way.

    ``setting`` says how, in words by name (model, dataset, calibrator, images ...); ``all_int8`` is
    the effect of every layer in INT8; ``first_jump`` the layer after which the error along the
    depth of the network jumps first. ``advice`` are sentences for people; ``worst`` the layers that
    make most of the noise, worst first; ``lists`` texts to paste, by tool.
    """

    setting: Mapping[str, str]
    seconds: float
    all_int8: Mapping[str, Effect]
    layers: tuple[LayerDiagnosis, ...]
    blocks: tuple[BlockDiagnosis, ...]
    tensors: tuple[TensorDiagnosis, ...]
    first_jump: str | None
    worst: tuple[str, ...]
    advice: tuple[str, ...]
    lists: Mapping[str, str]
