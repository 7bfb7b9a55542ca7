"""Bad input, as far as one run shows it before anything is computed: one line that says what is
wrong, where, and how to fix it.

What becomes of that line, and what only a run shows, is in ``tests/e2e/test_cli_errors.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import HydraException

from bench.cli.messages import one_line
from bench.model.export import Export
from tests.composing import composed, refusal
from tests.e2e.command import CLASSIFIER, CUSTOM, SHAPES

DETECTOR = ["model=custom", "model.head=yolov8"]
FOLDER = [*CLASSIFIER, "model.path=FILES/two_classes.onnx", "dataset=imagefolder"]
COCO = [*DETECTOR, "model.path=FILES/two_class_detector.onnx", "dataset=coco"]


def folder(name: str, **changed: str) -> list[str]:
    places = {"root": f"FILES/{name}/val", "calibration_root": f"FILES/{name}/calib"} | changed
    return [*FOLDER, *(f"dataset.{key}={value}" for key, value in places.items())]


def coco(name: str = "coco", annotations: str = "annotations", **changed: str) -> list[str]:
    places = {
        "images": f"FILES/{name}/val",
        "annotations": f"FILES/{name}/{annotations}.json",
        "calibration_images": f"FILES/{name}/calib",
    } | changed
    return [*COCO, *(f"dataset.{key}={value}" for key, value in places.items())]


def model(name: str, *more: str) -> list[str]:
    return [*CLASSIFIER, *SHAPES, f"model.path=FILES/{name}.onnx", *more]


# What is asked, and what the line must say: what, where, and the fix.
CASES: dict[str, tuple[list[str], list[str]]] = {
    # models
    "missing model": (model("missing"), ["missing.onnx does not exist", "model.path"]),
    "model is a folder": (
        [*CLASSIFIER, *SHAPES, "model.path=FILES/coco"], ["coco is a folder", "model.path"]
    ),
    "text as model": (model("text"), ["text.onnx is not a valid ONNX model", "Export it again"]),
    "half a model": (model("cut"), ["cut.onnx is not a valid ONNX model", "Export it again"]),
    "empty model": (model("empty"), ["empty.onnx is not a valid ONNX model", "Export it again"]),
    "quantized model": (model("quantized"), ["already quantized", "Give the FP32 model"]),
    "open shape": (model("open"), ["open shape", "height x width", "export with a fixed"]),
    "two inputs": (model("two_inputs"), ["has 2 inputs (images, more)", "one image input"]),
    "grey input": (model("grey"), ["?x1x64x64, not float32 Nx3xHxW", "Export"]),
    "no layers": (model("without_layers"), ["no Conv, Gemm or MatMul", "nothing to quantize"]),
    "fixed batch": (model("fixed_batch"), ["fixed batch of 4", "Use evaluation.batch_size=4"]),
    "no path": ([*CLASSIFIER, *SHAPES], ["model custom has no weights", "model.path=FILE.onnx"]),
    "no head": (["model=custom"], ["model.head is not given", "yolov8"]),
    "wrong classes": (
        [*model("two_classes")], ["(1x2) do not fit head classifier with 10 classes", "1x10"]
    ),
    "wrong head": (
        [*DETECTOR, *SHAPES, "model.path=FILES/classifier.onnx"],
        ["(1x10) do not fit head yolov8", "1x14x84", "model.head"],
    ),
    "wrong detector": (
        [*DETECTOR, *SHAPES, "model.path=FILES/detector.onnx", "model.head=yolox"],
        ["do not fit head yolox", "model.head"],
    ),
    "no weights for coco": (
        ["model=yolov8n", "dataset=coco"], ["models/yolov8n_coco.onnx", "put the file there"]
    ),
    "no weights for coco, with images": (
        ["model=yolov8n", *coco()[len(COCO) - 1 :]], ["models/yolov8n_coco.onnx", "model.path"]
    ),
    "no weights for a folder": (
        ["model=resnet18", *folder("folder")[len(FOLDER) - 1 :]], ["models/resnet18_imagenet.onnx"]
    ),
    "no weights, and a package that would export them": (
        ["model=yolo11n", *coco()[len(COCO) - 1 :]],
        ["models/yolo11n_coco.onnx", "pip install -e '.[ultralytics]' (AGPL-3.0", "model=yolov8n"],
    ),
    "a download without its hash": (
        ["model=yolov5n", "model.weights.coco.download.url='https://x/y'",
         *coco()[len(COCO) - 1 :]],
        ["model.weights.coco.download.sha256 is not given", "Add it"],
    ),
    "a download with half a hash": (
        ["model=yolov5n", "model.weights.coco.download.url='https://x/y'",
         "model.weights.coco.download.sha256=abc", *coco()[len(COCO) - 1 :]],
        ["download.sha256=abc", "64 hexadecimal digits"],
    ),
    "a checkpoint elsewhere, which is a pickle": (
        ["model=yolov8n", *coco()[len(COCO) - 1 :], "model.weights.coco.export.weights=../x.pt"],
        ["export.weights=../x.pt is not a name", "model.path=FILE.onnx"],
    ),
    "a download from nowhere": (
        ["model=yolov5n", *coco()[len(COCO) - 1 :],
         "model.weights.coco.download.url='http://127.0.0.1:9/y'",
         "model.weights.coco.download.sha256=" + "a" * 64],
        ["http://127.0.0.1:9/y cannot be reached", "models/yolov5n_coco.onnx", "dataset=shapes"],
    ),
    "final boxes with another head": (
        [*DETECTOR, *SHAPES, "model.path=FILES/detector.onnx", "model.head=yolov10"],
        ["do not fit head yolov10, which needs one output 1xBOXESx6", "Choose model.head"],
    ),
    "cubic letterbox": (
        [*CUSTOM, "model.preprocess.interpolation=bicubic"],
        ["model.preprocess.interpolation=bicubic", "with resize_crop"],
    ),
    "detector on a folder": (
        [*DETECTOR, "model.path=FILES/detector.onnx", *folder("folder")[len(FOLDER) - 1 :]],
        ["imagefolder is for classification, the model is for detection", "dataset=coco"],
    ),
    "classifier on boxes": (
        [*CLASSIFIER, "model.path=FILES/classifier.onnx", *coco()[len(COCO) - 1 :]],
        ["coco is for detection, the model is for classification", "dataset=imagefolder"],
    ),
    # images
    "no paths": (COCO, ["dataset.images=PATH, dataset.annotations=PATH", "Add them"]),
    "one path": (coco(calibration_images=""), ["needs dataset.calibration_images=PATH"]),
    "no folders": (FOLDER, ["dataset.root=PATH, dataset.calibration_root=PATH", "Add them"]),
    "missing root": (folder("nowhere"), ["nowhere/val does not exist", "Check dataset.root"]),
    "missing calibration root": (
        folder("folder", calibration_root="FILES/nowhere"), ["nowhere", "dataset.calibration_root"]
    ),
    "empty root": (folder("folder", root="FILES/empty"), ["contains no image", "dataset.root"]),
    "no classes": (folder("folder", root="FILES/coco/val"), ["0.png is in", "after its class"]),
    "missing images": (coco(images="FILES/nowhere"), ["nowhere does not exist", "dataset.images"]),
    "missing annotations": (coco(annotations="nothing"), ["nothing.json does not exist"]),
    "missing calibration images": (
        coco(calibration_images="FILES/nowhere"), ["nowhere", "dataset.calibration_images"]
    ),
    # annotations
    "half a JSON file": (coco(annotations="cut"), ["cut.json is not a COCO", "Check dataset"]),
    "JSON of another kind": (coco(annotations="list"), ["list.json is not a COCO", "categories"]),
    "an image as annotations": (
        [*coco(), "dataset.annotations=FILES/coco/val/0.png"],
        ["0.png is not a COCO annotation file"],
    ),
    "annotations without images": (coco(annotations="no_images"), ["no_images.json"]),
    "annotations without boxes": (coco(annotations="no_boxes"), ["no_boxes.json", "annotations"]),
    "annotations of other images": (
        coco(annotations="other_images"), ["1 of the 7 images", "first: 7.png", "belong together"]
    ),
    "annotation of an unknown image": (
        coco(annotations="unknown_image"), ["annotation 0", "image 99", "does not list"]
    ),
    "annotation of an unknown category": (
        coco(annotations="unknown_category"), ["annotation 0", "category 99", "does not list"]
    ),
    "three numbers as box": (coco(annotations="short_box"), ["short_box.json", "Export the"]),
    "a word in a box": (coco(annotations="words_in_box"), ["words_in_box.json", "'wide'"]),
    "no box": (coco(annotations="without_box"), ["without_box.json", "bbox"]),
    "an image listed twice": (coco(annotations="twice"), ["lists the image 0.png twice"]),
    "an image without a name": (coco(annotations="nameless"), ["nameless.json", "file_name"]),
    "no file of yolo's": ([*COCO[:-1], "dataset=yolo"], ["needs dataset.file=PATH", "Add it"]),
    "no root of VOC": ([*COCO[:-1], "dataset=voc"], ["needs dataset.root=PATH", "Add it"]),
    "no images at all": (
        [*COCO[:-1], "dataset=images", "dataset.root=FILES/coco/val"],
        ["dataset=images needs dataset.calibration_root=PATH", "Add it"],
    ),
    "classes without labels": (
        [*folder("folder"), "dataset.classes=2"], ["dataset.classes=2", "dataset.labels", "Drop"]
    ),
    "labels that are not there": (
        [*folder("folder"), "dataset.labels=nowhere.csv"], ["nowhere.csv does not", "dataset.lab"]
    ),
    "the FP32 model as labels of class folders": (
        [*folder("folder"), "dataset.labels=fp32"], ["dataset=images dataset.classes=NUMBER"]
    ),
    "the FP32 model as labels of boxes": (
        [*coco(), "dataset.labels=fp32"], ["dataset=images measures agreement with the FP32 model"]
    ),
    "preprocessing for other data alone": (
        [
            "model=resnet18", "model.path=FILES/two_classes.onnx", "dataset=images",
            "dataset.root=FILES/folder/val", "dataset.calibration_root=FILES/folder/calib",
            "dataset.classes=2",
        ],
        ["no preprocessing for dataset images", "dataset.name=imagefolder", "model.preprocess.fit"],
    ),
    # calibration
    "unknown strategy": (
        [*CUSTOM, "calibration.strategy=even"], ["strategy=even is unknown", "random or balanced"]
    ),
    "balanced without labels": (
        [*coco(), "calibration.strategy=balanced"], ["needs labels", "calibration_annotations=FILE"]
    ),
    "a list that is not there": (
        [*CUSTOM, "calibration.list=nowhere.txt"], ["nowhere.txt does not", "calibration.list"]
    ),
    "a list of other images": (
        [*CUSTOM, "calibration.list=FILES/coco/cut.json"], ["1 of the 1 images", "belong together"]
    ),
    "no score": (
        [*CUSTOM, "evaluation.agreement_score=1"], ["agreement_score=1.0 is not a score", "below 1"]
    ),
    "unknown calibrator": (
        [*CUSTOM, "calibrator=kl"], ["calibrator=kl is unknown", "legacy, minmax, moving_average"]
    ),
    "size above the set": (
        [*CUSTOM, "calibration.size=7"],
        ["calibration.size=7", "the 6 calibration images", "smaller size"],
    ),
    "size zero": ([*CUSTOM, "calibration.size=0"], ["calibration.size=0 is below 1"]),
    "negative seed": ([*CUSTOM, "calibration.seed=-1"], ["calibration.seed=-1 is below 0"]),
    "a seed that no table holds": (
        [*CUSTOM, "calibration.seed=99999999999999999999999"],
        ["calibration.seed=99999999999999999999999 is more than a table holds", "or less"],
    ),
    "unknown calibration fit": (
        [*CUSTOM, "calibration.preprocess=crap"], ["calibration.preprocess=crap", "stretch or crop"]
    ),
    "unknown input range": (
        [*CUSTOM, "input_range=known"], ["input_range=known", "calibrated or declared"]
    ),
    "percentile out of range": (
        [*CUSTOM, "calibrator=percentile", "calibrator.percentile=101"],
        ["percentile=101 is out of range", "<= 100"],
    ),
    "percentile in words": (
        [*CUSTOM, "calibrator=percentile", "calibrator.percentile=most"],
        ["calibrator.percentile=most is not a number"],
    ),
    # plan and engine
    "unknown plan": (
        [*CUSTOM, "plan=none"], ["plan=none is unknown", "all, auto, custom, float_depthwise"]
    ),
    "unknown scheme": (
        [*CUSTOM, "scheme=skewed"], ["scheme=skewed is unknown", "symmetric or asymmetric"]
    ),
    "unknown rule of weights": (
        [*CUSTOM, "weights.rule=entropy"], ["weights.rule=entropy is unknown", "max or mse"]
    ),
    "selectors that are none": (
        [*CUSTOM, "plan.float_selectors=first"],
        ["plan.float_selectors=first is not a list", "[first]"],
    ),
    "unknown engine": ([*CUSTOM, "engine=tvm"], ["engine=tvm", "onnxruntime, openvino"]),
    "threads in words": ([*CUSTOM, "engine.threads=all"], ["engine.threads=all", "whole number"]),
    "negative threads": ([*CUSTOM, "engine.threads=-1"], ["engine.threads=-1 is below 0"]),
    # preprocessing
    "unknown fit": (
        [*CUSTOM, "model.preprocess.fit=squeeze"], ["model.preprocess.fit=squeeze", "letterbox"]
    ),
    "unknown colour": ([*CUSTOM, "model.preprocess.color=cmyk"], ["color=cmyk", "rgb or bgr"]),
    "two means": ([*CUSTOM, "model.preprocess.mean=[0,0]"], ["mean", "three numbers"]),
    "size that contradicts": (
        [*CUSTOM, "model.preprocess.size=640"], ["size=640 contradicts the model", "64x64"]
    ),
    "grey beyond white": ([*CUSTOM, "model.preprocess.pad=256"], ["preprocess.pad=256", "255"]),
    "no scale": ([*CUSTOM, "model.preprocess.scale=0"], ["model.preprocess.scale=0", "above 0"]),
    # names and types
    "unknown model": (["model=yolov9"], ["model=yolov9 is unknown", "resnet18, resnet50, yolo11n"]),
    "unknown dataset": (
        ["dataset=kitti"], ["dataset=kitti is unknown", "imagefolder, images, shapes, voc, yolo"]
    ),
    "unknown head": ([*CUSTOM, "model.head=ssd"], ["model.head=ssd is unknown", "yolov5"]),
    "unknown domain": (
        [*CUSTOM, "dataset.validation_domain=dusk"],
        ["dataset.validation_domain=dusk is not 'day', 'night' or 'glare'"],
    ),
    "misspelt group": (["calibratr=minmax"], ["option calibratr is unknown", "calibrator?"]),
    "misspelt option": (
        [*CUSTOM, "calibration.sise=3"], ["calibration.sise is unknown", "mean calibration.size?"]
    ),
    "misspelt option of a dataset": (
        [*CUSTOM, "dataset.validaton_images=3"], ["mean dataset.validation_images?"]
    ),
    "added option of a dataset": (
        [*CUSTOM, "+dataset.validaton_images=3"],
        ["no option 'validaton_images'", "validation_images"],
    ),
    "option of another calibrator": (
        [*CUSTOM, "calibrator.percentile=3"], ["calibrator.percentile is unknown"]
    ),
    "word for a number": (
        [*CUSTOM, "calibration.size=abc"], ["calibration.size=abc is not a whole number"]
    ),
    "fraction for a number": (
        [*CUSTOM, "evaluation.batch_size=1.5"], ["batch_size=1.5 is not a whole number"]
    ),
    "null for a number": ([*CUSTOM, "calibration.size=null"], ["calibration.size=null"]),
    "word in a dataset": (
        [*CUSTOM, "dataset.calibration_images=many"],
        ["dataset.calibration_images=many is not a whole number"],
    ),
    "no images": ([*CUSTOM, "evaluation.images=0"], ["evaluation.images=0 is below 1"]),
    "no batch": ([*CUSTOM, "evaluation.batch_size=0"], ["evaluation.batch_size=0 is below 1"]),
    "fewer than no rounds": (
        [*CUSTOM, "timing.rounds=-1"],
        ["timing.rounds=-1 is below 0", "timing=off"],
    ),
    "no cache": ([*CUSTOM, "sweep.cache="], ["sweep.cache is empty", "unset BENCH_CACHE"]),
    "several without multirun": (
        [*CUSTOM, "calibration.size=4,8"], ["calibration.size=4,8 names several", "--multirun"]
    ),
    "null for a choice": (
        [*CUSTOM, "calibrator=null"], ["calibrator=null is not a choice", "Use calibrator=NAME"]
    ),
    "a number for a choice": ([*CUSTOM, "plan=8"], ["plan=8 is not a choice", "conf/plan lists"]),
    "a choice taken away": ([*CUSTOM[:-2], "~dataset"], ["dataset is not given", "Add dataset="]),
    "no text": ([*CUSTOM, "model.name=\udcff"], ["is not UTF-8 text", "Write KEY=VALUE"]),
    "a plan without its selectors": (
        [*CUSTOM, "plan=custom"], ["plan.float_selectors is not given. Add plan.float_selectors="]
    ),
    "a name that leads elsewhere": (
        [*CUSTOM, "model.name=../.."], ["model.name='../..' cannot be the name of a folder"]
    ),
    "a dataset's name that leads elsewhere": (
        [*CUSTOM, "dataset.name=/tmp/x"], ["dataset.name='/tmp/x' cannot be the name of a folder"]
    ),
    "a time that is none": (
        [*CUSTOM, "timing.seconds=nan"], ["timing.seconds=nan is not possible", "seconds"]
    ),
    "more threads than there are": (
        [*CUSTOM, "engine.threads=1000000"], ["engine.threads=1000000 is more than 1024"]
    ),
    "more images than can be drawn": (
        [*CUSTOM, "dataset.validation_images=1000000000"], ["1 to 1,000,000 images in each split"]
    ),
    "a batch beyond the memory": (
        [*CUSTOM, "evaluation.batch_size=1000000"],
        ["batch_size=1000000 images of 64x64 are more than 67,108,864 pixels", "smaller batch"],
    ),
    "an infinite deviation": (
        [*CUSTOM, "model.preprocess.std=[inf,1,1]"], ["mean and std need three numbers"]
    ),
    "a download that anybody could change": (
        ["model=yolov5n", *coco()[len(COCO) - 1 :],
         "model.weights.coco.download.url='http://example.org/y'",
         "model.weights.coco.download.sha256=" + "a" * 64],
        ["http://example.org/y is not an https address", "https://"],
    ),
    "a checkpoint as model": (
        [*CLASSIFIER, *SHAPES, "model.path=FILES/checkpoint.pt"],
        ["checkpoint.pt is a zip archive, such as PyTorch saves", "Export the model to ONNX"],
    ),
    "a zip as folder of images": (
        folder("folder", root="FILES/checkpoint.pt"),
        ["checkpoint.pt is a file, not a folder of images", "Unpack it"],
    ),
    "no override": ([*CUSTOM, "minmax"], ["'minmax' cannot be read", "KEY=VALUE"]),
}  # fmt: skip


def test_an_unknown_launcher_is_one_line() -> None:
    with pytest.raises(HydraException) as error:
        composed("hydra/launcher=slurm")
    line = one_line(error.value)
    assert "hydra/launcher=slurm is unknown" in line and "basic, joblib" in line


@pytest.fixture(autouse=True)
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exported here, whatever extras are installed."""
    monkeypatch.setattr(Export, "is_possible", False)


@pytest.mark.parametrize(("asked", "told"), CASES.values(), ids=CASES)
def test_bad_input_is_one_line(
    asked: list[str], told: list[str], files: Path, tmp_path: Path
) -> None:
    line = refusal(tmp_path, *(override.replace("FILES", str(files)) for override in asked))
    assert "\n" not in line
    assert not [part for part in told if part not in line], line
