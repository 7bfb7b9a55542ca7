"""A walk gives the same, however long the stretches are that share the rest of the network."""

from __future__ import annotations

import numpy as np
import pytest

from bench.diagnosis import walk as module
from bench.diagnosis.unit import UnitModels
from bench.diagnosis.walk import walk
from tests.diagnosis.small_networks import NETWORKS

PRECISIONS = {"int8": "int8", "float": "float"}


@pytest.mark.parametrize("network", ["block", "twice", "products"])
@pytest.mark.parametrize("in_int8", [False, True])
def test_stretches_change_nothing(network, in_int8, pair, draw, monkeypatch):
    made = pair(NETWORKS[network])
    models = UnitModels(made.fp32, made.qdq)

    def outputs(stretch: range) -> dict[tuple[str, str, int], list[np.ndarray]]:
        monkeypatch.setattr(module, "STRETCH", stretch)
        changes = walk(
            made.cut(made.qdq if in_int8 else made.fp32),
            made.units,
            lambda unit, values: [models.model(unit, PRECISIONS, values)],
            draw(3),
        )
        return {(one.unit.name, one.label, one.image): list(one.outputs) for one in changes}

    whole, cut = outputs(range(5, 11)), outputs(range(1, 3))
    assert whole.keys() == cut.keys()
    assert len(whole) == len(made.units) * 2 * 3
    for key, expected in whole.items():
        for one, other in zip(expected, cut[key], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
