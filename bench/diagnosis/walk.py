"""Alternative outputs of one unit of a network at a time, and the network's outputs for them.

The network is run through once. At each unit the values before it are known for every image; the
unit's output is computed in alternative ways, and only the rest of the network is run for each. So
a unit costs half a pass on average per alternative.

What comes behind is cut in two: a short piece up to the end of a stretch of units, compiled for
each unit, and the rest of the network, compiled once for the stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bench.diagnosis.unit import Unit, labelled
from bench.engine.ov_piece import OpenPiece, Workers
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
    with Workers() as workers:
        return list(workers.map(lambda image: whole.outputs({network.input_name: image}), images))


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
    with Workers() as workers:
        for index, (unit, there) in enumerate(zip(units, places, strict=True)):
            _advance(network, values, here, there, workers)
            here = there
            if rest is None or there >= end:
                end = _end_of_stretch(network, places[index:])
                rest = _Rest(network, end)
            alone = [OpenPiece(model) for model in alternatives(unit, values[0])]
            one = _OneUnit(network, unit, there, end, rest, alone, wanted, _Once())
            for changes in workers.map(partial(_changed, one, values), range(len(values))):
                yield from changes
            del alone, one  # what is compiled takes memory, which the next unit needs


def _changed(one: _OneUnit, values: Sequence[Values], number: int) -> list[Changed]:
    return one.change(number, values[number])


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
    behind: _Once

    def change(self, number: int, known: Values) -> list[Changed]:
        """The alternatives of the unit on image ``number``, whose values before it are known."""
        outputs = self.network.outputs(self.there)
        changes = []
        for piece in self.alone:
            labels = labelled(piece.gives, len(outputs))
            labels = {label: made for label, made in labels.items() if self.wanted(label, number)}
            computed = piece.run(known) if labels else {}
            for label, made in labels.items():
                others = {name: computed[one] for name, one in zip(outputs, made, strict=True)}
                changed = {**known, **others}
                behind = self.behind.get(partial(self._stretch, changed))
                given = self.rest.outputs({**changed, **behind.run(changed)})
                changes.append(Changed(self.unit, label, number, given))
        return changes

    def _stretch(self, values: Values) -> onnx.ModelProto:
        return self.network.piece(self.there + 1, self.end, self.rest.reads, values)


class _Rest:
    """The network behind a cut, compiled when it is first run."""

    def __init__(self, network: CuttableNetwork, start: int) -> None:
        self._network, self._start = network, start
        self._piece = _Once()
        self.reads = network.needed(start)

    def outputs(self, values: Values) -> list[npt.NDArray[Any]]:
        """The network's outputs, from what crosses the cut or is an output before it."""
        network, names = self._network, self._network.output_names
        piece = self._piece.get(lambda: network.piece(self._start, network.end, names, values))
        result = {**values, **piece.run(values)}
        return [result[name] for name in names]


class _Once:
    """A piece that is cut when a thread first needs it, as its inputs' shapes are known then."""

    def __init__(self) -> None:
        self._piece: OpenPiece | None = None
        self._lock = Lock()

    def get(self, cut: Callable[[], onnx.ModelProto]) -> OpenPiece:
        """The piece that the first ``cut`` gave."""
        with self._lock:
            if self._piece is None:
                self._piece = OpenPiece(cut())
            return self._piece


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
    workers: Workers,
) -> None:
    """Go on from one cut to a later one, and forget what is not read behind it."""
    crossing = network.crossing(there)
    piece = OpenPiece(network.piece(here, there, crossing, values[0]))
    for number, computed in enumerate(workers.map(piece.run, values)):
        reached = {**values[number], **computed}
        values[number] = {name: reached[name] for name in crossing}
