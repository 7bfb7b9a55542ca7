"""Write the embedded drawn dataset as files: ``python scripts/export_shapes.py FOLDER``.

The form is Ultralytics' (docs.ultralytics.com/datasets/detect): ``data.yaml``, ``images/SPLIT`` and
``labels/SPLIT`` with a line ``class cx cy width height`` an object, normalised to the picture.
``dataset=yolo dataset.file=FOLDER/data.yaml`` reads it, and so does the ``ultralytics`` package.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image as Pil
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.cli.messages import command
from bench.data.shapes import CLASSES, Scene
from bench.data.shapes_dataset import ShapeSamples, ShapesDataset
from bench.environment import CONF
from bench.errors import DataError


@command
def main(arguments: Sequence[str] | None = None) -> int:
    sizes = yaml.safe_load((CONF / "dataset" / "shapes.yaml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(
        description="Draw the scenes of dataset=shapes into FOLDER, for Ultralytics or to look at: "
        "its validation images as split 'val', its calibration images as split 'train'."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new or empty folder")
    for split in ("validation", "calibration"):
        parser.add_argument(
            f"--{split}-images", metavar="N", type=int, default=sizes[f"{split}_images"],
            help="how many (default %(default)s, as dataset=shapes)",
        )  # fmt: skip
    options = parser.parse_args(arguments)
    scenes = ShapesDataset("detection", options.validation_images, options.calibration_images)
    print(export_scenes(scenes, options.folder))
    return 0


def export_scenes(scenes: ShapesDataset, folder: Path) -> Path:
    """Write both splits into ``folder``, all of it or nothing, and return its ``data.yaml``.

    Raises DataError if there is something in ``folder`` already.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder} is there already", "Remove it or name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".shapes-") as place:
        made = Path(place) / "made"
        _write_split(scenes.calibration, made, "train")
        _write_split(scenes.validation, made, "val")
        content = {"train": "images/train", "val": "images/val", "names": dict(enumerate(CLASSES))}
        (made / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        made.replace(folder)
    return folder / "data.yaml"


def _write_split(samples: ShapeSamples, folder: Path, split: str) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index, name in enumerate(track(samples.names, f"{split} images", transient=True)):
        scene = samples.scene(index)
        Pil.fromarray(scene.image).save(images / f"{name}.png")  # lossless: the very same pixels
        (labels / f"{name}.txt").write_text(_label_lines(scene), encoding="utf-8")


def _label_lines(scene: Scene) -> str:
    """Nine digits, as float32 needs: the corners come back within a thousandth of a pixel."""
    height, width, _ = scene.image.shape
    lines = []
    for label, (x1, y1, x2, y2) in zip(scene.labels, scene.boxes.tolist(), strict=True):
        centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
        extent = (x2 - x1) / width, (y2 - y1) / height
        lines.append(f"{label} " + " ".join(f"{value:.9f}" for value in (*centre, *extent)) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
