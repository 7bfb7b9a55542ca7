"""Images without labels: what INT8 changes is measured against the FP32 model's own predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cache import content_key
from bench.data.contents import ContentHashes
from bench.data.dataset import TaskName, require_classes
from bench.data.files import FileSamples, list_images
from bench.errors import ConfigError


class ImagesDataset:
    """Images anywhere under one folder to evaluate, under another to calibrate on.

    ``labels`` says what stands in for labels, and ``fp32`` is all there is; ``classes``, how many
    the model tells apart: where it is not given, ``model_classes`` names them. No annotation says
    which way up pictures are: for a detector they are turned as their EXIF says (as Ultralytics'
    predictor reads them), for a classifier they count as stored (as torchvision reads them).

    Raises ConfigError if an option is not given, DataError if a folder is missing.
    """

    boxes = None
    """Whoever reads the dataset takes the FP32 model's predictions instead."""
    calibration_boxes = None
    calibration_labels = None

    def __init__(
        self,
        task: TaskName,
        root: str | None,
        calibration_root: str | None,
        classes: int | None,
        labels: str = "fp32",
        name: str = "images",
        hashes: ContentHashes | None = None,
        model_classes: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        given: dict[str, Any] = {"root=PATH": root, "calibration_root=PATH": calibration_root}
        if model_classes is None:
            given["classes=NUMBER"] = classes
        missing = [f"dataset.{option}" for option, value in given.items() if value in (None, "")]
        if missing:
            raise ConfigError(
                f"dataset={name} needs {', '.join(missing)}",
                "Add it to the command" if len(missing) == 1 else "Add them to the command",
            )
        if labels != "fp32":
            raise ConfigError(
                f"dataset.labels={labels} is not possible with dataset={name}",
                "Use fp32, or dataset=imagefolder for a file of labels",
            )
        if classes is None and model_classes is not None:
            names = tuple(model_classes())
        else:
            require_classes(classes or 0, f"dataset.classes={classes}")
            names = tuple(map(str, range(classes or 0)))
        self.name = name
        self._hashes = hashes
        self.task: TaskName = task
        self.class_names = names
        self.labels = None
        self.validation = self._images(Path(str(root)), "dataset.root")
        self._calibration_root = Path(str(calibration_root))

    @cached_property
    def calibration(self) -> FileSamples:
        return self._images(self._calibration_root, "dataset.calibration_root")

    def calibration_classes(self) -> list[frozenset[int]]:
        raise ConfigError(
            f"calibration.strategy=balanced needs labels, but dataset {self.name} has none",
            "Use calibration.strategy=random",
        )

    @cached_property
    def fingerprint(self) -> str:
        """The labels are the model's, which is part of a run's key anyhow."""
        return content_key(
            "fp32", self.class_names, self.validation.fingerprint, self.calibration.fingerprint
        )

    def _images(self, folder: Path, option: str) -> FileSamples:
        return list_images(folder, option, self.task == "detection", self._hashes)
