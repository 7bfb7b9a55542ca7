"""Runs that must give the same result have one key; whatever can change it changes the key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image as Pil

from bench.calibrate import calibration_image
from bench.compose import build_run
from bench.engine.ov import OpenVino
from bench.results import row
from tests.composing import composed

Key = Callable[..., str]
CHANGES = {
    "calibrator": "calibrator=mse",
    "calibrator's parameter": "calibrator.levels=64",
    "calibration size": "calibration.size=8",
    "calibration seed": "calibration.seed=1",
    "calibration fit": "calibration.preprocess=crop",
    "calibration strategy": "calibration.strategy=balanced",
    "input range": "input_range=declared",
    "plan": "plan=float_first",
    "selectors": "plan.float_selectors=['op:Gemm']",
    "placement": "placement=implicit",
    "scheme": "scheme=asymmetric",
    "granularity of weights": "weights.granularity=per_tensor",
    "rule of weights": "weights.rule=mse",
    "engine": "engine=onnxruntime",
    "threads": "engine.threads=1",
    "batch": "evaluation.batch_size=2",
    "images evaluated": "evaluation.images=5",
    "images of the dataset": "dataset.validation_images=7",
    "images to calibrate on": "dataset.calibration_images=9",
    "domain validated": "dataset.validation_domain=night",
    "domain calibrated": "dataset.calibration_domain=day",
    "outliers": "dataset.calibration_outlier=true",
    "score of agreement": "evaluation.agreement_score=0.5",
    "timing rounds": "timing.rounds=11",
    "timing seconds": "timing.seconds=0.5",
    "model's name": "model.name=mine",
    "model's fit": "model.preprocess.fit=letterbox",
    "model's mean": "model.preprocess.mean=[0,0,0]",
    "model's colours": "model.preprocess.color=bgr",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build: Callable[..., onnx.ModelProto]) -> Path:
    folder = tmp_path_factory.mktemp("key")
    onnx.save(build("classifier"), folder / "model.onnx")
    onnx.save(build("residual"), folder / "other.onnx")
    shutil.copy(folder / "model.onnx", folder / "copy.onnx")
    return folder


@pytest.fixture(scope="module")
def key(folder: Path) -> Key:
    """``key(*overrides)``: the key of a run of a tiny classifier on shapes."""
    default = [
        "model=custom", f"model.path={folder}/model.onnx", "model.head=classifier",
        "calibrator=entropy2", "dataset.validation_images=6", "dataset.calibration_images=8",
    ]  # fmt: skip
    return lambda *overrides: build_run(composed(*default, *overrides)).key


@pytest.fixture(scope="module")
def keys(key: Key) -> dict[str, str]:
    """The key of each of ``CHANGES``."""
    return {name: key(change) for name, change in CHANGES.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_every_axis_changes_the_key_as_no_other_does(
    name: str, key: Key, keys: dict[str, str]
) -> None:
    assert [same for same, own in keys.items() if own == keys[name]] == [name]
    assert keys[name] != key()


def test_what_is_built_beside_and_for_which_gpus_changes_the_key(key: Key) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")
    beside = "engine.also_build=tensorrt_rtx"
    capable = [(), ("engine.compute_capability=SM86",), ("engine.compute_capability=SM89",)]
    own, other, default = (key(beside, *capability) for capability in capable)
    assert own == default
    builds = [key("engine=tensorrt_rtx", *capability) for capability in capable[:2]]
    assert len({own, other, key(), *builds}) == 5


def test_what_pads_calibration_images_changes_the_key_and_their_input() -> None:
    runs = [build_run(composed(f"calibration.pad={pad}")) for pad in ("null", "0", "114", "noise")]
    assert len({one.key for one in runs}) == 4
    inputs = [calibration_image(one)(0) for one in runs]
    assert len({array.tobytes() for array in inputs}) == 3  # 114 is the default anyhow
    assert {one.model.preprocess.pad for one in runs} == {114}  # of what is evaluated


def test_another_model_changes_the_key_and_a_copy_does_not(folder: Path, key: Key) -> None:
    assert key(f"model.path={folder}/other.onnx") != key()
    assert key(f"model.path={folder}/copy.onnx") == key()


def test_a_model_overwritten_in_place_is_another_one(folder: Path, key: Key) -> None:
    """A process keeps the models that it loaded; it must not keep one that has changed."""
    own = folder / "own.onnx"
    shutil.copy(folder / "model.onnx", own)
    before = key(f"model.path={own}")
    shutil.copy(folder / "other.onnx", own)
    os.utime(own, (0, 0))
    assert key(f"model.path={own}") != before


@pytest.mark.parametrize(
    "override",
    ["sweep.out=elsewhere", "sweep.cache=elsewhere", "evaluation.images=6", "evaluation.images=60"],
)
def test_what_cannot_change_the_result_leaves_the_key(override: str, key: Key) -> None:
    assert key(override) == key()


def test_another_version_of_the_engine_or_the_schema_changes_the_key(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {key()}
    monkeypatch.setattr(OpenVino, "version", "2020.1")
    keys.add(key())
    monkeypatch.setattr(row, "SCHEMA_VERSION", row.SCHEMA_VERSION + 1)
    keys.add(key())
    assert len(keys) == 3


def test_an_edited_image_changes_the_key(tmp_path: Path, folder: Path, key: Key) -> None:
    for name in ("val/a/1.png", "val/b/2.png", "calib/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Pil.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    places = [f"dataset.root={tmp_path}/val", f"dataset.calibration_root={tmp_path}/calib"]

    def now() -> str:
        typed = ["model=custom", "model.head=classifier", f"model.path={folder}/model.onnx"]
        return build_run(composed(*typed, "dataset=imagefolder", *places)).key

    keys = [now(), now()]
    assert keys[0] == keys[1]
    for name in ("val/b/2.png", "calib/3.png"):
        Pil.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / name)
        os.utime(tmp_path / name, (1, 1))
        keys.append(now())
    assert len(set(keys)) == 3
