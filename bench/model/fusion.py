"""Which tensors vanish when an engine fuses layers as TensorRT does, and which sums are fused.

After the developer guide's "Types of Fusions" (8.x): a convolution or matrix product takes in the
batch normalization, the constant scale or shift and the activation behind it, and an elementwise
sum with another tensor; pointwise layers in a row become one. The guide lists more (pooling,
shuffles, reductions), which are left out here. Which ones TensorRT really takes depends on version
and platform: that is why the caches of calibrators that look after fusion are not portable.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from bench.model.graph import Graph

_ACTIVATIONS = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Selu",
        "Softplus",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Gelu",
        "BatchNormalization",
    }
)
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"})


def fused_tensors(graph: Graph) -> frozenset[str]:
    """The activations inside fused layers: no calibrator that looks after fusion sees them.

    Of Conv -> (Sigmoid, Mul) -> next, the convolution's and the sigmoid's outputs vanish.
    """
    inside: set[str] = set()
    summed: set[str] = set()  # sums that have taken in one of their convolutions
    for name, node in graph.nodes.items():
        starts = name in graph.compute or _is_pointwise(node, graph)
        if not starts or node.output[0] in inside:
            continue
        tensor = node.output[0]
        while (step := _next(tensor, graph, summed)) is not None:
            inside.update(step[:-1])
            tensor = step[-1]
    return frozenset(inside)


def taken_sums(graph: Graph) -> dict[str, str]:
    """Of each residual Add that a convolution can take in: the input that this convolution makes.

    The other input is the residual. After ModelOpt's ``build_non_residual_input_map``: what follows
    the convolution may be batch normalization and an activation function (``convolution_behind``).
    A convolution cannot take in a sum with something computed from its own output. Where both
    inputs qualify, as with a convolution on the shortcut, the residual is the shorter side, with
    fewer nodes. (The guide has "weighted layers", so matrix products too: ModelOpt
    leaves those out, and so does this.)
    """
    sides: dict[str, str] = {}
    for name in graph.residual_adds:
        first, second = graph.nodes[name].input
        before, behind = _ancestors(first, graph), _ancestors(second, graph)
        branches = {first: before - behind, second: behind - before}
        able = [
            tensor for tensor in branches if convolution_behind(tensor, graph) in branches[tensor]
        ]
        if able:
            sides[name] = max(able, key=lambda tensor: len(branches[tensor]))
    return sides


def convolution_behind(tensor: str, graph: Graph) -> str | None:
    """The convolution whose output ``tensor`` is, or is a pointwise function of; None if none."""
    node = graph.producer.get(tensor)
    if node is None:
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        return node.name
    if node.op_type not in _ACTIVATIONS | _ELEMENTWISE:
        return None
    convolutions = {
        convolution_behind(name, graph) for name in node.input if graph.is_activation(name)
    }
    return convolutions.pop() if len(convolutions) == 1 else None


def _ancestors(tensor: str, graph: Graph) -> set[str]:
    """The nodes that ``tensor`` is computed by."""
    met: set[str] = set()
    pending = [tensor]
    while pending:
        node = graph.producer.get(pending.pop())
        if node is not None and node.name not in met:
            met.add(node.name)
            pending.extend(node.input)
    return met


def _next(tensor: str, graph: Graph, summed: set[str]) -> tuple[str, ...] | None:
    """The tensors that vanish when what follows is fused onto ``tensor``, and what comes out."""
    if tensor in graph.output_names:
        return None
    readers = {node.name: node for node in graph.consumers.get(tensor, [])}
    if len(readers) == 1:
        (reader,) = readers.values()
        if _is_pointwise(reader, graph):
            return tensor, reader.output[0]
        if reader.op_type == "Add" and reader.name not in summed and _joins(tensor, reader, graph):
            summed.add(reader.name)
            return tensor, reader.output[0]
        return None
    return _gate(tensor, list(readers.values()), graph)


def _gate(tensor: str, readers: list[NodeProto], graph: Graph) -> tuple[str, ...] | None:
    """x * f(x), as in SiLU, Mish and hard swish: x and all of f(x) vanish."""
    products = [node for node in readers if node.op_type == "Mul"]
    if len(readers) != 2 or len(products) != 1:
        return None
    (product,) = products
    inner = list(_chain(next(node for node in readers if node is not product), product, graph))
    if not inner or inner[-1] not in product.input:
        return None
    return tensor, *inner, product.output[0]


def _chain(node: NodeProto, end: NodeProto, graph: Graph) -> Iterator[str]:
    """The outputs of pointwise nodes in a row from ``node`` on, up to the input of ``end``."""
    while _is_pointwise(node, graph) and node.output[0] not in graph.output_names:
        yield node.output[0]
        readers = graph.consumers.get(node.output[0], [])
        if len(readers) != 1 or readers[0] is end:
            return
        node = readers[0]


def _is_pointwise(node: NodeProto, graph: Graph) -> bool:
    """An activation function, or arithmetic with a constant."""
    activations = sum(graph.is_activation(name) for name in node.input)
    return activations == 1 and (node.op_type in _ACTIVATIONS or node.op_type in _ELEMENTWISE)


def _joins(tensor: str, total: NodeProto, graph: Graph) -> bool:
    """Whether a sum is taken into the convolution that makes ``tensor``: the later of the two.

    The sum has to wait for both of its inputs, so the earlier one is in memory by then.
    """
    return graph.order(total.input)[-1] == tensor and (graph.producer[tensor].name in graph.compute)
