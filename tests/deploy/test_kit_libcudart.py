"""The runner's way to CUDA without cuda-python: a library in C, whose device is the host."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from bench.deploy.runner import cuda as runner
from bench.deploy.runner.cuda import Buffer, Cuda, LibCudart
from bench.deploy.runner.ground import NotHereError

SOURCE = r"""
#include <stdlib.h>
#include <string.h>
#define STREAM ((void*)0x7fff12345678)
static int count = 1;
void give_devices(int n) { count = n; }
int cudaGetDeviceCount(int* n) { *n = count; return count ? 0 : 100; }
int cudaDriverGetVersion(int* n) { *n = 12040; return 0; }
int cudaDeviceGetAttribute(int* v, int k, int d) { *v = k == 75 ? 8 : k == 76 ? 7 : -1; return d; }
int cudaGetDeviceProperties(void* p, int d) { strcpy(p, "Test GPU"); return d; }
int cudaMalloc(void** p, size_t n) { *p = malloc(n); return !*p; }
int cudaMallocHost(void** p, size_t n) { *p = malloc(n); return !*p; }
int cudaMemcpyAsync(void* to, void* from, size_t n, int kind, void* stream) {
  if (stream != STREAM || (kind != 1 && kind != 2)) return 1;
  memcpy(to, from, n);
  return 0;
}
int cudaStreamCreate(void** s) { *s = STREAM; return 0; }
int cudaStreamSynchronize(void* s) { return s != STREAM; }
int cudaEventCreate(void** e) { *e = calloc(1, 8); return 0; }
int cudaEventRecord(void* e, void* s) { static long t; *(long*)e = ++t; return s != STREAM; }
int cudaEventElapsedTime(float* ms, void* a, void* b) { *ms = *(long*)b - *(long*)a; return 0; }
int cudaEventDestroy(void* e) { free(e); return 0; }
int cudaStreamBeginCapture(void* s, int mode) { return s != STREAM || mode != 1; }
int cudaStreamEndCapture(void* s, void** graph) { *graph = (void*)0x7fff87654321; return 0; }
int cudaGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long flags) {
  *ready = graph;
  return graph != (void*)0x7fff87654321 || flags != 0;
}
int cudaGraphLaunch(void* graph, void* s) {
  return graph != (void*)0x7fff87654321 || s != STREAM;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("libcudart")
    (folder / "cudart.c").write_text(SOURCE)
    target = folder / "libcudart.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(target), str(folder / "cudart.c")], check=True
    )
    return ctypes.CDLL(str(target))


@pytest.fixture
def cuda(library: Any) -> Cuda:
    return Cuda(LibCudart(library))


def test_pointers_are_not_cut_to_32_bits(cuda: Cuda) -> None:
    stream = cuda.call("cudaStreamCreate")
    assert stream == 0x7FFF12345678
    buffer = Buffer(cuda, [2, 3], np.float32)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    buffer.host[...] = values
    buffer.push(stream)
    buffer.host[...] = 0
    buffer.pull(stream)
    cuda.call("cudaStreamSynchronize", stream)
    assert np.array_equal(buffer.host, values)


def test_events_and_graphs(cuda: Cuda) -> None:
    stream, enqueued = cuda.call("cudaStreamCreate"), []
    first, second = cuda.call("cudaEventCreate"), cuda.call("cudaEventCreate")
    cuda.call("cudaEventRecord", first, stream)
    cuda.call("cudaEventRecord", second, stream)
    assert cuda.call("cudaEventElapsedTime", first, second) == 1.0
    cuda.call("cudaEventDestroy", first)
    graph = cuda.record(stream, lambda: enqueued.append(1))
    cuda.call("cudaGraphLaunch", graph, stream)
    assert enqueued == [1]


def test_it_tells_the_gpu(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "board_name", lambda: "")
    monkeypatch.setattr(runner, "_name_by_nvml", lambda: "")
    assert cuda.describe() == {
        "gpu": "Test GPU",
        "capability": "8.7",
        "driver_cuda": 12040,
        "runtime_cuda": None,  # this library has no such function
    }


def test_a_failing_call_is_named(cuda: Cuda) -> None:
    with pytest.raises(RuntimeError, match="cudaStreamSynchronize failed"):
        cuda.call("cudaStreamSynchronize", 1)


def test_no_gpu_is_one_line(library: Any) -> None:
    library.give_devices(0)
    try:
        with pytest.raises(NotHereError, match="finds no GPU or driver"):
            Cuda(LibCudart(library))
    finally:
        library.give_devices(1)
