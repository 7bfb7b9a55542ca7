"""Which layers to put into float first: those with the most noise per computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from bench.diagnosis.noise import NoiseMeter
from bench.diagnosis.sensitivity import collect
from bench.diagnosis.unit import Unit, UnitModels, plain_inputs, units_of
from bench.diagnosis.walk import network_outputs, walk
from bench.model.cut import CuttableNetwork, Values
from bench.model.graph import Graph
from bench.model.heads.base import Head
from bench.quantization.plan import QuantizationPoints

Array = npt.NDArray[np.float32]

LEAST_COST = 0.001
"""Fixed cost of a layer in float, as a share of the network's multiply-accumulates: its neighbours
must be requantized, even if it computes little."""


FEWEST_IMAGES, MOST_IMAGES = 4, 32
VALUES = 2_000_000
"""Output values that noise is to be measured on, within these numbers of images."""


def images_for(graph: Graph) -> int:
    """How many images are needed to measure the noise: fewer if each has more output values."""
    values = sum(math.prod(graph.shape(name)) for name in graph.output_names)
    return min(max(-(-VALUES // values), FEWEST_IMAGES), MOST_IMAGES)


@dataclass(frozen=True, eq=False)
class Quantized:
    """The network in INT8 throughout, calibrated in one way."""

    qdq: onnx.ModelProto
    points: QuantizationPoints


@dataclass(frozen=True)
class Ranking:
    """The layers of one way to calibrate: ``noise`` at the outputs by each of them alone in INT8
    (noise over signal), ``mac_shares`` of the network, and ``order``: first to be in float."""

    noise: Mapping[str, float]
    mac_shares: Mapping[str, float]

    @classmethod
    def of(cls, members: Mapping[str, Mapping[str, float]]) -> Ranking:
        """From JSON; raises TypeError, KeyError, ValueError or AttributeError for anything else."""
        noise, shares = members["noise"], members["mac_shares"]
        if not noise.keys() <= shares.keys():
            raise ValueError("a layer without its share")
        return cls(
            {name: float(value) for name, value in noise.items()},
            {name: float(value) for name, value in shares.items()},
        )

    @property
    def order(self) -> list[str]:
        return sorted(
            self.noise,
            key=lambda name: self.noise[name] / max(self.mac_shares[name], LEAST_COST),
            reverse=True,
        )

    def nested(
        self, largest_share: float = 1.0, most_layers: int | None = None
    ) -> list[tuple[str, ...]]:
        """Sets of layers in float, each with one more than the last; the first is empty. A layer
        that would put more than ``largest_share`` of the work into float is left out. If only
        ``most_layers`` may be in float, the noisiest come first, however much they compute."""
        order = self.order
        if most_layers is not None:
            order = sorted(self.noise, key=lambda name: -self.noise[name])
        sets: list[tuple[str, ...]] = [()]
        spent = 0.0
        for name in order:
            if spent + self.mac_shares[name] <= largest_share + 1e-9:
                spent += self.mac_shares[name]
                sets.append((*sets[-1], name))
        return sets if most_layers is None else sets[: most_layers + 1]

    def noise_with(self, in_float: Iterable[str]) -> float:
        """The remaining noise, assuming that layers do not interact."""
        left = set(self.noise) - set(in_float)
        return sum(self.noise[name] for name in left)


def rank_layers(
    fp32: onnx.ModelProto,
    graph: Graph,
    ways: Sequence[Quantized],
    head: Head,
    images: Sequence[Callable[[], Array]],
) -> list[Ranking]:
    """A ranking for each of ``ways``, from one walk through the network on ``images``, each given
    by a function that makes (1, 3, height, width)."""
    units = [{unit.name: unit for unit in units_of(way.points, graph)} for way in ways]
    models = [UnitModels(fp32, way.qdq) for way in ways]
    every = _merged(units, graph)
    network = CuttableNetwork(fp32, graph.input_name, plain_inputs(every))
    meter = NoiseMeter(head, network_outputs(network, (image() for image in images)))

    def alternatives(unit: Unit, values: Values) -> Iterable[onnx.ModelProto]:
        for number, known in enumerate(units):
            if unit.name in known:
                yield models[number].model(known[unit.name], {f"way {number}": "int8"}, values)

    noise = collect(walk(network, every, alternatives, (image() for image in images)), meter)
    whole = sum(graph.macs(name) for name in graph.compute)
    shares = {
        unit.name: graph.macs(unit.name) / whole if unit.name in graph.compute else 0.0
        for unit in every
    }
    return [
        Ranking({name: noise[name, f"way {number}", ""].share for name in known}, shares)
        for number, known in enumerate(units)
    ]


def _merged(units: Sequence[Mapping[str, Unit]], graph: Graph) -> tuple[Unit, ...]:
    """Every layer of any way, with all activations that any of them quantizes."""
    read: dict[str, dict[str, None]] = {}
    for known in units:
        for unit in known.values():
            read.setdefault(unit.name, {}).update(dict.fromkeys(unit.activations))
    return tuple(Unit(name, tuple(read[name])) for name in graph.nodes if name in read)
