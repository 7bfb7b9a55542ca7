"""A stand-in for cuda-python's runtime: the device's memory is the host's; see ``tests/fakes``."""

import ctypes
import enum
import itertools
import os
import time


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


OK = (cudaError_t.cudaSuccess,)
host, device = {}, {}
recording = None  # the calls of a graph while it is captured, else None
streams = itertools.count(1)
launched = 0  # graphs, so far


def cudaGetDeviceCount():
    if os.environ.get("FAKE_NO_DRIVER"):
        raise RuntimeError("Failed to dlopen libcuda.so.1")
    return (*OK, 1)


def cudaDeviceGetPCIBusId(length, number):
    return (*OK, b"0000:01:00.0\0".ljust(length))  # the real one fills up with spaces


def cudaDeviceGetAttribute(attr, number):
    major, minor = map(int, os.environ.get("FAKE_CAPABILITY", "8.9").split("."))
    return (*OK, major if attr == cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor else minor)


def _take(memory, size):
    block = ctypes.create_string_buffer(size)
    memory[ctypes.addressof(block)] = block
    return (*OK, ctypes.addressof(block))


def cudaMallocHost(size):
    return _take(host, size)


def cudaMalloc(size):
    return _take(device, size)


def cudaFreeHost(pointer):
    del host[pointer]
    return OK


def cudaFree(pointer):
    del device[pointer]
    return OK


def cudaMemcpyAsync(target, source, count, kind, stream):
    ends = (device, host) if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else (host, device)
    if target not in ends[0] or source not in ends[1]:
        return (cudaError_t.cudaErrorInvalidValue,)
    ctypes.memmove(target, source, count)
    return OK


def cudaDeviceSynchronize():
    return OK


def cudaStreamCreate():
    return (*OK, next(streams))


def cudaStreamSynchronize(stream):
    return OK


def cudaStreamDestroy(stream):
    return OK


def cudaStreamBeginCapture(stream, mode):
    global recording
    recording = []
    return OK


def cudaStreamEndCapture(stream):
    global recording
    graph, recording = recording, None
    return (*OK, graph)


def cudaGraphInstantiateWithFlags(graph, flags):
    return (*OK, list(graph))


def cudaGraphLaunch(graph, stream):
    global launched
    launched += 1
    for work in graph:
        work()
    return OK


def cudaGraphDestroy(graph):
    return OK


def cudaGraphExecDestroy(graph):
    return OK


def cudaEventCreate():
    return (*OK, [0.0])


def cudaEventRecord(event, stream):
    event[0] = time.perf_counter()
    return OK


def cudaEventSynchronize(event):
    return OK


def cudaEventElapsedTime(start, end):
    return (*OK, 1000 * (end[0] - start[0]))


def cudaEventDestroy(event):
    return OK
