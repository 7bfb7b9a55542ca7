"""Our rules against onnxruntime 1.23's calibraters on the same images, and where they part.

- MinMax is the same.
- Entropy, with the bins that ``quantize_static`` gives it, is MinMax, and so is our variant of that
  name. Fed in chunks (``CalibStridedMinMax``) it is something else again, by their order.
- Percentile cuts 99.999 % by default, ours 99.99 % as ModelOpt; takes the *lower* edge of the bin
  that holds the percentile, so that less is kept than was asked for, where ours takes the upper
  one; its bins begin at the least abs(x), not at zero, and those of later chunks are as wide as the
  first one's. Asked for an asymmetric range it cuts half of the share on each side of x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    CalibrationMethod,
    HistogramCollector,
    PercentileCalibrater,
    create_calibrator,
)

from bench.calibration.calibrator import Calibrator
from bench.calibration.collector import Collector
from bench.calibration.entropy import Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.model.onnx_model import OnnxModel

IMAGES = 12
Values = dict[str, np.ndarray]
Amax = dict[str, float]


class Reader(CalibrationDataReader):
    """Gives the images one by one."""

    def __init__(self, batch: np.ndarray) -> None:
        self.rest = iter(batch[:, None])

    def get_next(self) -> Values | None:
        image = next(self.rest, None)
        return None if image is None else {"images": image}


@pytest.fixture(scope="module")
def batch(images) -> np.ndarray:
    """Images of growing contrast, on both sides of zero."""
    contrast = np.linspace(0.5, 3, IMAGES, dtype=np.float32)[:, None, None, None]
    return (images(IMAGES) - np.float32(0.4)) * contrast


@pytest.fixture(scope="module")
def model(tiny) -> OnnxModel:
    return tiny("residual")


@pytest.fixture(scope="module")
def values(model, batch, run_in_onnxruntime) -> Values:
    """Every tensor on every image, of the graph as it stands: so onnxruntime calibrates."""
    names = [name for node in model.proto.graph.node for name in node.output]
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    runs = [run_in_onnxruntime(proto, image, optimized=False) for image in batch[:, None]]
    found = {name: np.stack([run[i] for run in runs]) for i, name in enumerate(names)}
    return {"images": batch} | found


@pytest.fixture(scope="module")
def snapshots(values) -> list[Snapshot]:
    return [look(name, arrays) for name, arrays in values.items()]


@pytest.fixture(scope="module")
def onnxruntime(model, batch, tmp_path_factory) -> Callable[..., Amax]:
    """``onnxruntime(method, **options)``: what ``quantize_static`` would work with."""

    def ask(method: CalibrationMethod, **options: Any) -> Amax:
        folder = tmp_path_factory.mktemp("onnxruntime")
        onnx.save(model.proto, folder / "model.onnx")
        calibrater = create_calibrator(
            folder / "model.onnx",
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        calibrater.collect_data(Reader(batch))
        ranges = calibrater.compute_data().items()
        return {name: float(np.abs(np.stack(data.range_value)).max()) for name, data in ranges}

    return ask


def look(name: str, chunks: Iterable[np.ndarray]) -> Snapshot:
    statistics = TensorStatistics(name)
    for chunk in chunks:
        statistics.update(chunk)
    return statistics.snapshot()


def ours(rule: Calibrator, snapshots: Iterable[Snapshot]) -> Amax:
    return {snapshot.name: rule.amax(snapshot) for snapshot in snapshots}


def collected(
    chunks: Iterable[np.ndarray], method: str, bins: int, percentile: float = 0
) -> tuple[float, np.ndarray]:
    """The threshold and the edges of onnxruntime's bins for a tensor that comes in chunks."""
    collector = HistogramCollector(method, method == "percentile", bins, 128, percentile, "same")
    for chunk in chunks:
        collector.collect({"x": [chunk.astype(np.float32)]})
    low, high, *_ = collector.compute_collection_result()["x"]
    return max(abs(float(low)), abs(float(high))), collector.histogram_dict["x"][1]


# --- MinMax ---------------------------------------------------------------------------------------


def test_minmax_is_the_same(onnxruntime, snapshots) -> None:
    assert onnxruntime(CalibrationMethod.MinMax) == ours(MinMax(), snapshots)


def test_our_pass_over_the_images_gives_it_too(onnxruntime, model, batch, tmp_path) -> None:
    """But for a rounding: onnxruntime calibrates with its graph optimizations off, we with them."""
    theirs = onnxruntime(CalibrationMethod.MinMax)
    collector = Collector(model, tuple(theirs), lambda i: batch[i : i + 1], "parity", tmp_path)
    snapshots = collector.collect(IMAGES, lambda: 0.0).snapshots
    assert ours(MinMax(), snapshots) == pytest.approx(theirs, rel=1e-6)


# --- Entropy --------------------------------------------------------------------------------------


def test_entropy_is_minmax_and_our_variant_says_so(onnxruntime, snapshots) -> None:
    theirs = onnxruntime(CalibrationMethod.Entropy)
    assert theirs == onnxruntime(CalibrationMethod.MinMax)
    assert theirs == ours(Entropy2("onnxruntime"), snapshots)


def test_it_is_the_bins_that_make_it_minmax(onnxruntime) -> None:
    """With 512 of them it clips; ``quantize_static`` has no option for that."""
    most = onnxruntime(CalibrationMethod.MinMax)
    theirs = onnxruntime(CalibrationMethod.Entropy, num_bins=512)
    assert sum(theirs[name] < 0.95 * most[name] for name in most) > len(most) / 2


def test_in_chunks_entropy_depends_on_their_order() -> None:
    chunks = np.random.default_rng(0).standard_normal((10, 20_000))
    chunks[-1, 0] = 100
    assert collected(chunks, "entropy", 128)[0] < 5
    assert collected(chunks[::-1], "entropy", 128)[0] == 100
    rule = Entropy2("onnxruntime")
    assert rule.amax(look("x", chunks)) == rule.amax(look("x", chunks[::-1])) == 100


# --- Percentile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [99.0, 99.9])
def test_percentile_keeps_less_than_asked_for_and_ours_no_less(
    percentile, onnxruntime, values, snapshots
) -> None:
    """Theirs is the lower edge of the bin that holds the percentile, ours the upper one."""
    theirs = onnxruntime(CalibrationMethod.Percentile, percentile=percentile)
    for snapshot in snapshots:
        magnitudes = np.abs(values[snapshot.name])
        lower, upper = theirs[snapshot.name], Percentile(percentile).amax(snapshot)
        assert np.mean(magnitudes <= lower) < percentile / 100 <= np.mean(magnitudes <= upper)
        assert 0 < upper - lower < 2 * snapshot.amax / 2048


def test_all_of_it_is_a_bin_short_unless_rounding_helps(onnxruntime, snapshots) -> None:
    """The cumulated shares may end just below 1; the next edge is then the maximum."""
    theirs = onnxruntime(CalibrationMethod.Percentile, percentile=100.0)
    short = [snapshot.amax - theirs[snapshot.name] for snapshot in snapshots]
    assert min(short) == 0 < max(short)
    assert all(Percentile(100).amax(snapshot) == snapshot.amax for snapshot in snapshots)


def test_the_share_that_is_cut_by_default_differs(model, tmp_path) -> None:
    onnx.save(model.proto, tmp_path / "model.onnx")
    calibrater = create_calibrator(
        tmp_path / "model.onnx",
        augmented_model_path=str(tmp_path / "augmented.onnx"),
        calibrate_method=CalibrationMethod.Percentile,
    )
    assert isinstance(calibrater, PercentileCalibrater)
    assert (calibrater.percentile, Percentile().percentile) == (99.999, 99.99)


def test_its_bins_begin_at_the_least_magnitude() -> None:
    values = np.random.default_rng(0).uniform(3, 4, 100_000)
    values[0] = 4
    theirs, edges = collected([values], "percentile", 2048, 99)
    snapshot = look("x", [values])
    assert edges[0] == pytest.approx(3, abs=1e-4)
    assert np.diff(edges) == pytest.approx(1 / 2048, rel=1e-2)
    assert snapshot.magnitudes().width == 4 / 2048
    assert Percentile(99).amax(snapshot) == pytest.approx(theirs, abs=2 * 4 / 2048)


def test_in_chunks_its_bins_are_those_of_the_first() -> None:
    chunks = np.random.default_rng(0).uniform(0, [[0.01], [1.0]], (2, 20_000))
    narrow, wide = (collected(order, "percentile", 2048, 99) for order in (chunks, chunks[::-1]))
    assert len(narrow[1]) > 90 * len(wide[1])
    assert narrow[0] != wide[0]
    rule = Percentile(99)
    assert rule.amax(look("x", chunks)) == rule.amax(look("x", chunks[::-1]))


def test_an_asymmetric_percentile_cuts_half_the_share(onnxruntime, values) -> None:
    options = {"percentile": 98.0, "symmetric": False}
    theirs = onnxruntime(CalibrationMethod.Percentile, **options)["relu0_out"]
    assert np.mean(values["relu0_out"] <= theirs) == pytest.approx(0.99, abs=0.002)
