"""Whether an engine's INT8 kernels compute a Q/DQ file as it is written, on this processor.

On x86 without VNNI or AMX they add the products of unsigned and signed bytes in pairs in int16
(``vpmaddubsw``), which saturates: a network then loses accuracy that the INT8 file does not lose.
No list of processors decides but a measurement, on networks whose exact results are known.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import onnx

from bench import environment
from bench.cache import cached, content_key
from bench.engine.base import AccuracyBy, Emulating, Engine, Session
from bench.engine.probe_networks import ProbeNetwork, probe_networks
from bench.errors import EngineError

VERSION = 1
"""To be raised with every change to the networks or to how they are judged."""

MOST_STEPS, MOST_SHARE = 2.0, 0.01
"""What rounding explains: a value halfway between two steps now and then falls on the other side,
in at most so many of the outputs, and moves a result by at most so many steps."""


@dataclass(frozen=True)
class ProbeResult:
    """How many ``networks`` were run, of which so many in ``int8``, and the names of those with a
    wrong result. ``worst`` is the largest error among all, in steps of the last quantization.
    """

    networks: int
    int8: int
    wrong: tuple[str, ...]
    worst: float

    @property
    def exact(self) -> bool:
        return not self.wrong

    @property
    def told(self) -> str:
        """In words: "48 of 56 small networks wrong, such as: 1x1 convolution of 3 channels"."""
        if self.exact:
            return f"all {self.networks} small networks exact"
        return (
            f"{len(self.wrong)} of {self.networks} small networks wrong, such as: {self.wrong[0]}"
        )


def probe(engine: Engine, build: Callable[[onnx.ModelProto], Session]) -> ProbeResult:
    """Run every network of the engine's schemes in the sessions that ``build`` makes.

    Raises EngineError if a session cannot be built or run.
    """
    wrong, int8, worst = list[str](), 0, 0.0
    networks = [one for one in probe_networks() if one.scheme in engine.schemes]
    for network in networks:
        steps, in_int8 = _run(network, build)
        int8 += in_int8
        worst = max(worst, float(steps.max()))
        if steps.max() > MOST_STEPS or (steps > 0.25).mean() > MOST_SHARE:
            wrong.append(network.name)
    return ProbeResult(len(networks), int8, tuple(wrong), worst)


def _run(
    network: ProbeNetwork, build: Callable[[onnx.ModelProto], Session]
) -> tuple[npt.NDArray[np.float64], bool]:
    """Every output's error in steps, float64, and whether the product ran in INT8."""
    with build(network.model) as session:
        (found,) = session.run(network.batch)
        ran = session.describe().int8_nodes or frozenset()
    steps = np.abs(found.astype(np.float64) - network.expected) / network.step
    return np.where(np.isnan(steps), np.inf, steps), network.product in ran


def probe_kernels(engine: Engine, cache: Path) -> ProbeResult:
    """Of the INT8 kernels; once for an engine's version and options on a processor."""
    return _remember(engine, cache, "kernels", engine.build)


def probe_emulation(engine: Engine, cache: Path) -> ProbeResult:
    """Of the exact emulation, likewise; the engine must be ``Emulating``."""
    assert isinstance(engine, Emulating)
    return _remember(engine, cache, "emulation", engine.build_exact)


def _remember(
    engine: Engine, cache: Path, what: str, build: Callable[[onnx.ModelProto], Session]
) -> ProbeResult:
    key = content_key(
        VERSION, engine.name, engine.version, engine.options, what, environment.hardware()
    )

    def compute() -> Callable[[BinaryIO], object]:
        content = json.dumps(asdict(probe(engine, build)), indent=1).encode()
        return lambda file: file.write(content)

    return cached(cache / f"probe-{key}.json", _load, compute)


def _load(path: Path) -> ProbeResult:
    values = json.loads(path.read_text())
    return ProbeResult(**values | {"wrong": tuple(values["wrong"])})


def settle_accuracy_by(engine: Engine, cache: Path) -> AccuracyBy:
    """What an engine's accuracies are to be computed with, on this processor.

    Raises EngineError where an exact emulation is needed, and is not exact itself.
    """
    if not isinstance(engine, Emulating) or engine.accuracy_by == "kernels":
        return "int8 kernels"
    if engine.accuracy_by == "probe" and probe_kernels(engine, cache).exact:
        return "int8 kernels"
    emulation = probe_emulation(engine, cache)
    if not emulation.exact:
        raise EngineError(
            f"{engine.name} {engine.version} computes INT8 wrongly on this processor, and so does "
            f"its emulation in float: {emulation.told}",
            "Install the pinned versions, or take another engine",
        )
    return "exact emulation"
