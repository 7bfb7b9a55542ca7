"""The probe: int8 kernels and exact emulations against integers, on both kinds of processor."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench import environment
from bench.cache import content_key
from bench.engine import ov, probe
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.engine.probe_networks import ProbeNetwork, probe_networks
from bench.errors import ConfigError, EngineError
from tests.wrong_engines import Hopeless, InBfloat16, Saturating

ENGINES: dict[str, Any] = {"openvino": OpenVino(threads=1), "onnxruntime": OnnxRuntime(threads=1)}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's limit is one of x86"
)
COUNT = sum(1 for _ in probe_networks())

PROBE = """
import json, sys
from bench.engine.ov import OpenVino
from bench.engine.probe import probe
engine = OpenVino(threads=1)
kernels, exact = probe(engine, engine.build), probe(engine, engine.build_exact)
print(json.dumps([kernels.wrong, kernels.int8, exact.wrong, exact.int8]))
"""


@pytest.fixture(scope="module")
def networks() -> dict[str, ProbeNetwork]:
    return {network.name: network for network in probe_networks()}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


# --- the reference itself -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 64])
def test_what_is_expected_is_the_sum_of_integers(networks, channels):
    """A 1x1 convolution, once more in int64 from what the file holds."""
    network = networks[f"1x1 convolution of {channels} channels"]
    held = constants(network.model)
    (product,) = (n for n in network.model.graph.node if n.name == network.product)
    (stored,) = (n for n in network.model.graph.node if product.input[1] in n.output)
    weights, weight_scale = (held[name] for name in stored.input[:2])
    (quantize,) = (n for n in network.model.graph.node if n.op_type == "QuantizeLinear")
    scale = float(held[quantize.input[1]])
    x = np.rint(network.batch[0] / scale).astype(np.int64)
    assert (x.min(), x.max()) == (-128, 127)
    assert np.abs(weights).max() == 127
    products = np.einsum("oi,ihw->ohw", weights[:, :, 0, 0].astype(np.int64), x)
    step = scale * weight_scale.astype(np.float64)
    bias = held[product.input[2]] / step
    np.testing.assert_array_equal(bias, np.rint(bias))
    expected = (products + bias[:, None, None]) * step[:, None, None]
    np.testing.assert_array_equal(network.expected[0], expected)


def test_every_sum_is_exact_in_float32(networks):
    """The same networks evaluated in another order of summation: not one bit differs."""
    for network in networks.values():
        if network.product is None or "SiLU" in network.name:
            continue
        with ENGINES["onnxruntime"].build_exact(network.model) as session:
            (found,) = session.run(network.batch)
        np.testing.assert_array_equal(found, network.expected, err_msg=network.name)


def test_the_networks_are_those_of_the_version():
    """Results are stored under ``VERSION``: raise it with every change, and then this key."""
    held: list[object] = []
    for network in probe_networks():
        held += [network.name, network.scheme, network.step, network.batch.tobytes()]
        held += [values.tobytes() for values in constants(network.model).values()]
        held += list(network.model.graph.node)
    assert (probe.VERSION, content_key(*held)) == (4, "4a6981b73c4af46b0453")


# --- both kinds of processor ----------------------------------------------------------------------


@engines
def test_an_emulation_is_exact_on_every_processor(engine):
    found = probe.probe(engine, engine.build_exact)
    assert found.exact, found.wrong
    assert (found.networks, found.int8) == (COUNT, 0)


@engines
def test_kernels_are_exact_where_the_processor_adds_up_in_int32(engine):
    found = probe.probe(engine, engine.build)
    assert found.int8 >= 25  # or nothing was probed
    assert not found.wrong_in_float
    if platform.machine() in ("x86_64", "AMD64") and "ONEDNN" not in environment.hardware():
        assert found.exact == bool(environment.int8_instructions()), found.wrong


@pytest.mark.slow
@on_x86
def test_kernels_for_avx2_are_not_exact_and_the_emulation_is():
    """In a process of its own, as oneDNN looks at its limit once."""
    ended = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    wrong, int8, wrong_emulated, int8_emulated = json.loads(ended.stdout)
    assert {"1x1 convolution of 3 channels", "Gemm", "transposed convolution"} <= set(wrong)
    assert int8 == COUNT - 2  # all but the two in float
    assert "convolution in float" not in wrong
    assert (wrong_emulated, int8_emulated) == ([], 0)


@pytest.mark.slow
@pytest.mark.skipif(
    environment.int8_instructions() != ("avx512_vnni",) or "ONEDNN" in environment.hardware(),
    reason="without VNNI more is wrong, with AMX less",
)
def test_the_guards_are_what_the_probe_asks_for(monkeypatch):
    monkeypatch.setattr(ov, "guard_quantizations", lambda model: model)
    engine = ENGINES["openvino"]
    wrong = set(probe.probe(engine, engine.build).wrong)
    assert {"convolution behind Concat", "convolution behind Concat and ReLU"} <= wrong
    assert {"residual Add, to INT8", "Add of two convolutions, to INT8"} <= wrong
    assert all("Concat" in name or "Add" in name for name in wrong)


def test_float_layers_in_bfloat16_are_refused(tmp_path):
    engine = InBfloat16(threads=1)
    found = probe.probe(engine, engine.build)
    assert found.wrong_in_float == ("convolution in float", "Gemm in float")
    with pytest.raises(EngineError, match="does not compute float layers in FP32"):
        probe.settle_accuracy_by(engine, tmp_path)


# --- what follows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (Saturating(), "exact emulation"),
        (Saturating(accuracy_by="kernels"), "int8 kernels"),
        (OnnxRuntime(accuracy_by="emulation"), "exact emulation"),
    ],
)
def test_what_accuracies_are_computed_with(tmp_path, engine, expected):
    assert probe.settle_accuracy_by(engine, tmp_path) == expected


def test_kernels_that_pass_are_taken(tmp_path, monkeypatch):
    passed = probe.ProbeResult(COUNT, COUNT - 2, (), (), 0.0)
    monkeypatch.setattr(probe, "probe_kernels", lambda engine, cache: passed)
    assert probe.settle_accuracy_by(OpenVino(), tmp_path) == "int8 kernels"


def test_an_engine_without_an_exact_form_is_refused_in_one_line(tmp_path):
    with pytest.raises(EngineError, match="computes a Q/DQ file wrongly") as caught:
        probe.settle_accuracy_by(Hopeless(), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_result_is_stored_for_an_engine_on_a_processor(tmp_path, monkeypatch):
    first = probe.probe_kernels(Saturating(), tmp_path)
    assert first.wrong
    monkeypatch.setattr(probe, "probe", None)  # not called again
    assert probe.probe_kernels(Saturating(), tmp_path) == first
    monkeypatch.setattr(environment, "hardware", lambda: "another processor")
    with pytest.raises(TypeError):
        probe.probe_kernels(Saturating(), tmp_path)


@pytest.mark.parametrize("kind", [OpenVino, OnnxRuntime])
def test_an_unknown_choice_is_refused(kind):
    with pytest.raises(ConfigError, match="accuracy_by=exact is unknown"):
        kind(accuracy_by="exact")


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_limit_of_onednn_stands_in_the_hardware(monkeypatch, name):
    monkeypatch.setenv(name, "AVX2")
    assert f"{name}=AVX2" in environment.hardware()
