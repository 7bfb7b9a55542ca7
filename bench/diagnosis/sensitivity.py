"""The effect of each unit in INT8 on the network's outputs, and the gain of float there.

Four measurements of a unit: it alone in INT8, with all of its inputs, its weights only, or its
activations only; and everything except it in INT8. AIMET's QuantAnalyzer measures the first and the
last by whole evaluations; here a unit costs half a pass (``bench.diagnosis.walk``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from bench.diagnosis.mixed import MixedModels
from bench.diagnosis.noise import Noise, NoiseMeter
from bench.diagnosis.unit import Precision, Unit, UnitModels, plain_inputs
from bench.diagnosis.walk import Changed, network_outputs, walk
from bench.model.cut import CuttableNetwork, Values
from bench.model.heads.base import Head

Array = npt.NDArray[np.float32]

ALONE: dict[str, Precision] = {
    "int8": "int8", "int8_weights": "int8_weights", "int8_activations": "int8_activations",
}  # fmt: skip
ALL_BUT: dict[str, Precision] = {"float": "float"}

FEW = 4
"""Images of each set for all measurements except the first."""


@dataclass(frozen=True, eq=False)
class Networks:
    """An FP32 network and its Q/DQ form, ready to be walked through.

    ``units`` in the order in which the network computes them.
    """

    fp32: onnx.ModelProto
    qdq: onnx.ModelProto
    input_name: str
    units: tuple[Unit, ...]
    head: Head

    @property
    def in_float(self) -> CuttableNetwork:
        return CuttableNetwork(self.fp32, self.input_name, plain_inputs(self.units))

    @property
    def in_int8(self) -> CuttableNetwork:
        return CuttableNetwork(self.qdq, self.input_name, plain_inputs(self.units))


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What was measured of a unit, by set of images: see ``measure_sensitivity``."""

    unit: Unit
    alone: Mapping[str, Noise]
    weights_alone: Mapping[str, Noise]
    activations_alone: Mapping[str, Noise]
    all_but: Mapping[str, Noise]


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Of every unit, and of the network with all of them in INT8; by set of images."""

    units: tuple[Sensitivity, ...]
    all_int8: Mapping[str, Noise]


Report = Callable[[str, int, int], None]
"""Called with a stage, and how many of its steps are done."""


def silent(stage: str, done: int, total: int) -> None:
    """A report function that does nothing."""


def measure_sensitivity(
    networks: Networks,
    sets: Mapping[str, Sequence[Callable[[], Array]]],
    report: Report = silent,
) -> Sensitivities:
    """Measure every unit on ``sets`` of images, each given by functions that make one."""
    images = [(name, image) for name, group in sets.items() for image in group]
    places = [place for group in sets.values() for place in range(len(group))]
    first = [number for number, place in enumerate(places) if place < FEW]
    few = [images[number] for number in first]
    float_network, meter = networks.in_float, _meter(networks, images)
    models = UnitModels(networks.fp32, networks.qdq)
    alone = collect(
        walk(
            float_network,
            networks.units,
            _alternatives(models, ALONE, report, "layers alone in INT8", len(networks.units)),
            (image() for _, image in images),
            lambda label, number: label == "int8" or number in first,
        ),
        meter,
        lambda number: images[number][0],
    )
    meter = _meter(networks, few)
    int8_network = networks.in_int8
    all_int8 = _noise_of(int8_network, few, meter)
    all_but = collect(
        walk(
            int8_network,
            networks.units,
            _alternatives(models, ALL_BUT, report, "all layers but one", len(networks.units)),
            (image() for _, image in few),
        ),
        meter,
        lambda number: few[number][0],
    )
    return Sensitivities(
        tuple(
            Sensitivity(
                unit,
                _of(alone, unit, "int8"),
                _of(alone, unit, "int8_weights"),
                _of(alone, unit, "int8_activations"),
                _of(all_but, unit, "float"),
            )
            for unit in networks.units
        ),
        all_int8,
    )


def measure_groups(
    networks: Networks,
    groups: Mapping[str, Sequence[str]],
    sets: Mapping[str, Sequence[Callable[[], Array]]],
    report: Report = silent,
) -> dict[str, dict[str, Noise]]:
    """What each group of units does, together alone in INT8, on the first few images of each set:
    by group and set."""
    few = [(name, image) for name, group in sets.items() for image in group[:FEW]]
    meter = _meter(networks, few)
    models = MixedModels(networks.fp32, networks.qdq, networks.units)
    measured: dict[str, dict[str, Noise]] = {}
    for done, (group, units) in enumerate(groups.items()):
        report("blocks alone in INT8", done, len(groups))
        network = CuttableNetwork(models.with_int8(units), networks.input_name)
        measured[group] = _noise_of(network, few, meter)
    report("blocks alone in INT8", len(groups), len(groups))
    return measured


def collect(
    changes: Iterable[Changed], meter: NoiseMeter, group: Callable[[int], str] = lambda _: ""
) -> dict[tuple[str, str, str], Noise]:
    """The noise of (unit, label, group of images)."""
    sums: dict[tuple[str, str, str], Noise] = {}
    for change in changes:
        key = change.unit.name, change.label, group(change.image)
        meter.add(change.image, change.outputs, sums.setdefault(key, Noise()))
    return sums


def _meter(networks: Networks, images: Sequence[tuple[str, Callable[[], Array]]]) -> NoiseMeter:
    reference = network_outputs(networks.in_float, (image() for _, image in images))
    return NoiseMeter(networks.head, reference)


def _noise_of(
    network: CuttableNetwork,
    images: Sequence[tuple[str, Callable[[], Array]]],
    meter: NoiseMeter,
) -> dict[str, Noise]:
    """The noise of a whole network, by set of images."""
    of_sets: dict[str, Noise] = {}
    outputs = network_outputs(network, (image() for _, image in images))
    for number, (name, _) in enumerate(images):
        meter.add(number, outputs[number], of_sets.setdefault(name, Noise()))
    return of_sets


def _alternatives(
    models: UnitModels, precisions: Mapping[str, Precision], report: Report, stage: str, total: int
) -> Callable[[Unit, Values], Iterable[onnx.ModelProto]]:
    done = 0

    def make(unit: Unit, values: Values) -> Iterable[onnx.ModelProto]:
        nonlocal done
        done += 1
        report(stage, done, total)
        return [models.model(unit, precisions, values)]

    return make


def _of(sums: Mapping[tuple[str, str, str], Noise], unit: Unit, label: str) -> dict[str, Noise]:
    return {
        group: noise
        for (name, by, group), noise in sums.items()
        if (name, by) == (unit.name, label)
    }
