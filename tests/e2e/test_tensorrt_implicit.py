"""``engine=tensorrt engine.mode=implicit`` on the stand-in: native calibrators and our ranges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.calibration.native import NativeCalibration
from bench.calibration.trt_cache import parse
from bench.cli import calibration_cache as cache_command
from bench.engine.trt.engine import TensorRt
from bench.sealed import read_sealed
from tests.e2e.command import Bench
from tests.e2e.tensorrt_words import FEW, IMPLICIT, NATIVE, NATIVELY, SMALL, rows

pytestmark = pytest.mark.e2e


def test_native_and_own_ranges_stand_in_one_table(
    run: Bench, fake_tensorrt: Callable[..., Any], tmp_path: Path
) -> None:
    """The native MinMax, our MinMax, and a native rule that cuts: the whole way, and compared."""
    fake_tensorrt("8.5.1.7")
    for chosen in (["calibrator=minmax"], ["calibrator=tensorrt_minmax", NATIVE],
                   ["calibrator=tensorrt_entropy2", NATIVE]):  # fmt: skip
        ended = run(*SMALL, *IMPLICIT, *chosen)
        assert ended.status == 0, ended.err
    by_name = {row["calibrator"]: row for row in rows(run)}
    assert {row["status"] for row in by_name.values()} == {"ok"}
    own, native = by_name["minmax"], by_name["tensorrt_minmax"]
    assert (own["calibration_batches"], native["calibration_batches"]) == (None, 2)
    assert native["calibrator_params"] == "batch_size=2"
    assert native["collect_s"] > 0 and native["threshold_s"] >= 0
    assert native["statistics_key"] == own["statistics_key"]  # drawn on the same histograms

    kept = {path.stem: path.read_bytes() for path in (run.out / "ranges").glob("*.cache")}
    assert set(kept) == {row["run_key"] for name, row in by_name.items() if name != "minmax"}
    whole = kept[native["run_key"]]
    assert whole.startswith(b"TRT-8501-MinMaxCalibration\n")
    assert b"[Constant]_output: " in whole  # a tensor of no ONNX name

    caches = {}
    for name, row in by_name.items():
        caches[name] = tmp_path / f"{name}.cache"
        ranges = run.out / "ranges" / f"{row['run_key']}.json"
        options = ["--cache", str(caches[name]), "--tensorrt", "8.5.1"]
        assert cache_command.main(["export", str(ranges), *options]) == 0
    amax = {name: parse(path.read_bytes(), "").amax for name, path in caches.items()}
    shared = set(amax["minmax"]) & set(amax["tensorrt_minmax"])
    assert len(shared) > 4
    for tensor in shared:
        assert amax["tensorrt_minmax"][tensor] == pytest.approx(amax["minmax"][tensor], rel=1e-5)
        expected = 0.9 * amax["tensorrt_minmax"][tensor]  # what the stand-in calls entropy
        assert amax["tensorrt_entropy2"][tensor] == pytest.approx(expected, rel=1e-5)
    assert native["int8"] == own["int8"]
    assert abs(native["sqnr_db"] - own["sqnr_db"]) < 1


def test_ours_on_the_shared_names_of_a_native_cache(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To compare rules with TensorRT's: whatever tensors its own calibrator has, and no others."""
    fake_tensorrt("8.5.1.7")
    built: dict[str, dict[str, float]] = {}
    real = TensorRt.build_int8

    def build(self: TensorRt, model: Any) -> Any:
        built[self.others] = dict(model.amax)
        return real(self, model)

    monkeypatch.setattr(TensorRt, "build_int8", build)
    for others in ("derived", "native"):
        ended = run(*SMALL, *IMPLICIT, "calibrator=minmax", f"engine.others={others}")
        assert ended.status == 0, ended.err
    (cache,) = run.cache.glob("native-*.json")
    native = NativeCalibration.from_bytes(read_sealed(cache), "").cache
    shared = built["derived"].keys() & native.words.keys()
    assert len(shared) > 4
    assert built["native"].keys() == native.words.keys()
    unnamed = {name for name in native.words if name.startswith("(Unnamed")}
    assert unnamed
    for name, amax in built["native"].items():
        expected = built["derived"] if name in shared else native.amax
        assert amax == pytest.approx(expected[name]), name
    by_options = {row["engine_options"]: row for row in rows(run)}
    assert set(by_options) == {"mode=implicit", "mode=implicit, others=native"}
    assert {row["missing_scales"] for row in by_options.values()} == {0}


def test_a_layer_kept_in_float_costs_its_neighbours_no_int8(
    run: Bench, fake_tensorrt: Callable[..., Any]
) -> None:
    """What the float layers read has a range, too, or the layers in front would fall back."""
    fake_tensorrt("8.5.1.7")
    ended = run(*FEW, *IMPLICIT, "calibrator=minmax", "plan=float_head")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert row["missing_scales"] == 0
    assert row["planned_layers_in_float"] == 0
    assert row["int8_mac_share"] == pytest.approx(row["planned_mac_share"])


def test_a_native_calibration_is_done_once_for_all_plans(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt("8.5.1.7")
    ended = run("--multirun", *SMALL, *IMPLICIT, "calibrator=tensorrt_minmax", NATIVE,
                "plan=all,float_first")  # fmt: skip
    assert ended.status == 0, ended.err
    table = run.table
    assert set(table["status"]) == {"ok"}
    assert table["int8_mac_share"].nunique() == 2
    assert len(list(run.cache.glob("native-*.json"))) == 1
    calibrated = set(run.rows)
    ended = run(*SMALL, *NATIVELY, NATIVE, "input_range=declared")
    assert ended.status == 0, ended.err
    assert len(list(run.cache.glob("native-*.json"))) == 1  # the same calibration, one range aside
    (declared,) = set(run.rows) - calibrated
    row = json.loads(declared.read_text())["row"]
    assert row["input_amax"] == row["input_true_amax"] != table["input_amax"].iloc[0]
    ended = run(*SMALL, *NATIVELY, "calibrator.batch_size=4")
    assert ended.status == 0, ended.err
    assert len(list(run.cache.glob("native-*.json"))) == 2  # another batch, another calibration


def test_a_broken_calibration_image_is_told_and_leaves_no_calibration(
    bench: Bench, fake_tensorrt: Callable[..., Any], tmp_path: Path
) -> None:
    """TensorRT itself swallows what is raised while it calibrates."""
    fake_tensorrt("8.5.1.7")
    broken = "dataset.calibration_root=FILES/broken_calibration/calib"
    own = f"sweep.cache={tmp_path}/own"
    ended = bench(*SMALL[:-1], broken, *NATIVELY, own, NATIVE, "calibration.size=6")
    assert ended.status == 2
    assert "1.png" in ended.one_line
    assert bench.left_nothing
    assert not list((tmp_path / "own").glob("native-*.json"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["engine=openvino", "calibrator=tensorrt_entropy2"],
            "calibrator tensorrt_entropy2 runs inside TensorRT, but engine openvino does not "
            "calibrate. Use engine=tensorrt engine.mode=implicit placement=implicit",
        ),
        (
            ["engine=tensorrt", "calibrator=tensorrt_minmax"],
            "engine tensorrt does not calibrate. Use engine=tensorrt engine.mode=implicit",
        ),
        (["engine=tensorrt", "engine.mode=implicit"], "not placement=explicit. Add placement="),
        (
            [*NATIVELY, "calibrator.batch_size=3"],
            "calibration.size=4 is not a multiple of calibrator.batch_size=3",
        ),
        (
            [*IMPLICIT, "calibrator=tensorrt_minmax", NATIVE, "model=custom",
             "model.head=classifier", "model.path=FILES/fixed_batch.onnx",
             "evaluation.batch_size=4"],
            "has a fixed batch of 4, not calibrator.batch_size=2: TensorRT reads exactly 4 images "
            "per batch. Use "
            "calibrator.batch_size=4",
        ),
        ([*NATIVELY, "calibrator.algorithm=best"], "calibrator.algorithm=best is not 'minmax',"),
        ([*NATIVELY, "calibrator.batch_size=0"], "calibrator.batch_size=0 is below 1"),
        (["engine=tensorrt", "scheme=asymmetric"], "has no asymmetric quantization"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_before_anything_is_computed(
    bench: Bench, fake_tensorrt: Callable[..., Any], options: list[str], told: str
) -> None:
    fake_tensorrt("8.5.1.7")
    model = [] if "model=custom" in options else ["model=resnet18"]
    ended = bench(*model, *options)
    assert ended.status == 2
    assert told in ended.one_line
    assert bench.left_nothing
