"""What TensorRT's engine refuses, each in one line; on the stand-in."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from bench.errors import ConfigError, EngineError
from bench.model.edit import with_batch
from tests.engine.trt_models import int8_model, one_line


def test_without_tensorrt_one_line_tells_how_to_get_it(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ConfigError, match="engine tensorrt needs TensorRT") as error:
        _ = engine().version
    assert "make sweep ENGINE=tensorrt TENSORRT=8.5.1.7" in one_line(error)


@pytest.mark.parametrize("version", ["8.5.1.7", "11.4.0.106"])
def test_without_a_driver_one_line_tells_so(fake_tensorrt, engine, version):
    fake_tensorrt(version, driver=False)
    assert engine().version == version
    with pytest.raises(ConfigError, match="there is no NVIDIA driver") as error:
        _ = engine().options
    assert "engine=tensorrt_rtx" in one_line(error)


def test_a_gpu_that_tells_nothing_of_itself_is_refused(fake_tensorrt, engine, monkeypatch):
    """As in a container with CUDA, but without NVIDIA's management library."""
    fake_tensorrt()
    pynvml = importlib.import_module("pynvml")

    def fail() -> None:
        raise pynvml.NVMLError("NVML Shared Library Not Found")

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    with pytest.raises(ConfigError, match="NVML Shared Library Not Found") as error:
        _ = engine().options
    one_line(error)


def test_so_is_one_whose_name_cannot_be_had(fake_tensorrt, engine, monkeypatch):
    fake_tensorrt()
    pynvml = importlib.import_module("pynvml")

    def fail(handle: object) -> None:
        raise pynvml.NVMLError("Not Supported")

    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", fail)
    with pytest.raises(ConfigError, match="Not Supported") as error:
        _ = engine().options
    one_line(error)


def test_an_engine_without_room_is_refused_and_kept(
    fake_tensorrt, engine, tiny, tmp_path, monkeypatch
):
    trt = fake_tensorrt()
    model = with_batch(tiny("residual").proto, "images", 1)
    with engine().build(model):
        pass
    monkeypatch.setattr(trt.ICudaEngine, "create_execution_context", lambda self: None)
    (path,) = tmp_path.rglob("*.engine")
    before = path.stat().st_mtime_ns
    with pytest.raises(EngineError, match="too little memory") as error:
        engine().build(model)
    one_line(error)
    assert path.stat().st_mtime_ns == before


def test_a_builder_that_cannot_start_is_told(fake_tensorrt, engine, tiny, monkeypatch):
    """As where the driver is too old for TensorRT but not for CUDA."""
    fake_tensorrt()
    assert "NVIDIA Test GPU" in engine().options
    monkeypatch.setenv("FAKE_NO_DRIVER", "yes")
    with pytest.raises(ConfigError, match="failure with error: 35") as error:
        engine().build(tiny("residual").proto)
    one_line(error)


def test_eleven_has_no_implicit_mode_and_says_what_to_use(fake_tensorrt, engine):
    fake_tensorrt("11.4.0.106")
    with pytest.raises(ConfigError, match="no implicit quantization") as error:
        _ = engine(mode="implicit").version
    assert "engine.mode=explicit" in one_line(error)


@pytest.mark.parametrize(
    ("version", "options", "told"),
    [
        ("8.5.1.7", {"optimization_level": 3}, "no builder optimization level"),
        ("11.4.0.106", {"tactic_sources": ["CUDNN"]}, "has no CUDNN"),
        ("8.5.1.7", {"tactic_sources": ["CUDA"]}, "has no CUDA"),
        ("8.6.0", {"profile": [1, 2, 4], "streams": 2}, "with a profile in one stream only"),
    ],
)
def test_options_that_a_version_lacks_are_refused(fake_tensorrt, engine, version, options, told):
    fake_tensorrt(version)
    with pytest.raises(ConfigError, match=told) as error:
        _ = engine(**options).version
    one_line(error)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "both"},
        {"ranges": "static"},
        {"workspace_gb": 0},
        {"streams": 0},
        {"optimization_level": 6},
        {"profile": [1, 2]},
        {"profile": [4, 2, 1]},
        {"profile": [0, 1, 2]},
        {"profile": ["a", "b", "c"]},
        {"workspace_gb": float("nan")},
    ],
    ids=str,
)
def test_options_that_are_none_are_refused(engine, options):
    with pytest.raises(ConfigError) as error:
        engine(**options)
    assert f"engine.{next(iter(options))}=" in one_line(error)


def test_another_age_s_tensorrt_is_refused(fake_tensorrt, engine, monkeypatch):
    trt = fake_tensorrt()
    monkeypatch.setattr(trt, "__version__", "7.2.3")
    with pytest.raises(ConfigError, match=r"Install 8\.5 to 11"):
        _ = engine().version


def test_what_the_parser_refuses_is_told(fake_tensorrt, engine, tiny):
    fake_tensorrt()
    proto = onnx.ModelProto()
    proto.CopyFrom(with_batch(tiny("residual").proto, "images", 1))
    proto.graph.node[0].op_type = "If"
    with pytest.raises(EngineError, match=r"cannot parse the model .*op: If") as error:
        engine().build(proto)
    one_line(error)


@pytest.mark.parametrize("version", ["8.5.1.7", "8.6.0"])
def test_a_kernel_left_to_quantized_weights_is_refused_by_older_parsers(
    fake_tensorrt, engine, tiny, quantize, version
):
    """onnx-tensorrt's ``convMultiInput``, up to 10.1: so ``insert_qdq`` declares the shape."""
    fake_tensorrt(version)
    given = int8_model(quantize(tiny("residual")))
    bare = onnx.ModelProto.FromString(given.qdq.SerializeToString())
    for node in bare.graph.node:
        left = [own for own in node.attribute if own.name != "kernel_shape"]
        del node.attribute[:]
        node.attribute.extend(left)
    with pytest.raises(EngineError, match=r"convMultiInput: stem: .*kernel_shape") as error:
        engine().build_int8(replace(given, qdq=bare))
    one_line(error)
    with engine().build_int8(given) as session:
        assert session.engine is not None


def test_what_the_builder_refuses_is_told_and_leaves_no_file(
    fake_tensorrt, engine, build, tmp_path
):
    fake_tensorrt()
    with pytest.raises(EngineError, match="no optimization profile is defined"):
        engine().build(build("classifier"))  # its batch is open
    assert not [*Path(tmp_path).rglob("*.engine")]


def test_the_reason_is_told_while_an_engine_is_open(fake_tensorrt, engine, tiny, build):
    """TensorRT then has the logger of that engine in mind."""
    fake_tensorrt()
    with engine().build(with_batch(tiny("residual").proto, "images", 1)):
        for _ in range(2):
            with pytest.raises(EngineError, match="no optimization profile is defined"):
                engine().build(build("classifier"))
        proto = with_batch(tiny("residual").proto, "images", 2)
        proto.graph.node[0].op_type = "If"
        with pytest.raises(EngineError, match="op: If"):
            engine().build(proto)


def test_a_range_that_is_not_taken_is_told(fake_tensorrt, engine, tiny, quantize, monkeypatch):
    trt = fake_tensorrt()
    monkeypatch.setattr(trt.ITensor, "set_dynamic_range", lambda self, min, max: False)
    model = int8_model(quantize(tiny("residual"), placement="implicit"))
    with pytest.raises(EngineError, match=r"does not take the range .* for tensor images") as error:
        engine(mode="implicit", ranges="dynamic").build_int8(model)
    one_line(error)


def test_tactic_sources_that_are_not_taken_are_told(fake_tensorrt, engine, tiny, monkeypatch):
    trt = fake_tensorrt()
    monkeypatch.setattr(trt.IBuilderConfig, "set_tactic_sources", lambda self, sources: False)
    with pytest.raises(ConfigError, match=r"does not take engine\.tactic_sources=CUBLAS") as error:
        engine(tactic_sources=["CUBLAS"]).build(with_batch(tiny("residual").proto, "images", 1))
    one_line(error)
