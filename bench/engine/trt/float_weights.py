"""Weights in a Q/DQ file as TensorRT before 10 takes them: in FP32, behind a QuantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from bench.model.edit import copy_of, set_nodes


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose INT8 weights are FP32 values on the same grid, quantized in the graph.

    TensorRT 8 has no constants of INT8 ("invalid weights type of Int8", NVIDIA/TensorRT issue 2163
    and microsoft/onnxruntime issue 11535), and expects the weights of a product behind one
    QuantizeLinear and one DequantizeLinear (a message of its library). Quantizing values on the
    grid gives the same integers again, so nothing else changes.
    """
    copy = copy_of(model)
    graph = copy.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        weights = stored.pop(node.input[0], None) if node.op_type == "DequantizeLinear" else None
        if weights is not None:
            name, (scale, zero_point) = weights.name, node.input[1:]
            axis = _axis(node)
            weights.CopyFrom(_in_float(weights, stored[scale], axis))
            inputs = [weights.name, scale, zero_point]
            nodes.append(
                helper.make_node(
                    "QuantizeLinear", inputs, [name], name=f"{name}/QuantizeLinear", axis=axis
                )
            )
        nodes.append(node)
    set_nodes(graph, nodes)
    return copy


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _in_float(weights: onnx.TensorProto, scale: onnx.TensorProto, axis: int) -> onnx.TensorProto:
    steps, step = numpy_helper.to_array(weights), numpy_helper.to_array(scale)
    if step.ndim:
        step = step.reshape([-1 if i == axis else 1 for i in range(steps.ndim)])
    return numpy_helper.from_array(steps.astype(np.float32) * step, f"{weights.name}/float")
