"""make doctor: a line for every check, a mend for what fails, and an exit status to rely on."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from bench import environment
from bench.doctor import __main__ as doctor
from bench.doctor import engines, gpu, host, native_ranges, trt
from bench.doctor.check import Check, Finding
from bench.doctor.tiny import make_tiny
from bench.engine.trt.rtx import TensorRtRtx
from bench.errors import EngineError
from bench.timing import CallTimes
from tests.wrong_engines import Hopeless, Saturating

KEYS = {"check", "status", "found", "mend", "figures", "seconds"}


@pytest.fixture
def checks(monkeypatch) -> Any:
    """``checks(*findings)``: these are all that the doctor looks at."""

    def use(*checks: Check) -> None:
        module = ModuleType("some_checks")
        module.CHECKS = checks  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "some_checks", module)
        monkeypatch.setattr(doctor, "MODULES", ("some_checks",))
        monkeypatch.setenv("COLUMNS", "200")

    return use


@pytest.mark.slow
def test_every_check_has_a_line_and_stands_in_the_json(tmp_path, capsys, monkeypatch):
    """The real thing, on this machine."""
    monkeypatch.setenv("COLUMNS", "200")
    status = doctor.main(["--json", str(tmp_path / "found.json")])
    content = json.loads((tmp_path / "found.json").read_text())
    assert set(content) == {"doctor", "hardware", "environment", "git_commit", "checks"}
    assert all(set(outcome) == KEYS for outcome in content["checks"])
    found = {outcome["check"]: outcome for outcome in content["checks"]}
    named = [
        check.name for module in (host, engines, gpu, trt, native_ranges) for check in module.CHECKS
    ]
    assert list(found) == named
    printed = capsys.readouterr().out
    assert all(name in printed for name in named)
    for name in ("Python", "packages", "Q/DQ computed exactly"):
        assert found[name]["status"] == "pass", found[name]
    assert all(outcome["mend"] for outcome in found.values() if outcome["status"] != "pass")
    assert status == any(outcome["status"] == "fail" for outcome in found.values())


def test_what_is_only_absent_is_no_failure(checks, capsys):
    checks(
        Check("this", lambda: Finding("pass", "fine")),
        Check("that", lambda: Finding("absent", "not here", "get it")),
    )
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "get it" in printed
    assert "1 pass, 1 absent, 0 fail" in printed


def broken() -> Finding:
    raise ZeroDivisionError("in the middle\nof it")


def refusing() -> Finding:
    raise EngineError("it refuses the model", "Export it again")


def test_a_failure_shows_its_mend_and_the_next_check_goes_on(checks, capsys):
    checks(
        Check("first", lambda: Finding("fail", "is wrong", "mend it so")),
        Check("second", broken),
        Check("third", refusing),
        Check("last", lambda: Finding("pass", "was reached")),
    )
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    for said in (
        "is wrong", "mend it so", "ZeroDivisionError: in the middle of it", "Report it",
        "it refuses the model. Export it again", "was reached", "1 pass, 0 absent, 3 fail",
    ):  # fmt: skip
        assert said in printed


def test_checks_that_cannot_be_imported_do_not_hide_the_others(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "MODULES", ("bench.doctor.nowhere", "bench.doctor.gpu"))
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "nowhere" in printed
    assert "pip install -e ." in printed
    assert "NVIDIA driver" in printed


def test_json_that_cannot_be_written_is_told(checks, tmp_path, capsys):
    checks(Check("this", lambda: Finding("pass", "fine")))
    (tmp_path / "file").touch()
    assert doctor.main(["--json", str(tmp_path / "file" / "found.json")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file' / 'found.json'}: ")


def test_an_old_python_is_told(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    finding = host.look_at_python()
    assert finding.status == "fail"
    assert "Python 3.10 to 3.13" in finding.mend


def test_missing_packages_are_named(monkeypatch):
    asked = ["numpy", "no-such-package>=2", 'neither-this; extra == "dev"']
    monkeypatch.setattr(host, "requires", lambda name: asked)
    finding = host.look_at_packages()
    assert (finding.status, finding.found) == ("fail", "missing: no-such-package")
    assert "pip install" in finding.mend


def test_a_checkout_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(host, "DISTRIBUTION", "no-such-package")
    assert host.look_at_packages().found == "no-such-package is not installed"


def test_a_processor_without_int8_and_scarce_memory_are_told(monkeypatch):
    monkeypatch.setattr(environment, "int8_instructions", lambda: ())
    assert host.look_at_processor().status == "absent"
    scarce = SimpleNamespace(available=2**30, total=2**34)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: scarce)
    finding = host.look_at_memory()
    assert (finding.status, finding.found) == ("fail", "1.0 GiB free of 16.0")


def test_kernels_that_are_not_exact_are_told_with_what_follows(monkeypatch):
    monkeypatch.setattr(engines, "CPU_ENGINES", (Saturating(),))
    finding = engines.probe_int8_kernels()
    assert finding.status == "absent"  # no failure: accuracies are computed in float then
    assert "small networks wrong, such as: 1x1 convolution of 3 channels" in finding.found
    assert "kernels_int8" in finding.mend
    assert "Gemm" in finding.figures["onnxruntime"]["wrong"]
    assert engines.probe_emulations().status == "pass"


def test_an_emulation_that_is_not_exact_is_a_failure(monkeypatch):
    monkeypatch.setattr(engines, "CPU_ENGINES", (Hopeless(),))
    finding = engines.probe_emulations()
    assert finding.status == "fail"
    assert "constraints.txt" in finding.mend


def test_int8_that_is_no_faster_is_told_but_is_no_failure(monkeypatch):
    times = {"int8": CallTimes((2_000_000,)), "fp32": CallTimes((1_000_000,))}
    monkeypatch.setattr(engines, "measure_in_turn", lambda systems, **_: times)
    finding = engines.time_int8()
    assert finding.status == "absent"
    assert "FP32 1.00 ms, INT8 2.00 ms, 0.5x" in finding.found


def test_the_rtx_builder_is_absent_or_builds(monkeypatch):
    with monkeypatch.context() as changed:
        changed.setattr(importlib.util, "find_spec", lambda name: None)
        finding = engines.build_for_rtx()
        assert finding.status == "absent"
        assert "pip install -e '.[rtx]'" in finding.mend
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")
    finding = engines.build_for_rtx()
    assert finding.status == "pass"
    assert f"{TensorRtRtx().version} built an INT8 engine for SM89" in finding.found


def test_the_tiny_network_is_quantized_throughout():
    tiny = make_tiny()
    kinds = [node.op_type for node in tiny.qdq.graph.node]
    assert kinds.count("QuantizeLinear") == 3  # the input, the ReLU's output, the concatenation
    assert kinds.count("DequantizeLinear") == 3 + kinds.count("Conv")


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch) -> Any:
    """``nvidia_smi(script)``: what is called when nvidia-smi is; None for none."""

    def put(script: str | None) -> None:
        if script is not None:
            (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin" if script else str(tmp_path))

    return put


def test_the_driver_is_what_nvidia_smi_says(nvidia_smi):
    nvidia_smi("echo 'NVIDIA A10, 550.54.15, 23028 MiB'")
    assert gpu.look_at_driver() == Finding("pass", "NVIDIA A10, 550.54.15, 23028 MiB")
    nvidia_smi('echo "NVIDIA-SMI has failed: couldn\'t reach the driver"; exit 9')
    finding = gpu.look_at_driver()
    assert finding.status == "fail"
    assert "couldn't reach the driver" in finding.found
    assert "driver" in finding.mend


def test_without_nvidia_smi_there_is_no_driver(nvidia_smi):
    nvidia_smi(None)
    finding = gpu.look_at_driver()
    assert finding.status == "absent"
    assert "NVIDIA GPU" in finding.mend


class FakeCuda:
    """libcuda.so.1 with ``devices`` of compute capability 8.9, or one that does not start."""

    def __init__(self, devices: int = 1, starts: bool = True) -> None:
        self.devices, self.starts = devices, starts

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 0 if self.starts else 999

    def cuDriverGetVersion(self, answer: Any) -> int:  # noqa: N802
        answer._obj.value = 12040
        return 0

    def cuDeviceGetCount(self, answer: Any) -> int:  # noqa: N802
        answer._obj.value = self.devices
        return 0

    def cuDeviceGetAttribute(self, answer: Any, attribute: int, device: int) -> int:  # noqa: N802
        answer._obj.value = {75: 8, 76: 9}[attribute]
        return 0


@pytest.mark.parametrize(
    ("cuda", "status", "found"),
    [
        (FakeCuda(), "pass", "CUDA 12.4, compute capability 8.9"),
        (FakeCuda(2), "pass", "CUDA 12.4, compute capability 8.9, 8.9"),
        (FakeCuda(0), "fail", "CUDA sees no GPU"),
        (FakeCuda(starts=False), "fail", "CUDA does not start (error 999)"),
    ],
)
def test_cuda_is_what_the_driver_says(cuda, status, found, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: cuda)
    finding = gpu.look_at_cuda()
    assert (finding.status, finding.found) == (status, found)
    assert bool(finding.mend) == (status == "fail")


def test_without_a_driver_cuda_is_absent(monkeypatch):
    def none(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert gpu.look_at_cuda().status == "absent"


@pytest.mark.parametrize(
    ("version", "kinds"),
    [
        ("8.5.1.7", "8.5.1.7: explicit and implicit quantization"),
        ("10.16.1.11", "10.16.1.11: explicit and implicit quantization"),
        ("11.4.0.106", "11.4.0.106: explicit quantization only"),
    ],
)
def test_tensorrt_tells_its_version_and_kinds(version, kinds, tmp_path, monkeypatch):
    package(tmp_path, f"__version__ = {version!r}", monkeypatch)
    assert gpu.look_at_tensorrt() == Finding("pass", kinds)


def test_tensorrt_without_its_libraries_is_a_failure(tmp_path, monkeypatch):
    package(tmp_path, "raise ImportError('libnvinfer.so.10: cannot open')", monkeypatch)
    finding = gpu.look_at_tensorrt()
    assert finding.status == "fail"
    assert "libnvinfer.so.10" in finding.found
    assert "pip install" in finding.mend


def test_absent_tensorrt_tells_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    finding = gpu.look_at_tensorrt()
    assert finding.status == "absent"
    assert "[tensorrt85]" in finding.mend
    assert finding.found == "not installed"


def package(folder: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tensorrt.py").write_text(content)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
