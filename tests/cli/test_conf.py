"""Every file under conf/ composes, and becomes the object that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from PIL import Image as Pil

from bench.cli import choices
from bench.cli.compose import build_run
from bench.cli.create import create
from bench.cli.messages import one_line
from bench.data import calibration_order, preprocess
from bench.engine import onnxrt
from bench.engine.trt.rtx import TensorRtRtx
from bench.environment import CONF
from bench.errors import BenchError
from bench.model.export import Export
from bench.model.published import Published
from bench.quantization import grid, plan, weight_scales
from bench.results.options import typed_dataset_options
from tests.composing import composed


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


WEIGHTS = [
    (model, dataset)
    for model in names("model")
    for dataset in OmegaConf.load(CONF / "model" / f"{model}.yaml").get("weights", {})
]
"""Every model with every dataset that it has weights for."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """A little data of each kind: dataset -> overrides that say where it lies."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("a/1.png", "b/2.png"):
        (folder / name).parent.mkdir()
        Pil.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / name)
    content = {
        "images": [{"id": 1, "file_name": "a/1.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    (folder / "data.yaml").write_text("{train: a, val: b, names: [thing]}")
    for split in ("train", "val"):
        listed = folder / "ImageSets" / "Main" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("1\n")
    (folder / "JPEGImages").mkdir()
    Pil.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "JPEGImages" / "1.jpg")
    return {
        "shapes": [],
        "coco": [
            f"dataset.images={folder}",
            f"dataset.annotations={folder}/boxes.json",
            f"dataset.calibration_images={folder}",
        ],
        "imagefolder": [f"dataset.root={folder}", f"dataset.calibration_root={folder}"],
        "images": [
            f"dataset.root={folder}",
            f"dataset.calibration_root={folder}",
            "dataset.classes=10",
        ],
        "yolo": [f"dataset.file={folder}/data.yaml"],
        "voc": [f"dataset.root={folder}"],
    }


def test_the_groups_are_those_of_the_defaults() -> None:
    defaults = [
        next(iter(d))
        for d in OmegaConf.load(CONF / "config.yaml").defaults
        if d != "_self_" and not isinstance(d, str)
    ]
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == {d for d in defaults if "/" not in d} | {
        "head", "claim", "reference", "data", "experiment"
    }  # fmt: skip


def test_the_default_composes_and_says_where_its_results_go() -> None:
    config = composed()
    assert config.sweep.out == "results/yolov8n-shapes"
    assert (
        composed("model=resnet18", "dataset=imagefolder").sweep.out
        == "results/resnet18-imagefolder"
    )


@pytest.mark.parametrize(("model", "dataset"), WEIGHTS)
def test_every_model_is_built_for_each_of_its_datasets(
    model: str, dataset: str, data: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(f"model={model}", f"dataset={dataset}", *data[dataset])
    fetched: list[str] = []
    if config.model.weights[dataset].file.startswith("carried:"):
        run = build_run(config)
        run.check()
        assert run.model.weights.startswith(f"carried for {dataset}")
        return
    monkeypatch.setattr(Export, "is_possible", False)
    monkeypatch.setattr("bench.model.zoo.fetch", lambda file, *_: fetched.append(file.url))
    place = f"models/{config.model.weights[dataset].file}"
    with pytest.raises(BenchError) as caught:
        build_run(config)
    if fetched:
        assert fetched == [config.model.weights[dataset].download.url]
    else:
        assert place in str(caught.value)


@pytest.mark.parametrize(("model", "dataset"), WEIGHTS)
def test_every_model_but_the_embedded_says_what_is_published_and_where(
    model: str, dataset: str
) -> None:
    chosen = composed(f"model={model}").model
    weights = chosen.weights[dataset]
    if weights.file.startswith("carried:"):
        assert set(weights.published.values()) == {None}
    else:
        published = Published(**weights.published)
        assert published.metric == ("Top-1" if chosen.head == "classifier" else "mAP50-95")
        assert published.source.startswith("https://")


@pytest.mark.parametrize(("model", "dataset"), WEIGHTS)
def test_every_model_takes_a_file_of_its_users(
    model: str,
    dataset: str,
    data: dict[str, list[str]],
    build: Callable[..., onnx.ModelProto],
    tmp_path: Path,
) -> None:
    onnx.save(build("classifier", size=(32, 32)), tmp_path / "own.onnx")
    path = f"model.path={tmp_path}/own.onnx"
    run = build_run(composed(f"model={model}", f"dataset={dataset}", path, *data[dataset]))
    assert run.model.weights == f"file {tmp_path}/own.onnx"
    assert run.model.preprocess.size == (32, 32)


@pytest.mark.parametrize("name", names("dataset"))
@pytest.mark.parametrize("task", ["detection", "classification"])
def test_every_dataset_is_created_for_its_task(
    name: str, task: str, data: dict[str, list[str]]
) -> None:
    config = composed(f"dataset={name}", *data[name]).dataset
    only = {"imagefolder": "classification"} | dict.fromkeys(("coco", "voc", "yolo"), "detection")
    if only.get(name, task) != task:
        with pytest.raises(BenchError, match=f"the model is for {task}"):
            create(config, "dataset", task=task)
    else:
        dataset = create(config, "dataset", task=task)
        assert dataset.name == name
        assert dataset.task == task


FROM_FILES = {"quantized_file", "ranges_file"}


@pytest.mark.parametrize("name", sorted(FROM_FILES))
def test_a_calibrator_of_a_file_asks_for_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_text('{"images": [-1.0, 1.0]}')
    words = [f"calibrator={name}", f"calibrator.path={file}", "calibrator.label=theirs"]
    calibrator = create(composed(*words).calibrator, "calibrator")
    assert calibrator.name == "theirs"
    assert calibrator.params.startswith("file=")


@pytest.mark.parametrize("name", sorted(set(names("calibrator")) - FROM_FILES))
def test_every_calibrator_is_created(name: str) -> None:
    calibrator = create(composed(f"calibrator={name}").calibrator, "calibrator")
    assert name.startswith(calibrator.name)
    assert calibrator.params.endswith(name.removeprefix(calibrator.name).lstrip("_"))


RULES = ["minmax", "percentile", "percentile_99_9", "percentile_99_999", "entropy2", "mse"]


@pytest.mark.parametrize(
    ("given", "rules", "params"),
    [
        ([], RULES, "entropy2: bins=2048,levels=127,variant=tensorrt; mse: bins=2048"),
        (["~calibrator.rules.mse"], RULES[:-1], "variant=tensorrt"),
        (["~calibrator.rules.mse=null"], RULES[:-1], "variant=tensorrt"),  # as a sweep says it
        (["calibrator.rules.percentile.percentile=99.5"], RULES, "percentile: percentile=99.5;"),
        (
            ["+calibrator@calibrator.rules.average=moving_average"],
            [*RULES, "average"],
            "average: moving_average beta=0.9",
        ),
    ],
)
def test_the_rules_of_per_tensor_are_those_of_their_files(
    given: list[str], rules: list[str], params: str
) -> None:
    calibrator = create(composed("calibrator=per_tensor", *given).calibrator, "calibrator")
    assert list(calibrator.rules) == rules
    assert params in calibrator.params
    alone = create(composed("calibrator=mse").calibrator, "calibrator")
    assert calibrator.rules.get("mse", alone) == alone


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("calibrator.criterion=best", "calibrator.criterion=best is not 'local' or 'output'"),
        ("+calibrator@calibrator.rules.legacy=legacy", "legacy works after layer fusion"),
        (
            "+calibrator@calibrator.rules.trt=tensorrt_minmax",
            "tensorrt_minmax runs inside TensorRT",
        ),
        ("+calibrator@calibrator.rules.again=per_tensor", "names a class inside an option"),
        ("calibrator.rules.mse=null", "rules.mse is not a calibrator. Drop it: ~calibrator.rules"),
        ("calibrator.rules.mse.bin=3", "Did you mean calibrator.rules.mse.bins?"),
        ("+calibrator.rules.mse.width=3", "calibrator.rules.mse Mse has no option 'width'"),
        ("calibrator.rules.mse.bins=few", "calibrator.rules.mse.bins=few is not a whole number"),
        ("calibrator.rules=5", "calibrator.rules=5 has no names with a calibrator each"),
        ("~calibrator.rules", "calibrator cannot be created"),
    ],
)
def test_what_cannot_be_a_rule_is_refused_in_one_line(given: str, message: str) -> None:
    with pytest.raises((HydraException, BenchError)) as caught:
        create(composed("calibrator=per_tensor", given).calibrator, "calibrator")
    line = one_line(caught.value)
    assert message in line
    assert "\n" not in line


def test_percentiles_differ_by_more_than_their_name() -> None:
    chosen = [name for name in names("calibrator") if name.startswith("percentile")]
    params = {create(composed(f"calibrator={c}").calibrator, "calibrator").params for c in chosen}
    assert len(params) == len(chosen) == 3


@pytest.mark.parametrize("name", sorted({*names("plan")} - {"custom"}))
def test_every_plan_is_created_and_called_as_its_file(name: str) -> None:
    assert create(composed(f"plan={name}").plan, "plan").name == name


@pytest.mark.parametrize("name", names("engine"))
def test_every_engine_is_created_and_called_as_its_file(name: str) -> None:
    config = composed(f"engine={name}")
    assert create(config.engine, "engine").name == name
    assert config.also_build is None


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_engine_that_measures_has_a_builder_beside_it_if_so_asked(name: str) -> None:
    chosen = [f"engine={name}", "also_build=tensorrt_rtx", "engine.threads=2"]
    run = build_run(composed(*chosen))
    assert (run.engine.name, run.engine.threads) == (name, 2)
    assert run.also_build == TensorRtRtx("SM89")
    run = build_run(composed(*chosen, "also_build.compute_capability=SM86"))
    assert run.also_build == TensorRtRtx("SM86")


def test_a_plan_of_ones_own_is_named_after_its_selectors() -> None:
    chosen = composed("plan=custom", 'plan.float_selectors=[first,"op:Add"]')
    plan = create(chosen.plan, "plan")
    assert plan.name == "float ['first', 'op:Add']"
    assert tuple(plan.float_selectors) == ("first", "op:Add")


@pytest.mark.parametrize("name", names("head"))
def test_every_head_is_created(name: str) -> None:
    content = OmegaConf.load(CONF / "head" / f"{name}.yaml")
    assert create(content.head, "head").task in ("detection", "classification")


@pytest.mark.parametrize(
    ("group", "change", "told"),
    [
        ("model", {"haed": "yolov8"}, "haed"),
        ("model", {"preprocess": {"fitt": "stretch"}}, "fitt"),
        (
            "model",
            {"preprocess": {"pad": "grey"}},
            "model.preprocess.pad=grey is not a whole number",
        ),
        ("model", {"weights": {"shapes": {"fiel": "a.onnx"}}}, "fiel"),
        ("model", {"weights": {"coco": {"download": {"sha": "a"}}}}, "sha"),
        ("model", {"weights": {"coco": {"published": {"value": "good"}}}}, "value=good is not a"),
        ("dataset", {"validaton_images": 3}, "'validaton_images'"),
        ("dataset", {"validation_images": "many"}, "validation_images=many is not a whole number"),
        ("calibrator", {"percentil": 99.9}, "'percentil'"),
        (
            "calibrator",
            {"_target_": "bench.calibration.nothing.Nothing"},
            "bench.calibration.nothing",
        ),
        ("calibrator", {"percentile": None}, "calibrator.percentile=null is not a number"),
        ("plan", {"float_selector": ["first"]}, "'float_selector'"),
        ("plan", {"float_selectors": ["first", None]}, "plan.float_selectors.1=null is not text"),
        ("dataset", {"validation_outlier": 1}, "validation_outlier=1 is not true or false"),
        ("engine", {"thread": 2}, "'thread'"),
        ("engine", {"threads": "two"}, "engine.threads=two is not a whole number"),
        ("engine", {"threads": True}, "engine.threads=true is not a whole number"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(
    group: str, change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """A file with a misspelt key or a bad value, as somebody who adds one would write it."""
    base = {"model": "yolov8n", "dataset": "shapes", "calibrator": "percentile", "plan": "all"}
    shutil.copytree(CONF, tmp_path / "conf")
    content = OmegaConf.load(CONF / group / f"{base.get(group, 'openvino')}.yaml")
    OmegaConf.save(OmegaConf.merge(content, change), tmp_path / "conf" / group / "mine.yaml")
    given = {"task": "classification"} if group == "dataset" else {}
    # Hydra finds mistakes in a model's file, we find those in what is instantiated.
    with pytest.raises((HydraException, BenchError)) as caught:
        create(composed(f"{group}=mine", conf=tmp_path / "conf")[group], group, **given)
    line = one_line(caught.value)
    assert told in line
    assert "\n" not in line


def test_a_whole_number_is_a_number_and_a_number_is_text(data: dict[str, list[str]]) -> None:
    """A folder may be called 2017, and a class 3."""
    chosen = composed("calibrator=percentile", "calibrator.percentile=99", "dataset.name=2017")
    assert create(chosen.calibrator, "calibrator").percentile == 99
    assert create(chosen.dataset, "dataset", task="detection").name == 2017
    digits = composed("dataset=voc", *data["voc"], "dataset.classes=[3,4]").dataset
    assert create(digits, "dataset", task="detection").class_names == ("3", "4")


class Guarded:
    """A target with an option of a kind that only it knows."""

    def __init__(self, values: np.random.Generator) -> None:
        self.values = values


def test_a_value_for_a_kind_of_the_targets_own_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_TRUSTED_TARGETS", f"other.Class, {__name__}.Guarded")
    node = OmegaConf.create({"_target_": f"{__name__}.Guarded", "values": [1, 2]})
    assert create(node, "calibrator").values == [1, 2]


CHOICES = {
    choices.Placement: plan.Placement,
    choices.Scheme: grid.Scheme,
    choices.Granularity: weight_scales.Granularity,
    choices.WeightRule: weight_scales.Rule,
    choices.Fit: preprocess.Fit,
    choices.CalibrationFit: preprocess.CalibrationFit,
    choices.Strategy: calibration_order.Strategy,
    choices.Provider: onnxrt.Provider,
}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.__name__)
def test_what_can_be_chosen_is_what_the_objects_take(choice: type[Enum]) -> None:
    assert [member.name for member in choice] == list(get_args(CHOICES[choice]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("placement=everywhere", "placement=everywhere is unknown. Use explicit or explicit_resid"),
        ("weights.granularity=layer", "weights.granularity=layer is unknown. Use per_channel or "),
        ("model.preprocess.fit=squeeze", "preprocess.fit=squeeze is unknown. Use letterbox or res"),
        ("model.preprocess.color=grb", "model.preprocess.color=grb is unknown. Use rgb or bgr"),
        ("calibration.preprocess=squeeze", "preprocess=squeeze is unknown. Use same or stretch or"),
        ("input_range=told", "input_range=told is unknown. Use calibrated or declared"),
        ("baseline.provider=gpu", "baseline.provider=gpu is unknown. Use cpu or cuda"),
    ],
)
def test_a_choice_that_is_unknown_is_told_when_it_is_composed(given: str, told: str) -> None:
    with pytest.raises(HydraException) as caught:
        composed(given)
    assert told in one_line(caught.value)


def test_options_of_a_dataset_are_told_as_those_of_old_rows_are_read() -> None:
    typed = ["dataset.calibration_domain=day", "dataset.calibration_outlier=true"]
    options = build_run(composed(*typed, "dataset.name=shapes")).dataset_options
    assert options == "calibration_domain=day, calibration_outlier=true"
    assert options == typed_dataset_options(" ".join([*typed, "dataset.name=shapes"]))
    assert build_run(composed("dataset.validation_images=400")).dataset_options == ""
