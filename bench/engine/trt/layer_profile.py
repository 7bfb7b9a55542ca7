"""Times of an engine's layers, by TensorRT's profiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.engine.base import Array, LayerTime

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

    from bench.engine.trt.runtime import Lane

WARM_UP = 10


def profile_lane(
    trt: TensorRT, lane: Lane, batch: Array, runs: int, nodes: Mapping[str, Sequence[str]]
) -> list[LayerTime]:
    """Least times over ``runs`` inferences of a lane without a graph, which ends with it.

    ``nodes``: the ONNX nodes behind each layer of the engine. An execution reports to the context's
    profiler when it ends (IExecutionContext::setEnqueueEmitsProfile, on by default). Layers that
    were reported in no more than the first inferences are left out.
    """
    times: dict[str, list[float]] = {}

    class Profiler(trt.IProfiler):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.setdefault(layer_name, []).append(ms)

    lane.run(batch)
    lane.report_to(Profiler())
    for _ in range(WARM_UP + runs):
        lane.run(batch)
    return [
        LayerTime(tuple(nodes.get(name, ())), min(of[WARM_UP:]))
        for name, of in times.items()
        if len(of) > WARM_UP
    ]
