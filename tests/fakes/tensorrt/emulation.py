"""What the stand-in computes with: an ONNX file in ONNX Runtime, simply quantized."""

import json
import struct
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
LAYERS = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MatMul": "MATRIX_MULTIPLY",
    "Concat": "CONCATENATION", "Split": "SLICE", "Slice": "SLICE", "Shape": "SHAPE",
    "Identity": "IDENTITY", "Gather": "GATHER", "Softmax": "SOFTMAX", "Resize": "RESIZE",
    "MaxPool": "POOLING", "AveragePool": "POOLING", "GlobalAveragePool": "REDUCE",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Constant": "CONSTANT",
    **dict.fromkeys(("Relu", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"), "ACTIVATION"),
    **dict.fromkeys(("Add", "Mul", "Sub", "Div"), "ELEMENTWISE"),
    **dict.fromkeys(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"), "SHUFFLE"),
}  # fmt: skip
MOVING = {"CONSTANT", "CONCATENATION", "SHUFFLE", "SLICE", "SHAPE", "GATHER", "IDENTITY"}
KINDS = {1: "FLOAT", 10: "HALF", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL"}


@dataclass
class Parsed:
    """A layer as the parser makes it, for ``node`` of the ONNX file."""

    name: str
    kind: str
    inputs: tuple
    outputs: tuple
    node: str = ""
    values: object = None
    op: str | None = None


class Network:
    """A parsed ONNX file."""

    def __init__(self, content):
        self.content = content
        self.proto = onnx.load_from_string(content)
        graph = onnx.shape_inference.infer_shapes(self.proto).graph
        weights = {tensor.name for tensor in graph.initializer}
        (source,) = [value for value in graph.input if value.name not in weights]
        self.input = source.name
        self.outputs = [value.name for value in graph.output]
        self.nodes = list(graph.node)
        known = {v.name: v for v in [source, *graph.value_info, *graph.output]}
        self.tensors = {}
        for name in [self.input, *(o for node in self.nodes for o in node.output)]:
            kind = known[name].type.tensor_type if name in known else None
            dims = tuple(d.dim_value or -1 for d in kind.shape.dim) if kind else ()
            self.tensors[name] = dims, KINDS.get(kind.elem_type, "FLOAT") if kind else "FLOAT"
        self.refused = next((n.op_type for n in self.nodes if n.op_type == "If"), "")
        self.session = None

    def layers(self):
        """The layers that the parser makes: ``Parsed`` in order.

        A Gemm becomes a product and a sum that has the node's output. What stands beside an
        activation in a product or a sum is a constant, reshaped by a shuffle where it is
        broadcast: tensors that no ONNX name tells.
        """
        stored = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        made = []

        def unnamed(kind, word, inputs=(), **more):
            name = f"(Unnamed Layer* {len(made)}) [{word}]"
            made.append(Parsed(name, kind, tuple(inputs), (f"{name}_output",), **more))
            return made[-1].outputs[0]

        def constant(name, node):
            if name not in stored:  # what a DequantizeLinear gives
                return name
            return unnamed("CONSTANT", "Constant", values=stored[name], node=node.name)

        for node in self.nodes:
            if node.op_type == "Gemm":
                weights = constant(node.input[1], node)
                read = [node.input[0], weights]
                product = unnamed("MATRIX_MULTIPLY", "Matrix Multiply", read, node=node.name)
                made[-1].name = node.name
                bias = constant(node.input[2], node)
                wide = unnamed("SHUFFLE", "Shuffle", [bias], node=node.name)
                last = f"{node.name}_bias"
                made.append(
                    Parsed(last, "ELEMENTWISE", (product, wide), tuple(node.output), node.name)
                )
                made[-1].op = "SUM"
                continue
            kind = LAYERS.get(node.op_type, "PLUGIN_V2")
            inputs = list(node.input)
            if kind in ("ELEMENTWISE", "MATRIX_MULTIPLY"):
                inputs = [constant(i, node) for i in inputs]
            else:
                inputs = [i for i in inputs if i in self.tensors]
            made.append(Parsed(node.name, kind, tuple(inputs), tuple(node.output), node.name))
            made[-1].op = {"Add": "SUM", "Mul": "PROD", "Sub": "SUB", "Div": "DIV"}.get(
                node.op_type
            )
        return made

    @property
    def without_kernel_shape(self):
        """Names of convolutions that leave their kernel's shape to weights which a layer makes."""
        made = {o for node in self.nodes for o in node.output}
        return [
            node.name
            for node in self.nodes
            if node.op_type in ("Conv", "ConvTranspose")
            and node.input[1] in made
            and all(own.name != "kernel_shape" for own in node.attribute)
        ]

    @property
    def int8_products(self):
        """Names of the products that read what a DequantizeLinear gives."""
        made = {o: node.op_type for node in self.nodes for o in node.output}
        return {
            node.name
            for node in self.nodes
            if node.op_type in PRODUCTS and made.get(node.input[0]) == "DequantizeLinear"
        }

    @property
    def int8_constants(self):
        """Names of the initializers in INT8 that are more than a zero point."""
        stored = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        return [name for name, values in stored.items() if values.dtype == np.int8 and values.any()]

    def run(self, images):
        if self.session is None:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            # Exactly as the file says, on every processor.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            self.session = ort.InferenceSession(
                self.content, options, providers=["CPUExecutionProvider"]
            )
        return dict(zip(self.outputs, self.session.run(None, {self.input: images}), strict=True))

    def with_every_tensor(self):
        """This network with every float tensor among its outputs."""
        proto = onnx.load_from_string(self.content)
        told = {value.name for value in proto.graph.output}
        for name, (_, kind) in self.tensors.items():
            if name not in told and name != self.input and kind == "FLOAT":
                proto.graph.output.append(helper.make_tensor_value_info(name, 1, None))
        return Network(proto.SerializeToString())

    def inside_fused(self):
        """Outputs of convolutions that a Relu alone reads."""
        readers = {}
        for node in self.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node.op_type)
        return {
            node.output[0]
            for node in self.nodes
            if node.op_type == "Conv" and readers.get(node.output[0]) == ["Relu"]
        }


def calibrate(network, calibrator, header, read, log):
    """Tensor -> amax: from the calibrator's cache if the header is right, else from its batches."""
    cache = calibrator.read_calibration_cache()
    if cache is not None and bytes(cache).split(b"\n", 1)[0].decode() == header:
        return _parse(bytes(cache).decode())
    amax, tensors = {}, network.with_every_tensor()
    shape = network.tensors[network.input][0]
    assert calibrator.get_batch_size() >= 1
    while (pointers := _ask(calibrator, network.input, log)) is not None:
        images = read(pointers[0], shape)  # of a larger batch no more than its beginning
        seen = {network.input: images, **tensors.run(images)}
        for name, values in (seen | unnamed(network, seen)).items():
            if values.dtype == np.float32:
                amax[name] = max(amax.get(name, 0.0), float(np.abs(values).max()))
    if not amax:
        return {}
    kind = header.rpartition("-")[2]
    share = {"MinMaxCalibration": 1.0, "EntropyCalibration2": 0.9, "EntropyCalibration": 0.8}.get(
        kind
    )
    share = calibrator.get_quantile() if share is None else share
    inside = (
        network.inside_fused() if kind in ("EntropyCalibration", "LegacyCalibration") else set()
    )
    words = {
        name: struct.pack(">f", value * share / 127).hex()
        for name, value in amax.items()
        if name not in inside
    }
    text = "\n".join([header, *(f"{name}: {word}" for name, word in words.items())]) + "\n"
    calibrator.write_calibration_cache(memoryview(text.encode()))
    return _parse(text)


def unnamed(network, seen):
    """The values of the tensors that only the parser's layers have."""
    found = {}
    for layer in network.layers():
        (output,) = layer.outputs[:1]
        known = seen | found
        if output in known:
            continue
        if layer.values is not None:
            found[output] = layer.values
        elif layer.kind == "SHUFFLE":
            found[output] = found[layer.inputs[0]]
        elif layer.kind == "MATRIX_MULTIPLY":
            node = next(n for n in network.nodes if n.name == layer.node)
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            weights = known[layer.inputs[1]]
            found[output] = known[layer.inputs[0]] @ (weights.T if turned else weights)
    return found


def _ask(calibrator, name, log):
    try:
        return calibrator.get_batch([name])
    except Exception as error:
        log.log(log.ERROR, f"Exception caught in get_batch(): {error}")
        return None


def _parse(text):
    pairs = (line.rsplit(": ", 1) for line in text.splitlines()[1:])
    return {name: 127 * struct.unpack(">f", bytes.fromhex(word))[0] for name, word in pairs}


def without_scale(network, ranges):
    """Float tensors that have no range, in order; and the nodes beside them, which fall back."""
    missing, nodes = {}, set()
    for layer in network.layers():
        for name in (*layer.inputs, *layer.outputs):
            kind = network.tensors.get(name, ((), "FLOAT"))[1]
            if kind == "FLOAT" and name not in ranges:
                values = layer.values
                if values is None or values.dtype == np.float32:
                    missing[name] = None
                    nodes.add(layer.node)
    return list(missing), nodes


def quantized(network, ranges, floats):
    """The file with Q/DQ before each product that has a range and is not kept in float."""
    proto = onnx.load_from_string(network.content)
    nodes, int8, made = [], set(), set()
    for node in proto.graph.node:
        source = node.input[0] if node.op_type in PRODUCTS else None
        if source in ranges and node.name not in floats:
            int8.add(node.name)
            if source not in made:
                made.add(source)
                scale = np.float32(ranges[source] / 127)
                proto.graph.initializer.append(numpy_helper.from_array(scale, f"{source}/s"))
                proto.graph.initializer.append(numpy_helper.from_array(np.int8(0), f"{source}/z"))
                grid = [f"{source}/s", f"{source}/z"]
                nodes.append(helper.make_node("QuantizeLinear", [source, *grid], [f"{source}/q"]))
                back = helper.make_node("DequantizeLinear", [f"{source}/q", *grid], [f"{source}/d"])
                nodes.append(back)
            node.input[0] = f"{source}/d"
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    return proto.SerializeToString(), int8


def information(network, int8, major):
    """What the engine inspector says: products with their Relu, and a change of format before.

    TensorRT 11 tells format and type apart, and calls the network's ends otherwise.
    """
    relus = {n.input[0]: n.name for n in network.nodes if n.op_type == "Relu"}
    layers = []
    for node in network.nodes:
        if node.op_type not in PRODUCTS:
            continue
        fused = [node.name, *([relus[node.output[0]]] if node.output[0] in relus else [])]
        name = " + ".join(fused)
        small = "Thirty-two wide channel vectorized row major Int8 format"
        kind = {"Format/Datatype": small if node.name in int8 else "Row major linear FP32"}
        if major >= 11:
            small, types = node.name in int8, ("Float", "Int8")
            kind = {"Format": "NC/32HW32" if small else "Linear", "DataType": types[small]}
        copy = f"Reformatting CopyNode for Input Tensor 0 to {name}"
        inputs = [{"Name": node.input[0], "Location": "Device", **kind}]
        layer = {"Name": name, "LayerType": "CaskConvolution", "Inputs": inputs, "Outputs": []}
        if major >= 10:
            layer["Metadata"] = "\x1e".join(f"[ONNX Layer: {one}]" for one in fused)
        layers += [{"Name": copy, "LayerType": "Reformat", "Inputs": inputs}, layer]
    ends = "I/O Tensors" if major >= 11 else "Bindings"
    return json.dumps({"Layers": layers, ends: [network.input, *network.outputs]})
