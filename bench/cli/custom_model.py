"""What a user's own file tells by itself: its head, the number of its classes, and their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.utils import get_class

from bench.data.dataset import TaskName
from bench.errors import BenchError, ConfigError, ModelError
from bench.model.class_names import class_names, metadata, noted_names
from bench.model.graph import Graph
from bench.model.heads.base import Head
from bench.model.heads.fitting import fitting_heads, output_shapes, settle_head
from bench.model.onnx_model import OnnxModel

T = TypeVar("T")

_OTHER = re.compile(r"[^\w.+-]+")
_LONGEST = 80


def name_of(path: str | None) -> str:
    """What a model is called that is given by its file; "custom" without one.

    >>> name_of("runs/my net (2).onnx"), name_of(None)
    ('my_net_2', 'custom')
    """
    stem = _OTHER.sub("_", Path(str(path)).stem)[:_LONGEST].strip("_.") if path else ""
    return stem or "custom"


class Problems:
    """What is wrong with several parts of a run, told together."""

    def __init__(self) -> None:
        self._found: list[BenchError] = []

    def of(self, make: Callable[[], T]) -> T | None:
        """What ``make`` makes; None if it raises a BenchError, which is kept for ``tell``."""
        try:
            return make()
        except BenchError as error:
            self._found.append(error)
            return None

    def tell(self) -> None:
        """Raise the only problem as it is, or a ConfigError that names all."""
        different = {str(error): error for error in self._found}  # several parts read the model
        if len(different) == 1:
            raise self._found[0]
        if different:
            lines = [f"({n}) {text}" for n, text in enumerate(different, start=1)]
            raise ConfigError(f"{len(lines)} things are wrong: {' '.join(lines)}")


def task_of_dataset(node: Any) -> TaskName:
    """What a dataset is for, by its class; detection where it takes both."""
    try:
        task = getattr(get_class(str(node.get("_target_"))), "task", None)
    except Exception:  # a name that is none is told where the dataset is created
        task = None
    return "classification" if task == "classification" else "detection"


def derived_head(heads: dict[str, Head], network: OnnxModel, graph: Graph) -> str:
    """The name of the head that the outputs fit; raises ModelError where that is not one."""
    return settle_head(heads, network, graph).name


def names_of_classes(name: str, head: Head, network: OnnxModel, graph: Graph) -> Sequence[str]:
    """As many names as the outputs have classes; raises ModelError where nothing tells how many."""
    size = network.height, network.width
    fits = fitting_heads({name: head}, output_shapes(graph), size)
    noted = metadata(network)
    count = fits[0].n_classes if fits else None
    names = class_names(count, noted, head.task == "detection") if count else noted_names(noted)
    if not names:
        raise ModelError(
            f"the model does not say how many classes head {name} has", "Add dataset.classes=NUMBER"
        )
    return names
