"""``int8bench inspect``: what it says of models and images, and the command it ends with."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from bench.__main__ import main
from bench.cli.compose import build_typed
from bench.cli.recognise import recognise
from bench.data.shapes_dataset import ShapesDataset
from bench.errors import BenchError
from bench.model.facts import model_facts
from bench.model.graph import Graph
from bench.model.onnx_model import load_model
from bench.model.zoo import CARRIED
from tests.composing import composed, refusal

CLASSES = ShapesDataset.class_names


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures in class folders: val and calib, and flat: without labels."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = ShapesDataset("classification", 48, 8)
    folders = [f"{number}_{name}" for number, name in enumerate(CLASSES)]
    for name in folders:
        (folder / "val" / name).mkdir(parents=True)
    for part in ("calib", "flat"):
        (folder / part).mkdir()
    for split, samples, labels in (
        ("val", drawn.validation, drawn.labels),
        ("calib", drawn.calibration, None),
    ):
        for index in range(len(samples)):
            inside = f"{folders[labels[index]]}/" if labels is not None else ""
            picture = samples.image(index)[..., ::-1]
            cv2.imwrite(str(folder / split / f"{inside}{index:03}.png"), picture)
            if split == "val":
                cv2.imwrite(str(folder / "flat" / f"{index:03}.png"), picture)
    return folder


def printed(capsys, *words: object) -> str:
    assert main(["inspect", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_says_what_a_model_is(capsys):
    text = printed(capsys, CARRIED / "yolov8n_shapes.onnx")
    assert re.search(r"^task +detection, head yolov8$", text, re.M)
    assert re.search(rf"^classes +{len(CLASSES)}$", text, re.M)
    assert re.search(r"^input +images, float32 NCHW, batch open, 3x(\d+)x\1$", text, re.M)
    assert re.search(r"\d+ convolutions and matrix products, 0\.\d\d billion", text)
    assert "int8bench inspect" in text


@pytest.mark.parametrize("labelled", [True, False])
def test_finds_the_preprocessing(capsys, pictures, labelled):
    folder = pictures / ("val" if labelled else "flat")
    text = printed(capsys, CARRIED / "resnet18_shapes.onnx", folder, "--count=48")
    [best] = [line for line in text.splitlines() if line.startswith("  ★")]
    # It was trained with a mean of 0.5 and a std of 0.25, on shapes whose colours mean nothing.
    assert "ImageNet mean and std" in best or "-1 to 1" in best
    assert ("by Top-1:" in text) is labelled
    assert ("fit cannot be decided" in text) is not labelled
    assert "0 to 255, BGR" not in text


def test_the_command_that_it_ends_with_composes(capsys, pictures):
    text = printed(capsys, CARRIED / "resnet18_shapes.onnx", pictures / "val", "--count=12")
    command = shlex.split(text.splitlines()[-1])
    assert command[:2] == ["int8bench", "sweep"]
    first = [word for word in command[2:] if not word.startswith(("calibrator=", "plan="))]
    config = composed(*(w for w in first if not w.startswith("calibration.size=")))
    assert config.model.name == "resnet18_shapes"
    assert config.dataset.calibration_root == str(pictures / "calib")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["FILES/nowhere.onnx"], "does not exist"),
        (["FILES/quantized.onnx"], "is already quantized"),
        (["FILES/classifier.onnx", "--head=yolov8"], "do not fit head yolov8"),
        (["FILES/classifier.onnx", "--head=ssd"], "model.head=ssd is unknown"),
        (["FILES/classifier.onnx", "FILES/nowhere"], "nowhere does not exist"),
        (["FILES/classifier.onnx", "FILES/classifier.onnx"], "Give a folder of images"),
        (["FILES/classifier.onnx", "FILES/folder/val", "--count=0"], "--count=0 is below 1"),
        ([], "required: NET.onnx"),
    ],
)
def test_what_cannot_be_is_one_line(files, capsys, words, said):
    assert main(["inspect", *(word.replace("FILES", str(files)) for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_doubts(tmp_path, files):
    facts = model_facts(*opened(files / "fixed_batch.onnx"))
    assert [doubt for doubt in facts.doubts if "the batch is fixed at 4" in doubt]
    model = onnx.load(files / "classifier.onnx")
    model.metadata_props.add(key="task", value="segment")
    scale = onnx.numpy_helper.from_array(np.float32(255), "scale")
    model.graph.initializer.append(scale)
    first = next(node for node in model.graph.node if "images" in node.input)
    model.graph.node.insert(0, onnx.helper.make_node("Div", ["images", "scale"], ["scaled"]))
    first.input[list(first.input).index("images")] = "scaled"
    onnx.save(model, tmp_path / "odd.onnx")
    text = " ".join(model_facts(*opened(tmp_path / "odd.onnx")).doubts)
    assert "task=segment" in text and "scales the input inside the network" in text


def opened(path: Path) -> tuple:
    model = load_model(path)
    return model, Graph(model)


class TestRecognise:
    def test_coco_beside_the_images(self, tmp_path):
        images = picture(tmp_path / "val" / "images" / "a.png").parent
        picture(tmp_path / "calib" / "images" / "b.png")
        content: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}
        (tmp_path / "val" / "boxes.json").write_text(json.dumps(content))
        found = recognise(images, "detection", 80)
        assert found.labelled and found.keys == {
            "dataset": "coco",
            "dataset.images": images,
            "dataset.annotations": tmp_path / "val" / "boxes.json",
            "dataset.calibration_images": tmp_path / "calib" / "images",
        }

    def test_ultralytics(self, tmp_path):
        images = picture(tmp_path / "images" / "val" / "a.png").parent
        (tmp_path / "data.yaml").write_text("{val: images/val, names: [a]}")
        for given in (images, tmp_path / "data.yaml"):
            keys = recognise(given, "detection", 1).keys
            assert keys == {"dataset": "yolo", "dataset.file": tmp_path / "data.yaml"}

    def test_class_folders_of_another_number(self, tmp_path):
        for name in "ab":
            picture(tmp_path / name / "1.png")
        assert recognise(tmp_path, "classification", 2).labelled
        found = recognise(tmp_path, "classification", 10)
        assert not found.labelled and "2 class folders are not the model's 10" in found.remark
        assert "flatters" in found.remark

    def test_a_file_of_labels(self, tmp_path):
        images = picture(tmp_path / "images" / "a.png").parent
        (tmp_path / "labels.csv").write_text("file,label\na.png,3\n")
        found = recognise(images, "classification", 10)
        assert found.keys["dataset.labels"] == tmp_path / "labels.csv"

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(BenchError, match="does not exist"):
            recognise(tmp_path / "nowhere", "detection", 1)
        (tmp_path / "a.yaml").write_text("x: 1")
        with pytest.raises(BenchError, match="not the YAML of an Ultralytics"):
            recognise(tmp_path / "a.yaml", "detection", 1)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    return path


def test_a_custom_model_is_called_as_its_file(files):
    config = composed("model=custom", f"model.path={files}/two_classes.onnx")
    assert config.model.name == "two_classes"
    assert config.sweep.out == "results/two_classes-shapes"
    assert composed("model=custom").model.name == "custom"


def test_all_problems_are_told_at_once(files, tmp_path):
    line = refusal(
        tmp_path, "model=custom", f"model.path={files}/nowhere.onnx", "dataset=coco",
        "calibration.size=0",
    )  # fmt: skip
    assert line.startswith("3 things are wrong: (1) ")
    for part in ("nowhere.onnx does not exist", "needs dataset.images=PATH", "calibration.size=0"):
        assert line.count(part) == 1


def test_images_without_labels_have_the_models_classes(files):
    folder = f"{files}/folder"
    words = ["dataset=images", f"dataset.root={folder}/val", "model=custom"]
    words += [f"dataset.calibration_root={folder}/calib"]
    run = build_typed([*words, f"model.path={files}/classifier.onnx"])
    assert run.dataset.class_names == tuple(map(str, range(10)))
    assert run.model.name == "classifier" and run.model.head.task == "classification"


def test_a_model_that_is_not_there_is_told_once(files, tmp_path):
    folder = f"{files}/folder"
    line = refusal(
        tmp_path, "dataset=images", f"dataset.root={folder}/val", "model=custom",
        f"dataset.calibration_root={folder}/calib", "model.head=classifier",
        "model.path=nowhere.onnx",
    )  # fmt: skip
    assert line == "model file nowhere.onnx does not exist. Check model.path"
