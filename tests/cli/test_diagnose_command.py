"""``int8bench diagnose`` on a tiny network with a layer that INT8 harms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench.__main__ import main
from bench.cli import diagnose as door
from bench.results.diagnosis import Diagnosis
from bench.results.diagnosis_file import diagnosis_from_bytes
from tests.e2e.command import CLASSIFIER, SHAPES, Ended

RULES = ["minmax", "percentile_99.9", "mse"]


def spread(sketch) -> onnx.ModelProto:
    """One channel of what ``bad`` reads is 500 times the others, and ``bad`` takes that back."""
    g = sketch(1)
    x = g.op("Relu", g.conv("images", 3, 8, "stem", k=8, strides=[8, 8], pads=[0] * 4))
    x = g.op("Relu", g.conv(x, 8, 8, "wide"))
    x = g.op("Relu", g.conv(x, 8, 8, "bad"))
    x = g.op("Relu", g.conv(x, 8, 8, "good"))
    model = g.model(g.classify(x, 8, 10), size=(64, 64))
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight).copy()
        if weight.name in ("wide.w", "wide.b"):
            array[0] *= 500
        elif weight.name == "bad.w":
            array[:, 0] /= 500
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sketch) -> Path:
    made = tmp_path_factory.mktemp("diagnose")
    onnx.save(spread(sketch), made / "spread.onnx")
    return made


@pytest.fixture
def ask(folder: Path, capsys) -> Callable[..., Ended]:
    def run(*words: str) -> Ended:
        usual = [
            *CLASSIFIER, *SHAPES, f"model.path={folder}/spread.onnx", f"sweep.out={folder}/out",
            f"sweep.cache={folder}/cache", "calibration.size=4", "diagnose.images=8",
            f"diagnose.rules=[{','.join(RULES)}]",
        ]  # fmt: skip
        given = {word.partition("=")[0] for word in words}
        kept = [word for word in usual if word.partition("=")[0] not in given]
        status = main(["diagnose", *kept, *words])
        return Ended(status, *capsys.readouterr())

    return run


@pytest.fixture
def stored(folder: Path) -> Callable[[str], Diagnosis]:
    def read(name: str) -> Diagnosis:
        path = folder / "out" / "diagnosis" / f"{name}.json"
        return diagnosis_from_bytes(path.read_bytes(), path)

    return read


def test_the_layer_that_int8_harms_is_the_worst(ask, stored, folder) -> None:
    ended = ask("diagnose.metric=true")
    assert ended.status == 0, ended.err
    diagnosis = stored("minmax")
    assert (folder / "out" / "diagnosis" / "minmax.html").exists()
    assert diagnosis.worst[0] == "bad"
    layers = {layer.name: layer for layer in diagnosis.layers}
    assert list(layers) == ["stem", "wide", "bad", "good", "fc"]
    assert layers["bad"].channel_spread > 50
    assert layers["fc"].channel_spread is None
    assert sum(layer.mac_share for layer in layers.values()) == pytest.approx(1)
    assert all(layer.metric_loss is not None for layer in layers.values())
    assert sorted(name for one in diagnosis.blocks for name in one.layers) == sorted(layers)
    for one in layers.values():
        assert set(one.only) == set(one.all_but) == {"calibration", "other"}
    assert diagnosis.tensors[0].name == "images"
    for tensor in diagnosis.tensors:
        assert list(tensor.rules) == RULES
        assert tensor.rules["minmax"].clipping < 1e-6
        assert tensor.rules["minmax"].amax == pytest.approx(tensor.amax)
        assert sum(tensor.counts) > 0
        assert np.isfinite(tensor.pairs).all()
    assert diagnosis.first_jump in layers
    assert "bad" in diagnosis.lists["NNCF"]
    said = " ".join(ended.out.split())
    assert "bad" in said and "with one scale for all" in said and "minmax.json" in said


def test_without_the_metric_nothing_is_said_of_it(ask, stored) -> None:
    assert ask("calibrator=percentile_99.9", "input_range=declared").status == 0
    diagnosis = stored("percentile_99_9")
    assert diagnosis.setting["calibrator"] == "percentile_99.9"
    assert all(layer.metric_loss is None for layer in diagnosis.layers)
    images = diagnosis.tensors[0]
    assert images.amax == images.rules["percentile_99.9"].amax == pytest.approx(2.64)  # of white
    assert images.saturated_share == 0


def test_other_images_are_validation_images_where_there_are_no_more(ask, stored) -> None:
    assert ask("calibration.size=5", "diagnose.images=6").status == 0
    setting = stored("minmax").setting
    assert setting["images"] == (
        "3 of the calibration set, 3 other (validation images, without their labels)"
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["diagnose.images=1"], ["diagnose.images=1 is below 2", "2 or more"]),
        (["diagnose.images=few"], ["diagnose.images=few is not a whole number"]),
        (["diagnose.imags=4"], ["diagnose.imags is unknown", "diagnose.images?"]),
        (["diagnose.rules=[kl]"], ["calibrator=kl is unknown", "minmax"]),
        (["diagnose.rules=[a/b]"], ["diagnose.rules has 'a/b'", "conf/calibrator"]),
        (["diagnose.rules=[tensorrt_minmax]"], ["tensorrt_minmax", "Drop it"]),
        (["calibrator=minmax,mse"], ["calibrator names several values", "one value"]),
        (["calibrator=auto", "plan=auto"], ["calibrator=auto is a search"]),
        (["calibration.size=7"], ["calibration.size=7", "smaller size"]),
        (["--multirun"], ["'--multirun' is not KEY=VALUE"]),
        (["minmax"], ["'minmax' cannot be read"]),
        (["model.path=nowhere.onnx"], ["nowhere.onnx does not exist"]),
    ],
)
def test_bad_input_is_one_line(words, parts, ask) -> None:
    ended = ask(*words)
    assert ended.status == 2
    for part in parts:
        assert part in ended.one_line


def test_help_says_which_keys_there_are(capsys) -> None:
    assert door.main(["--help"]) == 0
    assert "diagnose.metric=true" in capsys.readouterr().out
