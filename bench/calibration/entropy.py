"""Clip where the quantized distribution differs least from the true one: the KL search.

"Entropy calibration" names several algorithms. All keep the first bins of a histogram, add what
lies beyond to the last of them (the *reference*), merge the same bins without what lies beyond into
levels and spread each level evenly over its non-empty bins (the *quantized* distribution), and take
the number of bins with the least Kullback-Leibler divergence between the two. They differ in:

|              | tensorrt            | tensorrt10    | modelopt      | onnxruntime               |
|--------------|---------------------|---------------|---------------|---------------------------|
| histogram of | abs(x), nearest bin | abs(x), floor | abs(x), floor | x on [-max, max], floor   |
| bins         | 2048                | 2048          | 2048          | 128                       |
| bin 0        | discarded           | discarded     | is bin 1      | kept                      |
| levels       | 127 up to the       | 128 over the  | 128 over the  | 128 of so many whole bins |
|              | middle of the last  | kept bins     | kept bins     | as fit; the last takes    |
|              | bin kept            |               |               | the rest                  |
| fewest bins  | 128                 | 128           | 128           | 64 on each side           |
| empty bins   | infinite where only the quantized is empty         || smoothed by 0.0001        |
| equal minima | the last            | the last      | the last      | the first                 |
| threshold    | the last bin's end  | half a bin    | the last      | the last bin's end,       |
|              |                     | further       | bin's end     | at most max               |

Where outliers leave all else in the first bins, the first three search the range of that instead,
with the outliers in every tail (``resolution.mass_end``); a ``batch_size`` asks for TensorRT's own
range, and gets it whatever lies in it.

``tensorrt`` is what the caches of TensorRT 7 and 8 decide, ``tensorrt10`` another reading, which a
cache of 10.14.1 allows: see the two functions. On the one cache whose model and images are known,
of 10.14.1 too, they fit equally well (``scripts/compare_native_cache.py``), so the default is one
for all versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from bench.calibration.divergence import divergences, smooth_divergence
from bench.calibration.histogram import Magnitudes, check_bins
from bench.calibration.resolution import mass_end
from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError

_TIE = 1e-12  # nats


@dataclass(frozen=True)
class _Entropy:
    """The base of both calibrators; ``bins`` and ``levels`` of None take the variant's defaults.

    ``batch_size`` of None: the histogram ends at the observed maximum, as TensorRT's does if the
    first batch holds that. A number is TensorRT's calibration batch size: see ``doubled_range``.

    Raises ConfigError for an unknown variant, unless 2 <= levels <= bins <= MOST_BINS, and for a
    batch size below 1 or of a variant that is not TensorRT's.
    """

    variant: Literal["tensorrt", "tensorrt10", "modelopt", "onnxruntime"] = "tensorrt"
    bins: int | None = None
    levels: int | None = None
    batch_size: int | None = None
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ConfigError(
                f"{self.name}'s variant={self.variant} is unknown", f"Use {' or '.join(VARIANTS)}"
            )
        bins, levels = self._size
        check_bins(bins)
        if not 2 <= levels <= bins:
            raise ConfigError(f"levels={levels} is out of range", f"Use 2 to bins={bins}")
        if self.batch_size is not None:
            self._check_batch_size(self.batch_size)

    def _check_batch_size(self, batch_size: int) -> None:
        if self.variant not in _BATCHED:
            raise ConfigError(
                f"{self.name}'s variant={self.variant} does not take batch_size={batch_size}",
                f"Use variant={' or '.join(_BATCHED)}, or batch_size=null",
            )
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} is out of range", "Use 1 or more, or null")

    @property
    def _size(self) -> tuple[int, int]:
        defaults = VARIANTS[self.variant]
        bins = defaults.bins if self.bins is None else self.bins
        return bins, defaults.levels if self.levels is None else self.levels

    @property
    def params(self) -> str:
        bins, levels = self._size
        batch = "" if self.batch_size is None else f",batch_size={self.batch_size}"
        return f"bins={bins},levels={levels},variant={self.variant}{batch}"

    def amax(self, snapshot: Snapshot) -> float:
        """The end of the last bin kept; TensorRT's end up to half a bin above their range.

        That ends at the maximum, or with a ``batch_size`` below twice the maximum.
        """
        if self.batch_size is not None:
            end = doubled_range(snapshot, self.batch_size)
            return _BATCHED[self.variant](snapshot, *self._size, end)
        return VARIANTS[self.variant].threshold(snapshot, *self._size)


class Entropy(_Entropy):
    """The threshold with the least divergence, as TensorRT's ``IInt8EntropyCalibrator``.

    NVIDIA publishes one search for both of its entropy calibrators. What its developer guide (8.x)
    tells apart is *when* they look: this one after layer fusion. So tensors inside a fused layer,
    such as a convolution's output in front of its ReLU, get no range of their own (NVIDIA/TensorRT
    issue 747), its cache only fits the fusions of one platform and version, and its result may
    depend on the batch size. ``kCALIBRATE_BEFORE_FUSION`` overrides that. So here: a tensor that
    has a range has that of ``Entropy2``, but those inside fused layers (``bench.model.fusion``)
    have none and carry no Q/DQ. With explicit placement that leaves in float the side of a residual
    sum that a convolution makes (ResNet, MobileNet), with implicit placement about half of all
    tensors.
    """

    name: ClassVar[str] = "entropy"
    after_fusion: ClassVar[bool] = True


class Entropy2(_Entropy):
    """The threshold with the least divergence, as TensorRT's ``IInt8EntropyCalibrator2``.

    The search is that of ``Entropy``, but it looks before layer fusion: every tensor of the network
    gets a range, and the cache is portable. NVIDIA recommends it for CNNs; DLA requires it.
    """

    name: ClassVar[str] = "entropy2"
    after_fusion: ClassVar[bool] = False


def doubled_range(snapshot: Snapshot, batch_size: int) -> float:
    """The end of TensorRT's histogram: max |x| of the first batch, doubled until all values fit.

    (Developer guide, 8.x, "INT8 calibration": the range grows by a power of two, so small batches
    cost resolution, and if only the last batch makes it grow, half the bins stay empty.) The result
    lies between the observed maximum and less than twice that.

    Doubling a range of zero does not work, so the first batch with a value other than zero sets it.
    What TensorRT does in that case is not documented.
    """
    amax = snapshot.amax
    images = np.abs(snapshot.extremes).max(axis=1)
    shown = np.flatnonzero(images)
    if shown.size == 0:
        return amax
    start = int(shown[0]) // batch_size * batch_size
    first, exponent = math.frexp(images[start : start + batch_size].max())
    last, final = math.frexp(amax)
    return math.ldexp(first, max(exponent, final if last <= first else final + 1))


def _tensorrt(snapshot: Snapshot, bins: int, levels: int, end: float | None = None) -> float:
    """As NVIDIA describes TensorRT for MLPerf (mlcommons/inference, "example writeup.adoc").

    The caches that TensorRT wrote decide what the description leaves open:

    - Values go to the nearest bin, and the "centre of the best bin" is (i + 0.5) * width, that
      bin's end: 2048.5/2048 of the maximum where nothing is clipped, 916.5/2048 for images whose
      letterbox bars, 114/255 = 915.6/2048, are in the last bin kept. (Floor bins and a threshold of
      (bins kept + 0.5) * width would give the same two numbers: see ``_tensorrt10``.)
    - The tail is in the reference only, as on the slides. Taken by the word, the coarse histogram
      would hold it too: clipping would cost next to nothing, and plain photographs would end at
      1012.5/2048 instead of 2048.5.
    - "For each bin" begins where every level has a bin of its own, with 127 levels at 128 bins, as
      on the slides. Below that nothing is quantized: the first occupied bin, with all else clipped
      into it, would always win with a divergence of zero.
    - Not documented: ties, and empty bins ("minor modifications"). Both are as in NVIDIA's
      ModelOpt; among thresholds with equal divergence the last clips least.

    TensorRT's range is that of the first batch, doubled until later batches fit. By default ours
    ends at the observed maximum, as there if the first batch holds it (NVIDIA advises one large
    batch); ``end`` is another end. Its bins are then up to twice as wide, and it may choose a
    threshold beyond the maximum, where levels and bins happen to align: in the public
    calib_yolov4-int8-608.cache ranges of tanh, which is at most 1, are 2048.5/2048, 1024.5/1024,
    1032.5/1024 and even 1064.5/1024. So the bins are 2048 and become wider, not 1024 and more as
    the description has it. (How it merges them is not documented: here values go to the nearest of
    the final ones. For tanh(softplus(x)) of normal x that mostly gives 1032.5 and 1040.5; of 39
    doubled ranges in that cache these are 13 and 5, and 19 are 1024.5.)
    """
    magnitudes = snapshot.magnitudes(bins, mass_end(snapshot) if end is None else end)
    n_bins = _last_minimum(magnitudes, 0, levels, levels + 1, 1)
    return magnitudes.upper_edge(n_bins - 1)


def _tensorrt10(snapshot: Snapshot, bins: int, levels: int, end: float | None = None) -> float:
    """As S. Migacz' slides have it (GTC 2017, "8-bit Inference with TensorRT"), without bin 0.

    Floor bins, levels over all bins kept, and a threshold of (bins kept + 0.5) * width.

    - For it: an 8-bit image fills only the bins of its pixel values k/255, and the threshold ends
      one that is filled. A public cache of TensorRT 10.14.1 (YOLOv8, images unknown) has
      1880.5/2048 of 1 for its input. Floor bins give that for k = 234; nearest bins end at 1879.5
      for it and at 1887.5 for the next value.
    - Undecided: the cache of 10.14.1 whose model and images are known. Of its thresholds either
      reading gives as many within 10 %.
    - Against it for 8.6.1: on letterboxed photographs it mostly keeps what lies above the grey, and
      does not end at the 916.5/2048 that a cache of 8.6.1 shows.

    ``levels=127`` is a third reading, and fits as well. ``end`` is as for ``_tensorrt``.
    """
    magnitudes = snapshot.floor_magnitudes(bins, mass_end(snapshot) if end is None else end)
    return (_last_minimum(magnitudes, 0, levels, levels, 0) + 0.5) * magnitudes.width


def _modelopt(snapshot: Snapshot, bins: int, levels: int) -> float:
    """NVIDIA ModelOpt's ``_compute_amax_entropy`` (modelopt/torch/quantization/calib/histogram.py).

    The divergence of nothing but empty bins is infinite here. There it is NaN, which its argmin
    takes for the minimum: a tensor whose first 128 bins are empty is clipped below all its values.
    """
    magnitudes = snapshot.floor_magnitudes(bins, mass_end(snapshot))
    n_bins = _last_minimum(magnitudes, int(magnitudes.counts[1]), levels, levels, 0)
    return min(magnitudes.upper_edge(n_bins - 1), snapshot.amax)


def _onnxruntime(snapshot: Snapshot, bins: int, levels: int) -> float:
    """onnxruntime 1.23's ``HistogramCollector.get_entropy_threshold``.

    With its defaults of 128 bins and 128 levels there is one candidate, the whole range: it is
    MinMax, and ``quantize_static`` offers no way to change that (issue 9597). With more bins the
    rule's roundings are reproduced: integers in the quantized bins, none in the rest that fills
    no level, float32. Its range is [low, high]; the threshold is the larger magnitude. 2048 bins
    take some 60 ms a tensor.
    """
    counts = snapshot.signed_counts(bins)
    middle = bins // 2
    fewest = levels // 2  # on each side of the middle, which itself belongs to the right one
    ranges = [(middle - i, min(middle + i + 1, bins)) for i in range(fewest, middle + 1)]
    start, end = ranges[int(np.argmin([smooth_divergence(counts, *r, levels) for r in ranges]))]
    low, high = ((2 * edge / bins - 1) * snapshot.amax for edge in (start, end))
    return max(abs(max(low, snapshot.min)), abs(min(high, snapshot.max)))


class _Variant(NamedTuple):
    bins: int
    levels: int
    threshold: Callable[[Snapshot, int, int], float]


VARIANTS = {
    "tensorrt": _Variant(2048, 127, _tensorrt),
    "tensorrt10": _Variant(2048, 128, _tensorrt10),
    "modelopt": _Variant(2048, 128, _modelopt),
    "onnxruntime": _Variant(128, 128, _onnxruntime),
}

_BATCHED = {"tensorrt": _tensorrt, "tensorrt10": _tensorrt10}
"""The searches that take TensorRT's range, which depends on batches."""


def _last_minimum(magnitudes: Magnitudes, first: int, levels: int, fewest: int, inset: int) -> int:
    """How many bins to keep, with ``first`` values in the first one; else see ``divergences``."""
    counts = magnitudes.counts.copy()  # ModelOpt writes into what others read later
    counts[0] = first
    divergence = divergences(counts, levels, fewest, inset, magnitudes.beyond)
    # Ties are real (a sparse histogram quantizes without loss at several i), and the sums are good
    # to 1e-13: what lies within ten times that of the minimum is one with it.
    return fewest + int(np.flatnonzero(divergence <= divergence.min() + _TIE)[-1])
