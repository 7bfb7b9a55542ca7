"""Do our rules choose as NVIDIA ModelOpt's do? Both get the same histograms, tensor by tensor.

    pip install -e '.[parity]'
    python scripts/parity_modelopt.py [NETWORK ...] [--golden tests/calibration/golden/modelopt.npz]

ModelOpt searches for two seconds a tensor, so that all four networks take ten CPU minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import numpy.typing as npt
from hydra import compose, initialize_config_dir

from bench.cli.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.calibration.bins import FINE, from_equal_bins
from bench.calibration.calibrator import Calibrator
from bench.calibration.collector import Collector
from bench.calibration.entropy import Entropy2
from bench.calibration.histogram import Magnitudes
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot
from bench.cli.compose import build_run
from bench.cli.config import register
from bench.environment import CONF
from bench.errors import BenchError
from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan, place

BINS = 2048
HALVES = 2 * BINS
"""Half bins make up the bins of both grids, those that begin at the multiples and the centred."""

TOLERANCE = 1e-4
"""Of thresholds in bins, which lie half a bin apart at least; ModelOpt's are float32."""


@dataclass(frozen=True)
class Rule:
    """A rule of ours and the one of ModelOpt's that it follows.

    ``histogram`` is what ours reads, and ModelOpt's then too. ``higher``: the bins by which our
    threshold lies above ModelOpt's on purpose, though never above the largest value.
    """

    ours: Calibrator
    histogram: Callable[[Snapshot], Magnitudes]
    method: str
    options: Mapping[str, float] = field(default_factory=dict)
    higher: int = 0


RULES = {
    "entropy": Rule(Entropy2("modelopt"), Snapshot.floor_magnitudes, "entropy"),
    **{
        f"percentile {share}": Rule(
            Percentile(share), Snapshot.magnitudes, "percentile", {"percentile": share}, higher=1
        )
        for share in (99.9, 99.99, 99.999)
    },
    "mse": Rule(Mse(), Snapshot.magnitudes, "mse"),
}

SHARED = Path(__file__).resolve().parents[2] / "shared"
EMBEDDED = {name: (f"model={name}",) for name in ("resnet18", "yolov8n")}
BESIDE = {
    "resnet20": (
        "model=custom",
        f"model.path={SHARED}/models/resnet20_cifar10.onnx",
        "model.head=classifier",
        "model.preprocess.mean=[0.485,0.456,0.406]",
        "model.preprocess.std=[0.229,0.224,0.225]",
        "model.preprocess.fit=stretch",
        "dataset=imagefolder",
        f"dataset.root={SHARED}/data/cifar10_mini/val",
        f"dataset.calibration_root={SHARED}/data/cifar10_mini/calib",
    ),
    "yolox_nano": (
        "model=yolox_nano",
        f"model.path={SHARED}/models/yolox_nano.onnx",
        "dataset=coco",
        f"dataset.images={SHARED}/data/coco_mini/val/images",
        f"dataset.annotations={SHARED}/data/coco_mini/val/annotations.json",
        f"dataset.calibration_images={SHARED}/data/coco_mini/calib/images",
    ),
}


def collect(overrides: Sequence[str], images: int) -> tuple[Snapshot, ...]:
    """What every tensor that is quantized shows on the first images of the calibration shuffle."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run: Any = build_run(cast(Config, compose("config", list(overrides))))
    network, preprocess = run.model.network, run.model.preprocess
    order = np.random.default_rng(0).permutation(len(run.dataset.calibration))

    def image(index: int) -> npt.NDArray[np.float32]:
        fitted, _ = preprocess.place(run.dataset.calibration.image(int(order[index])))
        return preprocess.normalise(fitted[None])

    tensors = place(PrecisionPlan("all"), "explicit", Graph(network)).tensors
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(network, tensors, image, "parity", Path(folder))
        return collector.collect(images, time.perf_counter).snapshots


@cache
def modelopt() -> Any:
    """ModelOpt's module of histogram calibrators; ImportError where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from modelopt.torch.quantization.calib import histogram
    torch.set_num_threads(1)  # more only wait for each other
    return histogram


def ask_modelopt(rule: Rule, snapshot: Snapshot, mend: bool = True) -> float:
    """ModelOpt's threshold for the histogram that our rule reads, in bins.

    Its MSE search is mended. It calls ``fake_tensor_quant(centres, amax, num_bits, unsigned)``, but
    since 0.29.0 (and still in 0.47.0) the third parameter of that is a bias: the 8 is subtracted,
    False becomes the number of bits, every value comes out as amax + 8, and the first candidate of
    all, a sixteenth of the range, wins.
    """
    module = modelopt()
    magnitudes = rule.histogram(snapshot)
    calibrator = module.HistogramCalibrator(torch_hist=False)
    calibrator._calib_hist = magnitudes.counts.copy()  # its entropy search overwrites bin 0
    edges = np.arange(magnitudes.counts.size + 1) - magnitudes.shift
    calibrator._calib_bin_edges = edges * magnitudes.width
    quantize = module.fake_tensor_quant
    mended = partial(_without_bias, quantize) if mend else quantize
    with mock.patch.object(module, "fake_tensor_quant", mended):
        amax = float(calibrator.compute_amax(rule.method, **rule.options))
    return round(2 * amax / magnitudes.width) / 2  # edges and centres are multiples of half a bin


def _without_bias(quantize: Any, values: Any, amax: Any, *options: Any) -> Any:
    return quantize(values, amax, None, *options)


def difference(rule: Rule, snapshot: Snapshot, theirs: float) -> float:
    """By how many bins our threshold misses the one that ``theirs``, in bins, asks for."""
    ours = rule.ours.amax(snapshot) / snapshot.amax * BINS
    return ours - min(theirs + rule.higher, BINS)


def halves(snapshot: Snapshot) -> npt.NDArray[np.int64]:
    """The histogram that ``from_halves`` takes."""
    return snapshot.floor_magnitudes(HALVES).counts


def from_halves(name: str, counts: npt.NDArray[Any]) -> Snapshot:
    """A snapshot with the same histograms as the one that gave these ``halves``, and amax 1."""
    positive = np.zeros(FINE + 1, np.int64)
    positive[: FINE : FINE // HALVES] = counts
    both = np.stack((from_equal_bins(positive), from_equal_bins(np.zeros_like(positive))))
    extremes = np.array([[0, 1]], np.float32)
    return Snapshot(name, int(counts.sum()), 0.0, 1.0, 0, both, extremes)


def in_planes(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Counts below 2^32 as four planes of bytes, the least first: these compress best."""
    return np.moveaxis(counts[..., None].astype("<u4").view(np.uint8), -1, 0)


def from_planes(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The counts that ``in_planes`` took."""
    return np.moveaxis(planes, 0, -1).copy().view("<u4")[..., 0].astype(np.int64)


def workers() -> ProcessPoolExecutor:
    """A process for every core; fresh ones, as forking would copy ONNX Runtime's threads."""
    return ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))


def ask_for_all(snapshots: Sequence[Snapshot], pool: ProcessPoolExecutor) -> dict[str, list[float]]:
    """For every rule by name, ModelOpt's threshold of each tensor, in bins."""
    asked = {name: [pool.submit(_ask, name, one) for one in snapshots] for name in RULES}
    return {name: [answer.result() for answer in answers] for name, answers in asked.items()}


def _ask(name: str, snapshot: Snapshot) -> float:
    return ask_modelopt(RULES[name], snapshot)


def golden(
    network: str, snapshots: Sequence[Snapshot], theirs: Mapping[str, Sequence[float]]
) -> dict[str, npt.NDArray[Any]]:
    """The tensors' histograms and ModelOpt's thresholds, to be stored."""
    return {
        f"{network}/tensors": np.array([snapshot.name for snapshot in snapshots]),
        f"{network}/halves": in_planes(np.stack([halves(snapshot) for snapshot in snapshots])),
        **{f"{network}/{name}": np.array(bins, np.float32) for name, bins in theirs.items()},
    }


LINE = "{:<12}{:<20}{:>8}{:>8}{:>11}{:>20}"


def report(
    network: str, snapshots: Sequence[Snapshot], theirs: Mapping[str, Sequence[float]]
) -> None:
    """Print a line of the table for every rule."""
    for name, bins in theirs.items():
        pairs = zip(snapshots, bins, strict=True)
        off = np.abs([difference(RULES[name], snapshot, one) for snapshot, one in pairs])
        differing = int(np.count_nonzero(off > TOLERANCE))
        equal = off.size - differing
        largest = f"{off.max():.4f} bins"
        print(LINE.format(network, name, off.size, equal, differing, largest), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    networks = EMBEDDED | (BESIDE if SHARED.is_dir() else {})
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help=", ".join(networks))
    parser.add_argument("--images", type=int, default=32, help="calibration images (32)")
    parser.add_argument("--golden", type=Path, metavar="FILE", help="store those of the embedded")
    options = parser.parse_args(arguments)
    if unknown := set(options.networks) - set(networks):
        parser.error(f"unknown network {', '.join(unknown)}: use {', '.join(networks)}")
    kept: dict[str, npt.NDArray[Any]] = {}
    try:
        modelopt()
        print(LINE.format("network", "rule", "tensors", "equal", "differing", "largest difference"))
        with workers() as pool:
            for network in options.networks or networks:
                snapshots = collect(networks[network], options.images)
                theirs = ask_for_all(snapshots, pool)
                report(network, snapshots, theirs)
                if network in EMBEDDED:
                    kept |= golden(network, snapshots, theirs)
    except (BenchError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.golden:
        np.savez_compressed(options.golden, **kept)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
