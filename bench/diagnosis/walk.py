"""Other outputs of one unit of a network at a time, and what the network makes of them.

The network is walked through once. At each unit the values up to it are there for every image; the
unit's outputs are computed in other ways, and only what comes behind it is run for each. So a unit
costs half a pass on average for each way, and one compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bench.diagnosis.unit import Unit, labelled
from bench.engine.ov_piece import OpenPiece
from bench.model.cut import CuttableNetwork, Values

Array = npt.NDArray[np.float32]

Alternatives = Callable[[Unit, Values], Iterable[onnx.ModelProto]]
"""Models of a unit, from its plain inputs; each computes its outputs in other ways, by label (see
``labelled``)."""


@dataclass(frozen=True, eq=False)
class Changed:
    """The network's outputs for image number ``image``, with one of a unit's alternatives, by its
    label."""

    unit: Unit
    label: str
    image: int
    outputs: Sequence[npt.NDArray[Any]]


def network_outputs(network: CuttableNetwork, images: Iterable[Array]) -> list[list[Array]]:
    """The network's outputs for each image, (1, 3, height, width)."""
    whole: OpenPiece | None = None
    outputs = []
    for image in images:
        values = {network.input_name: image}
        if whole is None:
            whole = OpenPiece(network.piece(0, network.end, network.output_names, values))
        result = {**values, **whole.run(values)}
        outputs.append([result[name] for name in network.output_names])
    return outputs


def walk(
    network: CuttableNetwork,
    units: Sequence[Unit],
    alternatives: Alternatives,
    images: Iterable[Array],
    wanted: Callable[[str, int], bool] = lambda label, image: True,
) -> Iterator[Changed]:
    """Every alternative of every unit on every image, unit by unit; ``wanted`` leaves some out, by
    label and number of the image.

    ``network`` may have the other units in float or in INT8; it carries the plain inputs of every
    unit up to it (``also_read``). Raises EngineError for a piece that cannot be run.
    """
    values: list[Mapping[str, npt.NDArray[Any]]] = [{network.input_name: i} for i in images]
    here = 0
    for unit in units:
        there = network.position(unit.name)
        _advance(network, values, here, there)
        here = there
        alone = [OpenPiece(model) for model in alternatives(unit, values[0])]
        outputs, behind = network.outputs(there), None
        for number, known in enumerate(values):
            for piece in alone:
                labels = labelled(piece.gives, len(outputs))
                labels = {label: made for label, made in labels.items() if wanted(label, number)}
                computed = piece.run(known) if labels else {}
                for label, made in labels.items():
                    others = {name: computed[one] for name, one in zip(outputs, made, strict=True)}
                    changed = {**known, **others}
                    if behind is None:
                        rest = network.piece(there + 1, network.end, network.output_names, changed)
                        behind = OpenPiece(rest)
                    result = {**changed, **behind.run(changed)}
                    given = [result[name] for name in network.output_names]
                    yield Changed(unit, label, number, given)


def _advance(
    network: CuttableNetwork,
    values: list[Mapping[str, npt.NDArray[Any]]],
    here: int,
    there: int,
) -> None:
    """Go on from one cut to a later one, and forget what is not read behind it."""
    crossing = network.crossing(there)
    piece = OpenPiece(network.piece(here, there, crossing, values[0]))
    for number, known in enumerate(values):
        reached = {**known, **piece.run(known)}
        values[number] = {name: reached[name] for name in crossing}
