"""Whether an engine's INT8 kernels compute a Q/DQ file as it is written, on this processor.

On x86 without VNNI or AMX they add the products of unsigned and signed bytes in pairs in int16
(``vpmaddubsw``), which saturates: a network then loses accuracy that the INT8 file does not lose.
So small networks are measured whose exact results are known; no list of processors decides.
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
from bench.sealed import read_sealed, sealed

VERSION = 4
"""Increase it with every change to the networks, to their judgement, to how an engine makes its
sessions, or to the stored file: results are then measured again."""

MOST_STEPS, MOST_SHARE = 2.0, 0.01
"""Allowed for rounding: no output is more than 2 steps off, and at most 1 % of them are more than a
quarter of a step off."""


@dataclass(frozen=True)
class ProbeResult:
    """How many ``networks`` were run, how many of them in INT8, and which had a wrong result:
    ``wrong`` have a product in INT8, ``wrong_in_float`` none. ``worst`` is the largest error of
    all, in steps of the last quantization.
    """

    networks: int
    int8: int
    wrong: tuple[str, ...]
    wrong_in_float: tuple[str, ...]
    worst: float

    @property
    def exact(self) -> bool:
        return not self.wrong and not self.wrong_in_float

    @property
    def summary(self) -> str:
        """In words: "58 of 74 small networks wrong, such as: 1x1 convolution of 3 channels"."""
        if self.exact:
            return f"all {self.networks} small networks exact, {self.int8} in INT8"
        wrong = (*self.wrong, *self.wrong_in_float)
        return f"{len(wrong)} of {self.networks} small networks wrong, such as: {wrong[0]}"


def probe(engine: Engine, build: Callable[[onnx.ModelProto], Session]) -> ProbeResult:
    """Run every network of the engine's schemes in the sessions that ``build`` makes.

    Raises EngineError if a session cannot be built or run.
    """
    wrong, wrong_in_float, int8, worst = list[str](), list[str](), 0, 0.0
    networks = [one for one in probe_networks() if one.scheme in engine.schemes]
    for network in networks:
        steps, in_int8 = _run(network, build)
        int8 += in_int8
        worst = max(worst, float(steps.max()))
        if steps.max() > MOST_STEPS or (steps > 0.25).mean() > MOST_SHARE:
            (wrong if network.product else wrong_in_float).append(network.name)
    return ProbeResult(len(networks), int8, tuple(wrong), tuple(wrong_in_float), worst)


def _run(
    network: ProbeNetwork, build: Callable[[onnx.ModelProto], Session]
) -> tuple[npt.NDArray[np.float64], bool]:
    """Every output's error in steps, float64, and whether the product ran in INT8."""
    with build(network.model) as session:
        (output,) = session.run(network.batch)
        ran = session.describe().int8_nodes or frozenset()
    steps = np.abs(output.astype(np.float64) - network.expected) / network.step
    return np.nan_to_num(steps, nan=1e9, posinf=1e9), network.product in ran


def probe_kernels(engine: Engine, cache: Path) -> ProbeResult:
    """Probe the INT8 kernels, once for an engine's version and options on a processor."""
    return _remember(engine, cache, "kernels", engine.build)


def probe_emulation(engine: Engine, cache: Path) -> ProbeResult:
    """Probe the exact emulation, likewise; the engine must be ``Emulating``."""
    assert isinstance(engine, Emulating)
    return _remember(engine, cache, "emulation", engine.build_exact)


def _remember(
    engine: Engine, cache: Path, what: str, build: Callable[[onnx.ModelProto], Session]
) -> ProbeResult:
    key = content_key(
        VERSION, engine.name, engine.version, engine.options, what, environment.hardware()
    )

    path = cache / f"probe-{key}.json"

    def compute() -> Callable[[BinaryIO], object]:
        content = json.dumps(asdict(probe(engine, build)), indent=1).encode()
        return sealed(path, lambda file: file.write(content))

    return cached(path, _load, compute)


def _load(path: Path) -> ProbeResult:
    values = json.loads(read_sealed(path))
    names = {name: tuple(values[name]) for name in ("wrong", "wrong_in_float")}
    return ProbeResult(**values | names)


def settle_accuracy_by(engine: Engine, cache: Path) -> AccuracyBy:
    """What an engine's accuracies are to be computed with, on this processor.

    Raises EngineError where float layers are not computed in FP32, and where an exact emulation is
    needed and is not exact itself.
    """
    if not isinstance(engine, Emulating):
        return "int8 kernels"
    kernels = probe_kernels(engine, cache)
    if kernels.wrong_in_float:
        raise EngineError(
            f"{engine.name} {engine.version} does not compute float layers in FP32 on this "
            f"processor ({kernels.wrong_in_float[0]})",
            "Install the pinned versions, or use another engine",
        )
    if engine.accuracy_by == "kernels" or (engine.accuracy_by == "probe" and kernels.exact):
        return "int8 kernels"
    emulation = probe_emulation(engine, cache)
    if not emulation.exact:
        raise EngineError(
            f"{engine.name} {engine.version} computes a Q/DQ file wrongly on this processor, in "
            f"float too: {emulation.summary}",
            "Install the pinned versions, or use another engine",
        )
    return "exact emulation"
