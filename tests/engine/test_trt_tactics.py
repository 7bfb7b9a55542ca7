"""TensorRT 8.5 without cuBLAS or cuDNN: it takes kernels of its own."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bench.engine.trt import tactics
from bench.errors import EngineError
from bench.model.edit import with_batch

OWN = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``libraries(*missing)``: the others can be loaded, here and by TensorRT."""

    def lack(*missing: str) -> None:
        monkeypatch.setenv("FAKE_MISSING_LIBRARIES", " ".join(missing))
        monkeypatch.setattr(tactics, "can_load", lambda name: name not in missing)

    return lack


@pytest.mark.parametrize("missing", ["libcudnn.so.8", "libcublas.so.11"])
def test_a_machine_without_a_library_builds_all_the_same(
    fake_tensorrt: Any, engine: Any, tiny: Any, libraries: Any, missing: str
) -> None:
    fake_tensorrt("8.5.1.7")
    libraries(missing)
    model = with_batch(tiny("residual").proto, "images", 1)
    with engine().build(model):
        assert engine().settings.tactic_sources == OWN
    with pytest.raises(EngineError, match=f"Unable to load library: {missing}"):
        engine(tactic_sources=["CUDNN", "CUBLAS"]).build(model)


@pytest.mark.parametrize(
    ("version", "missing"), [("8.5.1.7", ()), ("8.6.0", ("libcudnn.so.8",)), ("10.16.1.11", ())]
)
def test_elsewhere_it_is_as_the_version_has_it(
    fake_tensorrt: Any, engine: Any, libraries: Any, version: str, missing: tuple[str, ...]
) -> None:
    fake_tensorrt(version)
    libraries(*missing)
    assert engine().settings.tactic_sources is None


def test_a_library_that_is_there_can_be_loaded() -> None:
    assert not tactics.can_load("libno-such-library.so.0")
    if sys.platform == "linux":
        assert tactics.can_load("libc.so.6")
