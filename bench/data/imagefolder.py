"""Classification data: one folder per class."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.dataset import Task
from bench.data.files import FileSamples, list_images
from bench.errors import ConfigError, DataError


class ImageFolderDataset:
    """Validation images in ``root/CLASS/``, calibration images anywhere under another folder.

    Class indices follow the alphabetical order of the folders. Raises ConfigError if a path is not
    given or the model is no classifier, DataError if folders are missing or an image lies outside.
    """

    task: Task = "classification"

    def __init__(
        self,
        task: Task,
        root: str | None,
        calibration_root: str | None,
        name: str = "imagefolder",
    ) -> None:
        if task != "classification":
            raise ConfigError(
                f"dataset {name} is for classification, the model is for {task}",
                "Use dataset=coco, or a classifier",
            )
        given = {"root": root, "calibration_root": calibration_root}
        missing = [f"dataset.{key}=PATH" for key, value in given.items() if not value]
        if missing:
            raise ConfigError(
                f"dataset={name} needs {', '.join(missing)}", "Add them to the command"
            )
        self.name = name
        folder = Path(str(root))
        self.validation = list_images(folder, "dataset.root")
        self.class_names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        loose = [n for n in self.validation.names if Path(n).parts[0] not in self.class_names]
        if loose:
            raise DataError(
                f"{loose[0]} lies in {folder} itself, in no class folder",
                "Put every image into a folder named after its class",
            )
        self._calibration_root = Path(str(calibration_root))

    @cached_property
    def calibration(self) -> FileSamples:
        return list_images(self._calibration_root, "dataset.calibration_root")

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        index = {name: i for i, name in enumerate(self.class_names)}
        return np.array([index[Path(n).parts[0]] for n in self.validation.names], np.int64)

    @property
    def boxes(self) -> Any:
        raise NotImplementedError("a classification dataset has labels, not boxes")

    @cached_property
    def fingerprint(self) -> str:
        return content_key(self.validation.fingerprint, self.calibration.fingerprint)
