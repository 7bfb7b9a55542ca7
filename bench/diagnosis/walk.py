"""Other outputs of one unit of a network at a time, and what the network makes of them.

The network is walked through once. At each unit the values up to it are there for every image; the
unit's output is computed in other ways, and only what comes behind it is run for each. So a unit
costs half a pass on average for each way.

What comes behind is cut in two: a short piece up to the end of a stretch of units, compiled for
each unit, and the rest of the network, compiled once for the stretch.
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

STRETCH = range(5, 11)
"""Units of a stretch: as many of these as let the fewest tensors cross its end."""


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
    whole = _Rest(network, 0)
    return [whole.outputs({network.input_name: image}) for image in images]


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
    places = [network.position(unit.name) for unit in units]
    here, end = 0, 0
    rest: _Rest | None = None
    for index, (unit, there) in enumerate(zip(units, places, strict=True)):
        _advance(network, values, here, there)
        here = there
        if rest is None or there >= end:
            end = _end_of_stretch(network, places[index:])
            rest = _Rest(network, end)
        alone = [OpenPiece(model) for model in alternatives(unit, values[0])]
        one = _OneUnit(network, unit, there, end, rest, alone, wanted)
        for number, known in enumerate(values):
            yield from one.change(number, known)


@dataclass(eq=False)
class _OneUnit:
    """What is compiled for a unit: its alternatives, and the network behind it in two pieces."""

    network: CuttableNetwork
    unit: Unit
    there: int
    end: int
    rest: _Rest
    alone: Sequence[OpenPiece]
    wanted: Callable[[str, int], bool]
    behind: OpenPiece | None = None

    def change(self, number: int, known: Values) -> Iterator[Changed]:
        """The alternatives of the unit on image ``number``, whose values before it are known."""
        outputs = self.network.outputs(self.there)
        for piece in self.alone:
            labels = labelled(piece.gives, len(outputs))
            labels = {label: made for label, made in labels.items() if self.wanted(label, number)}
            computed = piece.run(known) if labels else {}
            for label, made in labels.items():
                others = {name: computed[one] for name, one in zip(outputs, made, strict=True)}
                changed = {**known, **others}
                if self.behind is None:
                    gives = self.rest.reads
                    stretch = self.network.piece(self.there + 1, self.end, gives, changed)
                    self.behind = OpenPiece(stretch)
                given = self.rest.outputs({**changed, **self.behind.run(changed)})
                yield Changed(self.unit, label, number, given)


class _Rest:
    """The network behind a cut, compiled when it is first run."""

    def __init__(self, network: CuttableNetwork, start: int) -> None:
        self._network, self._start = network, start
        self._piece: OpenPiece | None = None
        self.reads = network.needed(start)

    def outputs(self, values: Values) -> list[npt.NDArray[Any]]:
        """The network's outputs, from what crosses the cut or is an output before it."""
        names = self._network.output_names
        if self._piece is None:
            end = self._network.end
            self._piece = OpenPiece(self._network.piece(self._start, end, names, values))
        result = {**values, **self._piece.run(values)}
        return [result[name] for name in names]


def _end_of_stretch(network: CuttableNetwork, places: Sequence[int]) -> int:
    """The cut that ends the stretch which begins at the first of these units' ``places``."""
    ends = [places[count] for count in STRETCH if count < len(places)]
    if len(places) <= STRETCH.stop:
        return network.end
    return min(ends, key=lambda place: len(network.needed(place)))


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
