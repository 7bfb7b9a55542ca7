"""What a row, a table or a bundle says never chooses a class or a file of configuration elsewhere.

Each of these words ran something, or read a file, before there was a list of what may be created.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from bench.cli.targets import TRUSTED
from bench.environment import CONF
from tests.composing import refusal
from tests.e2e.command import CUSTOM

RUN = "_target_: bench.model.export._run, command: [touch, RAN], folder: FOLDER"

# What a row says, and what the refusal must say.
PAYLOADS: dict[str, tuple[list[str], list[str]]] = {
    "a command, nested in a class": (
        ["calibrator._target_=logging.FileHandler", f"+calibrator.filename={{{RUN}}}"],
        ["calibrator.filename._target_ names a class", "Drop it"],
    ),
    "a command, in a list of options": (
        [f"plan.float_selectors=[{{{RUN}}}]"], ["plan.float_selectors.0._target_ names a class"]
    ),
    "a command behind an interpolation": (
        ["plan.name='${oc.create:\"{" + RUN + "}\"}'"], ["plan.name._target_ names a class"]
    ),
    "a file opened to write": (
        ["calibrator._target_=logging.FileHandler", "+calibrator.filename=RAN"],
        ["calibrator._target_=logging.FileHandler is not a class of conf/calibrator"],
    ),
    "a pickle read by pandas": (
        ["calibrator._target_=logging.FileHandler",
         "+calibrator.filename={_target_: pandas.read_pickle, filepath_or_buffer: PICKLE}"],
        ["calibrator.filename._target_ names a class"],
    ),
    "a pickle read by numpy": (
        ["calibrator._target_=logging.FileHandler",
         "+calibrator.filename={_target_: numpy.load, file: OBJECTS, allow_pickle: true}"],
        ["calibrator.filename._target_ names a class"],
    ),
    "a function in place of a class": (
        ["calibrator._target_=numpy.load", "+calibrator.file=OBJECTS"],
        ["calibrator._target_=numpy.load is not a class of conf/calibrator", TRUSTED],
    ),
    "a class of the project in another place": (
        ["calibrator._target_=bench.engine.onnxrt.OnnxRuntime"],
        ["calibrator._target_=bench.engine.onnxrt.OnnxRuntime is not a class of conf/calibrator"],
    ),
    "a command among the rules of a calibrator": (
        ["calibrator=per_tensor", f"+calibrator.rules.evil={{{RUN}}}"],
        ["calibrator.rules.evil._target_=bench.model.export._run is not a class of conf/calib"],
    ),
    "a command inside of a rule": (
        ["calibrator=per_tensor", "+calibrator.rules.evil={_target_: bench.calibration.mse.Mse, "
         f"bins: {{{RUN}}}}}"],
        ["calibrator.rules.evil.bins._target_ names a class"],
    ),
    "rules of a calibrator that has none": (
        ["calibrator=minmax", f"+calibrator.rules.evil={{{RUN}}}"],
        ["calibrator MinMax has no option 'rules'"],
    ),
    "a rule elsewhere": (
        ["calibrator=per_tensor", "+calibrator@calibrator.rules.evil=ELSEWHERE"],
        ["evil names a file outside conf/calibrator"],
    ),
    "a head elsewhere": (
        ["model.head=ELSEWHERE"], ["model.head=../", "evil is unknown", "yolov8"]
    ),
    "a model elsewhere": (["model=ELSEWHERE"], ["outside conf/model", "Use model="]),
    "a calibrator elsewhere": (
        ["calibrator=ELSEWHERE"], ["evil names a file outside conf/calibrator"]
    ),
    "a calibrator at an absolute path": (["calibrator=EVIL"], ["outside conf/calibrator"]),
    "a group elsewhere": (["+evil/deep=../../evil"], ["outside conf/evil/deep"]),
    "a choice by interpolation": (["plan=${model.name}"], ["outside conf/plan"]),
    "a search path": (["hydra.searchpath=[file://FOLDER]"], ["cannot set hydra.searchpath"]),
    "a launcher": (["hydra/launcher=joblib"], ["cannot set hydra/launcher"]),
    "a callback": (
        [f"+hydra.callbacks.x={{{RUN}}}"], ["cannot set hydra.callbacks.x"]
    ),
    "a folder of configuration": (["--config-dir=FOLDER"], ["'--config-dir=", "KEY=VALUE"]),
}  # fmt: skip


class Bomb:
    """Makes a file where a pickle of it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize(("said", "told"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_row_chooses_no_class_and_no_file_elsewhere(
    said: list[str], told: list[str], files: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "bomb.pickle").write_bytes(pickle.dumps(Bomb(ran)))
    objects = np.array([Bomb(ran)], object)
    np.save(tmp_path / "bomb.npy", objects, allow_pickle=True)
    evil = (
        f"_target_: logging.FileHandler\nfilename: {ran}\nhead: {{_target_: logging.FileHandler}}"
    )
    (tmp_path / "evil.yaml").write_text(evil)
    places = {
        "RAN": ran, "FILES": files, "PICKLE": tmp_path / "bomb.pickle",
        "OBJECTS": tmp_path / "bomb.npy", "EVIL": tmp_path / "evil", "FOLDER": tmp_path,
        "ELSEWHERE": os.path.relpath(tmp_path / "evil", CONF / "model"),
    }  # fmt: skip
    words = [*CUSTOM, *said]
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    line = refusal(tmp_path, *words)
    assert not ran.exists()
    assert "\n" not in line
    assert not [part for part in told if part not in line], line
