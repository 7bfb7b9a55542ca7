"""From a built engine to a session that reports its INT8 layers, its size and its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from bench.engine.base import Description, DeviceFacts
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Built
from bench.engine.trt.inspector import read_layers, read_nodes
from bench.engine.trt.runtime import TensorRtSession
from bench.model.graph import COMPUTE_OPS

if TYPE_CHECKING:
    from tensorrt_api import TensorRT


def open_session(
    trt: TensorRT,
    built: Built,
    model: onnx.ModelProto,
    graphs: bool | None = None,
    streams: int = 1,
) -> TensorRtSession:
    """Load the engine that was built from ``model``; LoadError if TensorRT cannot."""
    outputs = [value.name for value in model.graph.output]
    products = frozenset(n.name for n in model.graph.node if n.op_type in COMPUTE_OPS)

    def describe(session: TensorRtSession) -> Description:
        return _describe(trt, session, built, products)

    def nodes(session: TensorRtSession) -> dict[str, tuple[str, ...]]:
        return read_nodes(_information(trt, session), (node.name for node in model.graph.node))

    return TensorRtSession(trt, built.plan.content, outputs, graphs, streams, describe, nodes)


def _information(trt: TensorRT, session: TensorRtSession) -> str:
    """What the engine's inspector says, as JSON."""
    inspector = session.engine.create_engine_inspector()
    return inspector.get_engine_information(trt.LayerInformationFormat.JSON)


def _describe(
    trt: TensorRT, session: TensorRtSession, built: Built, products: frozenset[str]
) -> Description:
    """Which of ``products`` run in INT8, and what is known about the engine."""
    engine = session.engine
    layers = read_layers(_information(trt, session), products)
    newer = hasattr(engine, "device_memory_size_v2")
    memory = engine.device_memory_size_v2 if newer else engine.device_memory_size
    facts = DeviceFacts(
        str(find_gpu()), memory / 1e6, len(built.plan.content), built.seconds,
        built.plan.missing_scales,
    )  # fmt: skip
    return Description(layers.int8_nodes, layers.int8_layers, layers.layers, facts)
