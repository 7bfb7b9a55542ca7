"""Which heads the shapes of a network's outputs fit, and how many classes they then have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import ModelError
from bench.model.graph import Graph
from bench.model.heads.base import Head, Shape, shown
from bench.model.onnx_model import OnnxModel

_BEFORE_CLASSES = (0, 4, 5)
"""What stands beside the classes in an axis: nothing, a box, or a box and an objectness."""
_ANY_NUMBER = 10**9


@dataclass(frozen=True)
class Fit:
    """A head that fits, by its name in ``conf/head``; ``n_classes`` None: no shape tells it."""

    name: str
    n_classes: int | None


def fitting_heads(
    heads: Mapping[str, Head], shapes: Sequence[Shape], input_size: tuple[int, int]
) -> list[Fit]:
    """The heads that accept outputs of these shapes (batch 1) with some number of classes."""
    sizes = {size - beside for shape in shapes for size in shape for beside in _BEFORE_CLASSES}
    counts = sorted(size for size in sizes if size > 0)
    fits: list[Fit] = []
    for name, head in heads.items():
        if _accepts(head, shapes, input_size, _ANY_NUMBER):
            fits.append(Fit(name, None))
            continue
        fits += [Fit(name, n) for n in counts if _accepts(head, shapes, input_size, n)][:1]
    return fits


def settle_head(heads: Mapping[str, Head], model: OnnxModel, graph: Graph) -> Fit:
    """The one head that fits a network.

    YOLOv10's boxes and those of a suppression inside look alike, and are read alike: an operator
    tells them apart. Raises ModelError where no head fits, naming all, or several do.
    """
    shapes = output_shapes(graph)
    fits = fitting_heads(heads, shapes, (model.height, model.width))
    if {fit.name for fit in fits} == {"yolov10", "detections"}:
        suppresses = any("NonMaxSuppression" in node.op_type for node in graph.nodes.values())
        fits = [fit for fit in fits if (fit.name == "detections") == suppresses]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise ModelError(
            f"the model's outputs ({shown(shapes)}) fit no head ({', '.join(heads)})",
            "Only classifiers and these detectors can be evaluated; export the model so, or add a "
            "head (CONTRIBUTING.md)",
        )
    names = ", ".join(fit.name for fit in fits)
    raise ModelError(
        f"the model's outputs ({shown(shapes)}) fit the heads {names}",
        f"Choose one: model.head={fits[0].name}",
    )


def output_shapes(graph: Graph) -> list[Shape]:
    """Of every output, at batch 1; raises ModelError where one cannot be inferred."""
    return [graph.shape(name) for name in graph.output_names]


def _accepts(
    head: Head, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int
) -> bool:
    try:
        head.check(shapes, input_size, n_classes)
    except ModelError:
        return False
    return True
