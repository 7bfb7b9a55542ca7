"""Running an engine of TensorRT's, and its latency as trtexec measures it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.deploy.runner.cuda import Buffer, Cuda
from bench.deploy.runner.ground import KitError, percentile, rounded

WARM_UP_S = 0.2
CHUNK = 20
"""Inferences that are given to the GPU before the first of them is waited for."""
MOST_SAMPLES = 5000
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


class TrtSession:
    """One execution context with its memory and stream; ``outputs`` are their names in order.

    With ``graph`` an inference is recorded once and launched as one CUDA graph.
    """

    def __init__(
        self, trt: Any, log: Any, cuda: Cuda, plan: bytes, shape: list[int], outputs: list[str]
    ) -> None:
        self._trt, self._cuda, self._outputs = trt, cuda, outputs
        self._runtime = trt.Runtime(log)
        self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise KitError(f"TensorRT cannot load the engine ({log.reason})")
        self._context = self.engine.create_execution_context()
        if self._context is None:
            raise KitError(f"TensorRT cannot make room to run the engine ({log.reason})")
        self._context.nvtx_verbosity = trt.ProfilingVerbosity.NONE
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        (self._input,) = [
            name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        ]
        if not self._context.set_input_shape(self._input, tuple(shape)):
            raise KitError(f"the engine takes no input of {shape}")
        self._buffers = {name: self._buffer(name) for name in [self._input] + outputs}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.pointer)
        self._stream = cuda.call("cudaStreamCreate")
        self._enqueue()  # what is set up at the first inference cannot be recorded
        self._wait()
        self._graph: Any = None

    def _buffer(self, name: str) -> Buffer:
        extent = [int(side) for side in self._context.get_tensor_shape(name)]
        if min(extent, default=1) < 0:
            raise KitError(f"how large output '{name}' is depends on the image")
        dtype = _DTYPES[self.engine.get_tensor_dtype(name).name]
        return Buffer(self._cuda, extent, dtype)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise KitError("TensorRT cannot run the engine")

    def _launch(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.call("cudaGraphLaunch", self._graph, self._stream)

    def _wait(self) -> None:
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def use_graph(self) -> str:
        """Record the inference as a graph; why that cannot be, or nothing."""
        try:
            self._graph = self._cuda.record(self._stream, self._enqueue)
        except (RuntimeError, KitError) as error:
            return " ".join(str(error).split())
        return ""

    def run(self, batch: Any) -> list[Any]:
        """Host memory to host memory; copies of the outputs, as float32."""
        source = self._buffers[self._input]
        source.host[...] = batch
        source.push(self._stream)
        self._launch()
        for name in self._outputs:
            self._buffers[name].pull(self._stream)
        self._wait()
        return [np.array(self._buffers[name].host, np.float32) for name in self._outputs]

    def inspect(self) -> str:
        """What the engine inspector says of every layer, as JSON."""
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def latencies(self, batch: Any, seconds: float) -> dict[str, Any]:
        """Milliseconds as trtexec measures them: 200 ms of warm-up, then ``seconds`` or more.

        ``device``: between two CUDA events around the launch, device memory to device memory.
        ``host``: copies to and from the device included, by the host's clock. ``enqueue``: what
        the host spends on one launch without a graph.
        """
        self.run(batch)
        enqueue = self._enqueue_ms()
        plain = self._device_ms(seconds / 6)
        refused = self.use_graph() if len(batch) == 1 else "batches above 1 are launched without"
        self.run(batch)
        end = time.monotonic() + WARM_UP_S
        while time.monotonic() < end:
            self._launch()
            self._wait()
        return {
            "clock": "CUDA events",
            "graph": self._graph is not None,
            "graph_note": refused,
            "device_ms": rounded(self._device_ms(seconds)),
            "host_ms": rounded(self._host_ms(batch, seconds / 3)),
            "enqueue_p50_ms": round(percentile(enqueue, 50), 6),
            "device_without_graph_p50_ms": round(percentile(plain, 50), 6),
        }

    def _device_ms(self, seconds: float) -> list[float]:
        cuda = self._cuda
        times: list[float] = []
        events = [cuda.call("cudaEventCreate") for _ in range(2 * CHUNK)]
        pairs = list(zip(events[::2], events[1::2]))
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(times) < CHUNK:
            for start, stop in pairs:
                cuda.call("cudaEventRecord", start, self._stream)
                self._launch()
                cuda.call("cudaEventRecord", stop, self._stream)
            self._wait()
            times += [float(cuda.call("cudaEventElapsedTime", *pair)) for pair in pairs]
        for event in events:
            cuda.call("cudaEventDestroy", event)
        return times[:: max(1, len(times) // MOST_SAMPLES)]

    def _host_ms(self, batch: Any, seconds: float) -> list[float]:
        times: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(times) < 10:
            start = time.perf_counter()
            self.run(batch)
            times.append(1000 * (time.perf_counter() - start))
        return times[:: max(1, len(times) // MOST_SAMPLES)]

    def _enqueue_ms(self) -> list[float]:
        times: list[float] = []
        for _ in range(50):
            start = time.perf_counter()
            self._enqueue()
            times.append(1000 * (time.perf_counter() - start))
            self._wait()
        return times
