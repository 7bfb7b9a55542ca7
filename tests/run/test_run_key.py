"""Runs that must give the same result have one key; whatever can change it changes the key."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from PIL import Image as Pil

from bench.cli.compose import build_run
from bench.data import contents
from bench.engine.ov import OpenVino
from bench.errors import ConfigError
from bench.evaluation.task import ClassificationTask
from bench.run.inputs import calibration_image
from bench.run.measure import classes_evaluated, task_of
from bench.sealed import read_sealed, seal
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
    (folder / "copy").mkdir()
    shutil.copy(folder / "model.onnx", folder / "copy" / "model.onnx")
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
    beside = "also_build=tensorrt_rtx"
    gpus = ("compute_capability=SM86", "compute_capability=SM89")
    own, other, default = (key(beside, *(f"also_build.{one}" for one in some))
                           for some in ((), gpus[:1], gpus[1:]))  # fmt: skip
    assert own == default
    builds = [key("engine=tensorrt_rtx"), key("engine=tensorrt_rtx", f"engine.{gpus[0]}")]
    assert len({own, other, key(), *builds}) == 5


def test_what_pads_calibration_images_changes_the_key_and_their_input() -> None:
    runs = [build_run(composed(f"calibration.pad={pad}")) for pad in ("null", "0", "114", "noise")]
    assert len({one.key for one in runs}) == 4
    inputs = [calibration_image(one)(0) for one in runs]
    assert len({array.tobytes() for array in inputs}) == 3  # 114 is the default anyhow
    assert {one.model.preprocess.pad for one in runs} == {114}  # of what is evaluated


def test_another_model_changes_the_key_and_a_copy_does_not(folder: Path, key: Key) -> None:
    assert key(f"model.path={folder}/other.onnx") != key()
    assert key(f"model.path={folder}/copy/model.onnx") == key()


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
    [
        "sweep.out=elsewhere", "sweep.cache=elsewhere", "sweep.strict=true", "evaluation.images=6",
        "evaluation.images=60", "evaluation.seed=1",
    ],
)  # fmt: skip
def test_what_cannot_change_the_result_leaves_the_key(override: str, key: Key) -> None:
    assert key(override) == key()


def test_another_version_of_the_engine_changes_the_key(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key()
    monkeypatch.setattr(OpenVino, "version", "2020.1")
    assert key() != before


# --- images in files ------------------------------------------------------------------------------


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pil.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for grey, name in enumerate(("val/a/1.bmp", "val/b/2.bmp", "calib/3.bmp")):
        picture(tmp_path / "here" / name, grey)
    return tmp_path / "here"


@pytest.fixture
def key_of(tmp_path: Path, folder: Path) -> Key:
    """The key of a run on class folders under a root, with hashes remembered from run to run."""

    def now(root: Path, *overrides: str) -> str:
        typed = ["model=custom", "model.head=classifier", f"model.path={folder}/model.onnx"]
        places = [f"dataset.root={root}/val", f"dataset.calibration_root={root}/calib"]
        cache = f"sweep.cache={tmp_path}/cache"
        return build_run(composed(*typed, "dataset=imagefolder", *places, cache, *overrides)).key

    return now


def test_an_edited_image_changes_the_key(images: Path, key_of: Key) -> None:
    keys = [key_of(images), key_of(images)]
    assert keys[0] == keys[1]
    for name in ("val/b/2.bmp", "calib/3.bmp"):
        picture(images / name, 9)
        keys.append(key_of(images))
    assert len(set(keys)) == 3


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("name", ["val/b/2.bmp", "calib/3.bmp"])
def test_a_replaced_image_of_the_same_name_size_and_time_changes_the_key(
    name: str, renamed: bool, images: Path, key_of: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 0)  # what was just written is remembered
    time.sleep(0.02)
    before, stat = key_of(images), (images / name).stat()
    assert key_of(images) == before
    other = images / "other.bmp" if renamed else images / name
    picture(other, 200)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(images / name)
    now = (images / name).stat()
    assert (now.st_size, now.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert key_of(images) != before


def test_a_copied_folder_has_the_same_key(images: Path, key_of: Key, tmp_path: Path) -> None:
    before = key_of(images)
    shutil.copytree(images, tmp_path / "there")
    assert key_of(tmp_path / "there") == before
    picture(tmp_path / "there" / "val/b/2.bmp", 200)
    assert key_of(tmp_path / "there") != before


def test_strict_believes_no_memory(images: Path, key_of: Key, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 0)
    time.sleep(0.02)
    before = key_of(images)
    for path in (tmp_path / "cache").glob("hashes-*.json"):
        entries = json.loads(read_sealed(path))
        changed = {name: [*entry[:4], "0" * 64] for name, entry in entries.items()}
        path.write_bytes(seal(json.dumps(changed).encode(), path))
    assert key_of(images) != before
    assert key_of(images, "sweep.strict=true") == before
    assert key_of(images) == before  # the memory is right again


# --- which images are evaluated -------------------------------------------------------------------


def chosen(*overrides: str) -> tuple[int, ...]:
    return build_run(composed("dataset.validation_images=100", *overrides)).validation_indices


def test_a_sample_is_drawn_by_its_seed_in_the_order_of_the_dataset() -> None:
    few = chosen("evaluation.images=20")
    assert len(set(few)) == 20
    assert few == tuple(sorted(few)) == chosen("evaluation.images=20")
    assert few != tuple(range(20))
    assert few != chosen("evaluation.images=20", "evaluation.seed=1")
    assert set(few) < set(chosen("evaluation.images=40"))


@pytest.mark.parametrize("override", ["evaluation.images=null", "evaluation.images=100",
                                      "evaluation.images=101", "evaluation.seed=1"])  # fmt: skip
def test_a_sample_as_large_as_the_dataset_is_all_of_it(override: str) -> None:
    assert chosen(override) == tuple(range(100))


def test_every_class_folder_has_its_share_of_a_sample(tmp_path: Path, folder: Path) -> None:
    for label in "abcde":
        for number in range(20):
            picture(tmp_path / "val" / label / f"{number}.bmp", number)
    picture(tmp_path / "calib" / "0.bmp", 0)
    run = build_run(composed(
        "model=custom", "model.head=classifier", f"model.path={folder}/model.onnx",
        "dataset=imagefolder", f"dataset.root={tmp_path}/val", "evaluation.images=20",
        f"dataset.calibration_root={tmp_path}/calib", f"sweep.cache={tmp_path}/cache",
    ))  # fmt: skip
    assert classes_evaluated(run) == 5
    assert cast(ClassificationTask, task_of(run)).labels.tolist() == [
        index // 20 for index in run.validation_indices
    ]


def test_another_sample_of_the_same_size_is_another_run(key: Key) -> None:
    few = ["dataset.validation_images=100", "evaluation.images=20"]
    assert key(*few) == key(*few)
    assert key(*few) != key(*few, "evaluation.seed=1")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.seed=-1 is below 0"):
        build_run(composed("evaluation.seed=-1"))
