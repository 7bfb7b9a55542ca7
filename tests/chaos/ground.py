"""A folder with one good input of each kind, from which malformed ones are made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image as Pil

from bench.calibration.trt_cache import from_ranges, to_json
from bench.cli.compose import build_typed
from bench.results.store import RowStore
from bench.results.table import make_table, write_table
from bench.run.execute import execute
from tests.chaos.cases import CLASSIFIER, FOLDER, QUICK
from tests.inputs import write_inputs
from tests.tiny_models import Sketch

WORDS = [
    "calibrator=percentile", "calibrator.percentile=99.9", "calibration.size=2", "plan=custom",
    "plan.float_selectors=[first,'name:x']", "engine.threads=1", "model.preprocess.std=[1,1,1]",
    "model.preprocess.pad=114", "timing.seconds=0.5", "evaluation.images=2", "placement=explicit",
    "calibration.seed=1", "dataset.name=mine", "weights.rule=mse", "max_loss=1%",
]  # fmt: skip


def write_ground(folder: Path) -> None:
    """Everything that ``bench`` must not have computed yet; the rest is ``measure_ground``'s."""
    folder.mkdir()
    write_inputs(folder, Sketch)
    rng = np.random.default_rng(0)
    picture = Pil.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    for name in ("3.jpg", "4.bmp", "5.tif", "6.webp", "7.ppm"):
        picture.save(folder / "folder" / "val" / "a" / name)
    _write_voc(folder / "voc", picture)
    _write_yolo(folder / "yolo", picture)
    names = [f"a/{number}.png,0" for number in range(3)] + ["b/0.png,1"]
    (folder / "labels.csv").write_text("\n".join(["file,label", *names]))
    (folder / "list.txt").write_text("# of both\na/0.png\na/1.png\nb/0.png\n")
    ranges = {"images": 1.0, "stem": 6.5, "logits": 12.25}
    (folder / "calibration.cache").write_bytes(
        from_ranges(ranges, "8.6.1", "EntropyCalibration2").to_bytes()
    )
    (folder / "ranges.json").write_text(to_json(ranges))
    (folder / "words.txt").write_text("\n".join(WORDS))


def measure_ground() -> None:
    """In the folder itself: a sweep of one row, and a bundle's facts."""
    words = [*CLASSIFIER, *FOLDER, *QUICK]
    run = build_typed(words)
    store = RowStore(Path("sweep"))
    row = execute(run, store, " ".join(words))
    write_table(make_table([row]), Path("sweep"))
    shutil.move(store.path(row.run_key), store.path("ROW"))
    Path("bundle").mkdir()
    Path("bundle/bundle.json").write_text(json.dumps({"row": row.to_json(), "bundle": 1}, indent=1))
    Path("bundle/dynamic_ranges.json").write_text(Path("ranges.json").read_text())
    Path("bundle/float_layers.json").write_text("{}")
    for name in ("model.qdq.onnx", "model.fp32.onnx"):
        shutil.copy("two_classes.onnx", f"bundle/{name}")


def _write_voc(folder: Path, picture: Pil.Image) -> None:
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    sides = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    for name in "ab":
        picture.save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><object><name>{name}</name><difficult>0</difficult>"
            f"<bndbox>{sides}</bndbox></object></annotation>"
        )
    for split in ("train", "val"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("a\nb\n")


def _write_yolo(folder: Path, picture: Pil.Image) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for name in "ab":
        picture.save(folder / "images" / f"{name}.png")
        (folder / "labels" / f"{name}.txt").write_text(
            "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.2 0.2 0.3 0.3\n"
        )
    (folder / "train.txt").write_text("./images/a.png\n./images/b.png\n")
    (folder / "data.yaml").write_text(
        "path: .\ntrain: train.txt\nval: images\nnc: 2\nnames:\n  0: a\n  1: b\n"
    )
