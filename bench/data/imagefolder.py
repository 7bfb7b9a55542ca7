"""Classification data: one folder per class, or one folder and a file of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.contents import ContentHashes
from bench.data.dataset import TaskName, require_task, shown_classes
from bench.data.files import FileSamples, list_images
from bench.data.label_file import read_label_file
from bench.errors import ConfigError, DataError


class ImageFolderDataset:
    """Validation images in ``root/CLASS/``, calibration images anywhere under another folder.

    Class indices follow the alphabetical order of the folders. With ``labels``, a file of image
    names and class indices, the images lie anywhere under ``root``, and ``classes`` or
    ``model_classes`` says how many there are: a file that has none of the last class cannot tell.

    Pictures count as stored, whatever their EXIF says, as torchvision's ``ImageFolder`` reads them.

    Raises ConfigError if a path is not given or the model is no classifier, DataError if folders
    are missing, an image lies outside, or the labels do not fit.
    """

    task: TaskName = "classification"
    calibration_boxes = None

    def __init__(
        self,
        task: TaskName,
        root: str | None,
        calibration_root: str | None,
        labels: str | None = None,
        classes: int | None = None,
        name: str = "imagefolder",
        hashes: ContentHashes | None = None,
        model_classes: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        require_task(name, "classification", task, "coco")
        given = {"root": root, "calibration_root": calibration_root}
        missing = [f"dataset.{key}=PATH" for key, value in given.items() if not value]
        if missing:
            raise ConfigError(
                f"dataset={name} needs {', '.join(missing)}", "Add them to the command"
            )
        self.name = name
        self._hashes = hashes or ContentHashes()
        self._root, self._calibration_root = Path(str(root)), Path(str(calibration_root))
        self._has_label_file = bool(labels)
        if labels:
            if classes is None and model_classes is not None:
                classes = len(model_classes())
            self._open_labelled(str(labels), classes)
        elif classes is not None:
            raise ConfigError(
                f"dataset.classes={classes} needs dataset.labels; class folders count themselves",
                "Drop one or add the other",
            )
        else:
            self._open_folders()

    def _open_labelled(self, labels: str, classes: int | None) -> None:
        if not self._root.is_dir():
            raise DataError(f"folder {self._root} does not exist", "Check dataset.root")
        inside = self._root / labels  # a name alone may mean a file beside the images
        path = inside if inside.is_file() and not Path(labels).is_file() else Path(labels)
        if labels == "fp32" and not path.is_file():
            raise ConfigError(
                f"dataset.labels=fp32 (agreement with FP32) does not work with dataset={self.name}",
                "Use dataset=images dataset.classes=NUMBER",
            )
        found = read_label_file(path, self._root, classes)
        self.class_names = tuple(map(str, range(found.n_classes)))
        self.validation = FileSamples(self._root, found.names, hashes=self._hashes)
        self.labels = found.labels

    def _open_folders(self) -> None:
        self.validation = list_images(self._root, "dataset.root", hashes=self._hashes)
        folders = sorted(path.name for path in self._root.iterdir() if path.is_dir())
        self.class_names = tuple(folders)
        loose = _loose(self.validation, self.class_names)
        if loose:
            raise DataError(
                f"{loose} is in {self._root} itself, not in a class folder",
                "Put every image into a folder named after its class, or give dataset.labels=FILE",
            )
        self.labels = _by_folder(self.validation, self.class_names)

    @cached_property
    def calibration(self) -> FileSamples:
        option = "dataset.calibration_root"
        return list_images(self._calibration_root, option, hashes=self._hashes)

    @cached_property
    def calibration_labels(self) -> npt.NDArray[np.int64] | None:
        """By class folders that are named as the validation images' are, or by the file of labels
        where it names these files; None where that leaves out an image."""
        if self._has_label_file:
            of_file = dict(zip(_places(self.validation), self.labels.tolist(), strict=True))
            labels = [of_file.get(place) for place in _places(self.calibration)]
        else:
            index = {name: i for i, name in enumerate(self.class_names)}
            labels = [index.get(Path(name).parts[0]) for name in self.calibration.names]
        return None if None in labels else np.array(labels, np.int64)

    def calibration_classes(self) -> list[frozenset[int]]:
        """The class folder of each calibration image."""
        folders = sorted({Path(name).parts[0] for name in self.calibration.names})
        loose = next((name for name in self.calibration.names if len(Path(name).parts) == 1), "")
        if loose:
            raise ConfigError(
                f"calibration.strategy=balanced needs labels, but {loose} is in "
                f"{self._calibration_root} itself, not in a class folder",
                "Use class folders there too, or calibration.strategy=random",
            )
        return shown_classes(_by_folder(self.calibration, folders).tolist())

    @property
    def boxes(self) -> Any:
        raise NotImplementedError("a classification dataset has labels, not boxes")

    @cached_property
    def fingerprint(self) -> str:
        labels = ",".join(map(str, self.labels.tolist()))
        return content_key(
            self.validation.fingerprint, self.calibration.fingerprint, self.class_names, labels
        )


def _loose(samples: FileSamples, folders: Sequence[str]) -> str:
    return next((name for name in samples.names if Path(name).parts[0] not in folders), "")


def _places(samples: FileSamples) -> list[Path]:
    return [samples.path(index).resolve() for index in range(len(samples))]


def _by_folder(samples: FileSamples, folders: Sequence[str]) -> npt.NDArray[np.int64]:
    index = {name: i for i, name in enumerate(folders)}
    return np.array([index[Path(name).parts[0]] for name in samples.names], np.int64)
