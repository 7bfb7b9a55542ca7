"""Loading an FP32 ONNX model, with a one-line error for a model that cannot be quantized."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper, version_converter

from bench.errors import ModelError
from bench.model.edit import set_nodes, with_batch
from bench.model.onnx_file import hash_with_data, load_data, read_proto
from bench.model.soundness import check_sizes, check_sound, kind_name, with_shapes

OLDEST_OPSET = 13
"""QuantizeLinear has per-channel scales (``axis``) from opset 13 on."""

OLDEST_IR = 4
"""The first ONNX file format in which weights are not inputs."""

MOST_PIXELS = 2**26
"""Of an input, 8192 x 8192: one image of it is 800 MB."""

_QUANTIZED_OPS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
}


@dataclass(frozen=True)
class OnnxModel:
    """A checked FP32 model with one image input.

    ``proto`` has a name on every node, no Constant nodes (they are initializers), opset 13 or
    later, and inferred shapes for batch size 1. ``input_shape`` is (batch, channels, height,
    width), with batch None where the file leaves it open.
    """

    path: Path
    sha256: str
    proto: onnx.ModelProto = field(compare=False, repr=False)
    input_name: str
    input_shape: tuple[int | None, int, int, int]
    output_names: tuple[str, ...]

    @property
    def height(self) -> int:
        return self.input_shape[2]

    @property
    def width(self) -> int:
        return self.input_shape[3]


def load_model(path: Path) -> OnnxModel:
    """Read, check and normalise an ONNX file; raises ModelError for anything that cannot work."""
    if not path.exists() or path.is_dir():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ModelError(f"model file {path} {what}", "Check model.path")
    proto = read_proto(path)
    sha256 = hash_with_data(path, proto)
    load_data(path, proto)
    check_sound(path, proto)
    quantized = sorted({n.op_type for n in proto.graph.node} & _QUANTIZED_OPS)
    if quantized:
        raise ModelError(
            f"{path} is already quantized (it contains {', '.join(quantized)})",
            "Give the FP32 model that it was made from",
        )
    input_name, shape = image_input(proto, path)
    return OnnxModel(
        path=path,
        sha256=sha256,
        proto=_normalise(proto, input_name, path),
        input_name=input_name,
        input_shape=shape,
        output_names=tuple(output.name for output in proto.graph.output),
    )


def image_input(proto: onnx.ModelProto, path: Path) -> tuple[str, tuple[int | None, int, int, int]]:
    weights = {initializer.name for initializer in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs ({', '.join(v.name for v in inputs)})",
            "Export the model with one image input",
        )
    (value,) = inputs
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1] != 3:
        shown = "x".join(str(d or "?") for d in dims)
        kind = kind_name(tensor.elem_type)
        raise ModelError(
            f"input '{value.name}' of {path} is {kind} {shown}, not float32 Nx3xHxW",
            "Export the model with a float32 RGB image input in NCHW order",
        )
    batch, channels, height, width = dims
    if channels is None or height is None or width is None:
        names = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
        raise ModelError(
            f"input '{value.name}' of {path} has an open shape ({' x '.join(names)})",
            "Only the batch may be open: export with a fixed height and width, or fix them with "
            "'python -m onnxruntime.tools.make_dynamic_shape_fixed'",
        )
    if height * width > MOST_PIXELS:
        raise ModelError(
            f"input '{value.name}' of {path} has {height}x{width} pixels, more than "
            f"{MOST_PIXELS:,}",
            "Export the model with a smaller input",
        )
    return value.name, (batch, channels, height, width)


def _normalise(proto: onnx.ModelProto, input_name: str, path: Path) -> onnx.ModelProto:
    free_weights(proto)
    name_nodes(proto)  # ONNX Runtime refuses two nodes of one name
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ModelError(
            f"{path} imports no opset of standard ONNX operators",
            "Export it with standard operators",
        )
    check_sizes(path, with_batch(proto, input_name, 1))
    if opset < OLDEST_OPSET:
        try:
            proto = version_converter.convert_version(proto, OLDEST_OPSET)
        except (RuntimeError, version_converter.ConvertError) as error:
            raise ModelError(
                f"{path} has opset {opset}, which could not be raised to {OLDEST_OPSET} ({error})",
                f"Export it with opset {OLDEST_OPSET} or later",
            ) from error
    proto = _fold_constants(proto, path)
    constants_to_initializers(proto)
    name_nodes(proto)
    proto = with_batch(proto, input_name, 1)
    return with_shapes(path, proto)


def free_weights(proto: onnx.ModelProto) -> None:
    """Remove the weights from the list of inputs, where ONNX before IR version 4 required them.

    A weight that a caller may replace is not a constant: nothing would be folded into it.
    """
    weights = {initializer.name for initializer in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    proto.ir_version = max(proto.ir_version, OLDEST_IR)


def _fold_constants(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Fold constants and batch normalisations, by ONNX Runtime's basic (ONNX to ONNX) passes.

    A batch normalisation left beside its convolution would hide the range that really reaches the
    next one, and a shape computed at run time hides every shape behind it.
    """
    import onnxruntime as ort  # not needed to read graphs only

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            ort.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            raise ModelError(
                f"ONNX Runtime cannot load {path} ({str(error).splitlines()[0]})",
                "Export the model again, with standard ONNX operators",
            ) from error
        return onnx.load(options.optimized_model_filepath)


def constants_to_initializers(proto: onnx.ModelProto) -> None:
    others = []
    for node in proto.graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = numpy_helper.from_array(numpy_helper.to_array(value.t), node.output[0])
            proto.graph.initializer.append(tensor)
        else:
            others.append(node)
    set_nodes(proto.graph, others)


def name_nodes(proto: onnx.ModelProto) -> None:
    """Give every node a unique name: plans select by it."""
    seen: set[str] = set()
    for index, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)
