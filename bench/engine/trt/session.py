"""From a built engine to a session that tells its INT8 layers, its times and its memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx

from bench.engine.base import Description, DeviceFacts
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Built
from bench.engine.trt.inspector import read_layers
from bench.engine.trt.runtime import TensorRtSession
from bench.model.graph import COMPUTE_OPS

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

ENOUGH_FOR_P99 = 100
"""Calls: of fewer none lies above."""


def open_session(
    trt: TensorRT, built: Built, model: onnx.ModelProto, graphs: bool = False, streams: int = 1
) -> TensorRtSession:
    """Load the engine that was built of ``model``; LoadError if TensorRT cannot."""
    outputs = [value.name for value in model.graph.output]
    products = frozenset(n.name for n in model.graph.node if n.op_type in COMPUTE_OPS)

    def describe(session: TensorRtSession) -> Description:
        return _describe(trt, session, built, products)

    return TensorRtSession(trt, built.plan, outputs, graphs, streams, describe)


def _describe(
    trt: TensorRT, session: TensorRtSession, built: Built, products: frozenset[str]
) -> Description:
    """What of ``products`` ran in INT8, and what the GPU says, while it is warm from the timing.

    Raises EngineError if the session has not run.
    """
    engine, gpu = session.engine, find_gpu()
    calls = session.device_ms()
    p50, p90, p99 = np.percentile(calls, (50, 90, 99)).tolist()
    if len(calls) < ENOUGH_FOR_P99:
        p99 = math.nan
    throughput = session.device_throughput()
    inspector = engine.create_engine_inspector()
    layers = read_layers(
        inspector.get_engine_information(trt.LayerInformationFormat.JSON), products
    )
    newer = hasattr(engine, "device_memory_size_v2")
    memory = engine.device_memory_size_v2 if newer else engine.device_memory_size
    facts = DeviceFacts(
        str(gpu), p50, p90, p99, throughput, memory / 1e6, gpu.clock_mhz(), gpu.temperature_c(),
        len(built.plan), built.seconds,
    )  # fmt: skip
    return Description(layers.int8_nodes, layers.int8_layers, layers.layers, facts)
