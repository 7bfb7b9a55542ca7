"""What a malformed input is given to: each reads one as a command would, and gives the line or
nothing.

An input is a folder like the one of ``write_ground``, with one file of it changed.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Callable
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.cli import calibration_cache
from bench.cli.compose import build_typed
from bench.cli.messages import one_line
from bench.deploy import figure
from bench.deploy.choose import choose_row
from bench.errors import BenchError
from bench.report.summary import summarize_folder
from bench.results.store import RowStore
from bench.results.table import make_table, read_table, write_table
from bench.run.execute import execute
from bench.run.spec import Run

LIMIT = 2000
"""Characters of a line: nobody reads more."""
QUICK = ["calibration.size=2", "timing.rounds=1", "timing.seconds=0", "engine=onnxruntime"]
CUSTOM = ["model=custom", "model.preprocess.fit=stretch", "sweep.cache=cache", "sweep.out=out"]
CLASSIFIER = [*CUSTOM, "model.head=classifier", "model.path=two_classes.onnx"]
DETECTOR = [*CUSTOM, "model.head=yolov8", "model.path=two_class_detector.onnx"]
FOLDER = ["dataset=imagefolder", "dataset.root=folder/val", "dataset.calibration_root=folder/calib"]
COCO = ["dataset=coco", "dataset.images=coco/val", "dataset.annotations=coco/annotations.json",
        "dataset.calibration_images=coco/calib"]  # fmt: skip
LABELS = [*FOLDER, "dataset.labels=labels.csv", "dataset.classes=2"]


def check_line(line: str) -> None:
    """What a user is told: one line, not a novel, no traceback."""
    assert line.strip(), "nothing is said"
    assert "\n" not in line and len(line) < LIMIT, line[:LIMIT]
    assert "Traceback" not in line, line


def told(ask: Callable[[], object]) -> None:
    """Run it; what a command would tell in one line must be one."""
    try:
        ask()
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        check_line(one_line(error))


def _command(main: Callable[[list[str]], int], *words: str) -> None:
    """A command that ended: 2 and one line, or well."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(words))
    assert "Traceback" not in out.getvalue() + err.getvalue()
    if status == 2:
        check_line(err.getvalue().rstrip("\n"))
    else:
        assert status in (0, 1), status


def _look(*words: str) -> Run:
    """A run with everything that is read before it computes."""
    run = build_typed([*QUICK, *words])
    run.check()
    _ = run.key, run.calibration_overlap
    _ = run.dataset.boxes if run.dataset.task == "detection" else run.dataset.labels
    return run


def run_model() -> None:
    """A mutated ``two_classes.onnx``, through a whole run."""
    told(lambda: execute(_look(*CLASSIFIER, *FOLDER, "calibrator=entropy"), RowStore(Path("out"))))


def run_images() -> None:
    """A mutated picture, evaluated and calibrated on."""

    def ask() -> None:
        run = _look(*CLASSIFIER, *FOLDER)
        for samples in (run.dataset.validation, run.dataset.calibration):
            for index in range(len(samples)):
                run.model.preprocess.place(samples.image(index))

    told(ask)


def read_coco() -> None:
    told(lambda: _look(*DETECTOR, *COCO))
    words = [
        "calibration.strategy=balanced",
        "dataset.calibration_annotations=coco/annotations.json",
    ]
    told(lambda: _look(*DETECTOR, *COCO, *words))


def read_voc() -> None:
    told(lambda: _look(*DETECTOR, "dataset=voc", "dataset.root=voc", "dataset.classes=[a,b]"))


def read_yolo() -> None:
    told(lambda: _look(*DETECTOR, "dataset=yolo", "dataset.file=yolo/data.yaml"))
    words = ["dataset=yolo", "dataset.file=yolo/data.yaml", "calibration.strategy=balanced"]
    told(lambda: _look(*DETECTOR, *words))


def read_labels() -> None:
    told(lambda: _look(*CLASSIFIER, *LABELS))


def read_list() -> None:
    told(lambda: _look(*CLASSIFIER, *FOLDER, "calibration.list=list.txt"))


def read_cache() -> None:
    """TensorRT's calibration cache, and ranges in JSON."""
    for file in ("calibration.cache", "ranges.json"):
        _command(calibration_cache.main, "show", file)
        _command(calibration_cache.main, "diff", file, "calibration.cache")
        for form in ("json", "csv", "cache"):
            _command(
                calibration_cache.main, "export", file, f"--{form}", f"made.{form}",
                "--tensorrt", "8.6.1",
            )  # fmt: skip


def compose_words() -> None:
    """Overrides, one a line, as a row has them and as the command line gets them."""
    words = Path("words.txt").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    told(lambda: _look(*CLASSIFIER, *FOLDER, *words))


def read_rows() -> None:
    """A folder of rows: the table, what would be deployed."""

    def ask() -> None:
        folder = Path("sweep")
        rows = RowStore(folder).rows()
        table = make_table(rows)
        write_table(table, folder)
        if not table.empty:
            summarize_folder(read_table(folder), folder)
        row = choose_row(folder, None)
        build_typed(shlex.split(row.overrides)).check()

    told(ask)


def read_tables() -> None:
    told(lambda: summarize_folder(read_table(Path("sweep")), Path("sweep")))


def read_bundle() -> None:
    _command(figure.main, "bundle")


CASES: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "model": (run_model, ("two_classes.onnx",)),
    "image": (run_images, tuple(f"folder/val/a/{name}" for name in (
        "0.png", "1.png", "2.png", "3.jpg", "4.bmp", "5.tif", "6.webp", "7.ppm"))),
    "coco": (read_coco, ("coco/annotations.json",)),
    "voc": (read_voc, ("voc/Annotations/a.xml", "voc/ImageSets/Main/val.txt")),
    "yolo": (read_yolo, ("yolo/labels/a.txt", "yolo/train.txt")),
    "labels": (read_labels, ("labels.csv",)),
    "list": (read_list, ("list.txt",)),
    "yaml": (read_yolo, ("yolo/data.yaml",)),
    "cache": (read_cache, ("calibration.cache", "ranges.json")),
    "overrides": (compose_words, ("words.txt",)),
    "row": (read_rows, ("sweep/rows/ROW.json",)),
    "table": (read_tables, ("sweep/table.csv",)),
    "bundle": (read_bundle, ("bundle/bundle.json",)),
}  # fmt: skip
"""Kind -> what reads it, and the files that are mutated."""
