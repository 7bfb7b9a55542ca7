"""A model with some layers in INT8 computes what a plan with the others in float computes."""

from __future__ import annotations

import numpy as np
import pytest

from bench.diagnosis.mixed import MixedModels
from bench.diagnosis.walk import network_outputs
from bench.model.cut import CuttableNetwork
from tests.diagnosis.small_networks import block, products, twice


@pytest.mark.parametrize("network", [block, products, twice])
def test_layers_together_alone_in_int8(network, pair, draw):
    made = pair(network)
    models = MixedModels(made.fp32, made.qdq, made.units)
    names = [unit.name for unit in made.units]
    for chosen in ([], names[:1], names[1:], names):
        mixed = models.with_int8(chosen)
        expected = network_outputs(CuttableNetwork(made.quantized(chosen), "images"), draw(2))
        actual = network_outputs(CuttableNetwork(mixed, "images"), draw(2))
        for one, other in zip(expected, actual, strict=True):
            for left, right in zip(one, other, strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_nothing_is_quantized_that_nobody_reads(pair):
    made = pair(block)
    models = MixedModels(made.fp32, made.qdq, made.units)
    kinds = {node.op_type for node in models.with_int8([]).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}
