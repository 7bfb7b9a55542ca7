"""The stand-in's networks, and the parser that fills them."""

import numpy as np

from .emulation import Network
from .names import (
    MAJOR,
    DataType,
    ElementWiseOperation,
    LayerType,
    NetworkDefinitionCreationFlag,
    Strict,
    __version__,
)

KINDS_OF = {np.dtype(np.int64): DataType.INT32, np.dtype(np.int32): DataType.INT32}


class ITensor(Strict):
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, shape, dtype
        self._amax = None

    def set_dynamic_range(self, min, max):
        assert min == -max
        self._amax = max
        return True


class ILayer(Strict):
    def __init__(self, name, type, outputs, inputs=(), values=None, op=None, node=""):
        self.name, self.type, self._outputs = name, type, outputs
        self._inputs, self._weights, self._op, self._node = list(inputs), values, op, node
        self._precision, self._types = None, {}

    @property
    def num_inputs(self):
        return len(self._inputs)

    def get_input(self, index):
        return self._inputs[index]

    @property
    def num_outputs(self):
        return len(self._outputs)

    def get_output(self, index):
        return self._outputs[index]

    @property
    def precision(self):
        return self._precision

    @precision.setter
    def precision(self, kind):
        self._check_floats()
        self._precision = kind

    def set_output_type(self, index, dtype):
        self._check_floats()
        self._types[index] = dtype

    def _check_floats(self):
        if any(tensor.dtype.name not in ("FLOAT", "HALF") for tensor in self._outputs):
            raise ValueError(f"Layer {self.name} computes integers and takes no precision")


class IConstantLayer(ILayer):
    """``get_layer`` gives a plain ``ILayer``; whoever knows its type changes its class."""

    @property
    def weights(self):
        return self._weights


class IElementWiseLayer(ILayer):
    @property
    def op(self):
        return getattr(ElementWiseOperation, self._op)


class INetworkDefinition(Strict):
    def __init__(self, flags):
        self._flags, self._onnx, self._inputs, self._layers = flags, None, [], []

    @property
    def num_inputs(self):
        return len(self._inputs)

    def get_input(self, index):
        return self._inputs[index]

    @property
    def num_layers(self):
        return len(self._layers)

    def get_layer(self, index):
        return self._layers[index]

    def _has(self, name):
        flag = getattr(NetworkDefinitionCreationFlag, name, None)
        return flag is not None and bool(self._flags >> int(flag) & 1)

    @property
    def _strong(self):
        return MAJOR >= 11 or self._has("STRONGLY_TYPED")


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def node_name(self):
        return "node"


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        network = self._network
        if MAJOR < 10 and not network._has("EXPLICIT_BATCH"):
            self._errors.append(ParserError("ONNX needs an explicit batch"))
            return False
        read = Network(model)
        if read.refused:
            self._errors.append(ParserError(f"No importer registered for op: {read.refused}"))
            return False
        if MAJOR < 10 and (constants := read.int8_constants):
            self._errors.append(ParserError(f"{constants[0]}: invalid weights type of Int8"))
            return False
        bare = read.without_kernel_shape
        if bare and tuple(map(int, __version__.split(".")[:2])) < (10, 2) and MAJOR < 11:
            text = 'Assertion failed: attrs.count("kernel_shape")'
            self._errors.append(ParserError(f"In function convMultiInput: {bare[0]}: {text}"))
            return False
        network._onnx = read
        made = {
            name: ITensor(name, shape, getattr(DataType, kind, DataType.INT32))  # 8 has no INT64
            for name, (shape, kind) in read.tensors.items()
        }
        network._inputs[:] = [made[read.input]]
        network._layers[:] = []
        for one in read.layers():
            for name in (*one.inputs, *one.outputs):
                kind = KINDS_OF.get(getattr(one.values, "dtype", None), DataType.FLOAT)
                made.setdefault(name, ITensor(name, (), kind))
            ends = ([made[name] for name in names] for names in (one.outputs, one.inputs))
            kind = getattr(LayerType, one.kind)
            network._layers.append(ILayer(one.name, kind, *ends, one.values, one.op, one.node))
        return True
