"""Collecting: one pass serves every size, whoever asks, in whatever order."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import environment
from bench.calibration import collector as collecting
from bench.calibration.collector import Calibration, Collector
from bench.calibration.statistics import Snapshot
from bench.errors import DataError
from bench.model.onnx_model import OnnxModel, load_model

TENSORS = ("images", "relu1_out", "fc_out")


class Images:
    """Input number i, noise of growing contrast; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, index: int) -> np.ndarray[Any, Any]:
        self.asked.append(index)
        rng = np.random.default_rng(index)
        return (rng.random((1, 3, 16, 16)) * (1 + index % 5)).astype(np.float32)

    def clock(self) -> float:
        """Every image takes a second."""
        return float(len(self.asked))


@pytest.fixture
def collector(tiny, tmp_path) -> Callable[..., Collector]:
    def make(image: Any, **changes: Any) -> Collector:
        plain = Collector(tiny("classifier"), TENSORS, image, "key", tmp_path)
        return replace(plain, **changes)

    return make


def bits(calibration: Calibration) -> list[dict[str, bytes]]:
    return [{k: a.tobytes() for k, a in s.to_arrays().items()} for s in calibration.snapshots]


def clock() -> float:
    return 0.0


# --- one pass -------------------------------------------------------------------------------------


def test_a_larger_size_goes_on_from_a_smaller_one(collector, tmp_path):
    images = Images()
    small = collector(images).collect(4, images.clock)
    large = collector(images).collect(8, images.clock)
    assert sorted(images.asked) == list(range(8))
    assert (small.size, large.size) == (4, 8)
    assert (small.seconds, large.seconds) == (4, 8)  # as if it had been one pass
    direct = collector(Images(), folder=tmp_path / "elsewhere").collect(8, clock)
    assert bits(direct) == bits(large)
    assert bits(direct) != bits(small)


def test_each_size_is_its_prefix(collector, tmp_path):
    """What a size gives does not depend on which sizes were collected before."""
    together = collector(Images())
    by_size = {size: bits(together.collect(size, clock)) for size in (3, 12, 10, 16, 1)}
    for size, found in by_size.items():
        alone = collector(Images(), folder=tmp_path / f"alone{size}")
        assert bits(alone.collect(size, clock)) == found


def test_a_size_collected_before_costs_nothing(collector):
    images = Images()
    first = collector(images).collect(5, images.clock)
    again = collector(images).collect(5, images.clock)  # another instance, as another run's
    assert len(images.asked) == 5
    assert bits(again) == bits(first)
    assert (again.size, again.seconds) == (5, 5)


def test_a_smaller_size_costs_what_lies_between(collector):
    images = Images()
    collector(images).collect(80, clock)
    assert len(images.asked) == 80
    collector(images).collect(64, clock)  # kept in passing
    assert len(images.asked) == 80
    collector(images).collect(67, clock)
    assert sorted(images.asked[80:]) == [64, 65, 66]
    collector(images).collect(80, clock)
    assert len(images.asked) == 83


@pytest.mark.parametrize(
    "change",
    [
        (collecting, "_CODE", "another"),
        (environment, "versions", lambda *_: "another"),
        (environment, "arithmetic", lambda: "another"),
    ],
)
def test_other_code_libraries_or_arithmetic_look_again(change, collector, monkeypatch):
    images = Images()
    collector(images).collect(3, clock)
    monkeypatch.setattr(*change)
    collector(images).collect(3, clock)
    assert sorted(images.asked) == [0, 0, 1, 1, 2, 2]


# --- what is seen ---------------------------------------------------------------------------------


def test_statistics_are_those_of_the_tensors(collector, run_in_onnxruntime, tiny, build):
    found = collector(Images()).collect(3, clock)
    assert [snapshot.name for snapshot in found.snapshots] == list(TENSORS)
    inputs = [Images()(index) for index in range(3)]
    outputs = [run_in_onnxruntime(build("classifier"), x)[0] for x in inputs]
    by_name: dict[str, Snapshot] = {s.name: s for s in found.snapshots}
    assert by_name["images"].count == 3 * 3 * 16 * 16
    assert by_name["images"].amax == max(float(x.max()) for x in inputs)
    assert by_name["fc_out"].count == 3 * 5
    assert by_name["fc_out"].max == pytest.approx(max(float(y.max()) for y in outputs), rel=1e-5)
    assert by_name["fc_out"].min == pytest.approx(min(float(y.min()) for y in outputs), rel=1e-5)
    assert by_name["relu1_out"].min >= 0
    assert by_name["relu1_out"].count == 3 * 8 * 16 * 16


def test_the_network_s_input_alone(collector):
    found = collector(Images(), tensors=("images",)).collect(2, clock)
    assert [snapshot.count for snapshot in found.snapshots] == [2 * 3 * 16 * 16]


# --- the key --------------------------------------------------------------------------------------


def test_another_model_other_tensors_or_other_images_are_another_pass(collector):
    images = Images()
    plain = collector(images)
    plain.collect(2, clock)
    others = [
        replace(plain, model=replace(plain.model, sha256="other")),
        replace(plain, tensors=TENSORS[:2]),
        replace(plain, tensors=(*TENSORS[1:], TENSORS[0])),
        replace(plain, images_key="night"),
    ]
    for number, other in enumerate(others, 2):
        other.collect(2, clock)
        assert len(images.asked) == 2 * number
    plain.collect(2, clock)
    assert len(images.asked) == 2 * (1 + len(others))


# --- several at once ------------------------------------------------------------------------------


def test_threads_wait_instead_of_repeating(collector):
    images = Images()
    found: list[Calibration] = []
    started = threading.Barrier(4)

    def work(size: int) -> None:
        started.wait()
        found.append(collector(images).collect(size, clock))

    threads = [threading.Thread(target=work, args=(size,)) for size in (9, 9, 4, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    nine = [bits(calibration) for calibration in found if calibration.size == 9]
    assert nine[0] == nine[1] == nine[2]
    # The 4 may come last, when 9 is kept but nothing below.
    assert sorted(images.asked) in (list(range(9)), sorted([*range(9), *range(4)]))


class LoggedImages:
    """Writes down every request, so that processes can be counted."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, index: int) -> np.ndarray[Any, Any]:
        with self.log.open("a") as file:
            file.write(f"{index}\n")
        return Images()(index)


def collect_in_process(model: OnnxModel | Path, folder: Path, log: Path) -> list[dict[str, bytes]]:
    network = load_model(model) if isinstance(model, Path) else model
    return bits(Collector(network, TENSORS, LoggedImages(log), "key", folder).collect(6, clock))


def test_processes_wait_instead_of_repeating(tiny, tmp_path):
    path, log = tiny("classifier").path, tmp_path / "log"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [pool.apply_async(collect_in_process, (path, tmp_path, log)) for _ in range(2)]
        found = [job.get(timeout=120) for job in jobs]
    assert found[0] == found[1]
    assert sorted(log.read_text().split()) == [str(index) for index in range(6)]


def share_a_pass(
    collector: Callable[..., Collector], sizes: tuple[int, ...], folder: Path
) -> tuple[list[Calibration], list[tuple[int, int]]]:
    """Collect each size in a thread of its own; what was found, and who ran which image."""
    asked: list[tuple[int, int]] = []
    found: list[Calibration] = []
    leads = threading.Event()

    def work(number: int, size: int) -> None:
        def image(index: int) -> np.ndarray[Any, Any]:
            leads.set()
            time.sleep(0.01)
            asked.append((number, index))
            return Images()(index)

        if number:
            leads.wait()
        found.append(collector(image, folder=folder).collect(size, clock))

    threads = [threading.Thread(target=work, args=one) for one in enumerate(sizes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, asked


@pytest.mark.parametrize("sizes", [(70, 70, 70), (30, 70), (70, 30, 66)])
def test_who_wants_the_same_takes_a_share_and_all_find_what_one_pass_finds(
    sizes, collector, tmp_path, monkeypatch
):
    monkeypatch.setattr(collecting, "SHARE", 4)
    found, asked = share_a_pass(collector, sizes, tmp_path / "shared")
    assert len({number for number, _ in asked}) > 1
    assert sorted({index for _, index in asked}) == list(range(max(sizes)))
    for calibration in found:
        alone = collector(Images(), folder=tmp_path / f"alone{calibration.size}")
        assert bits(alone.collect(calibration.size, clock)) == bits(calibration)
    left = {path.name.split("-")[0] for path in (tmp_path / "shared").iterdir()}
    assert left <= {"statistics", ".statistics", "share", ".share"}
    if len(set(sizes)) == 1:
        assert len(asked) == sizes[0]  # every image once
        assert left == {"statistics", ".statistics"}


def test_the_share_of_a_process_that_died_is_run_by_the_one_that_leads(
    collector, tmp_path, monkeypatch
):
    monkeypatch.setattr(collecting, "SHARE", 4)
    died = collector(Images())
    died._front.parent.mkdir(exist_ok=True)
    died._front.write_text("0")
    died._share_path(range(4, 8)).write_bytes(b"half of it")
    with died._claim(range(8, 12)):
        pass
    found = collector(Images()).collect(12, clock)
    direct = collector(Images(), folder=tmp_path / "elsewhere").collect(12, clock)
    assert bits(found) == bits(direct)


# --- what is no number ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_input_that_is_no_number_is_refused(collector, bad):
    def image(index: int) -> np.ndarray[Any, Any]:
        values = Images()(index)
        if index == 66:
            values[0, 1, 2, 3] = bad
        return values

    with pytest.raises(DataError, match="tensor 'images' has 1 NaN or infinite values of 768"):
        collector(image).collect(70, clock)
    images = Images()
    collector(images).collect(65, clock)  # what was complete before is kept
    assert images.asked == [64]


def test_an_activation_that_overflows_is_named(load, sketch, tmp_path):
    g = sketch()
    huge = g.const(np.float32(1e38))
    x = g.op("Mul", g.op("Mul", "images", huge, name="large"), huge, name="too_large")
    model = load(g.model(g.conv(x, 3, 2, "conv")))
    tensors = ("images", "large_out", "too_large_out")
    with pytest.raises(DataError, match="tensor 'too_large_out' has") as caught:
        Collector(model, tensors, Images(), "key", tmp_path).collect(1, clock)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("statistics-*"))
