"""Running a built engine: page-locked buffers, one stream, and CUDA's own clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.engine.base import Array, Description, Session
from bench.engine.messages import open_log, reason
from bench.engine.trt.cuda import Buffer, call, load_cudart
from bench.errors import EngineError

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""TensorRT's types in numpy's words (``trt.nptype`` of 8.5 fails with numpy from 1.24 on)."""

_WARM_UP, _TIMED = 20, 200


class LoadError(EngineError):
    """An engine's file that TensorRT cannot read."""


class TensorRtSession(Session):
    """An engine on the GPU behind the harness's seam.

    ``outputs`` are the names in the ONNX file's order. With ``graphs`` the work of an inference is
    recorded once and launched as one CUDA graph.
    """

    def __init__(
        self,
        trt: Any,
        plan: bytes,
        outputs: Sequence[str],
        graphs: bool,
        describe: Callable[[TensorRtSession], Description],
    ) -> None:
        self._trt, self._cudart = trt, load_cudart()
        self._log = open_log(trt)
        self._runtime = trt.Runtime(self._log)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise LoadError(f"TensorRT cannot load the engine ({reason(self._log)})")
        self.engine = engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT cannot make room to run the engine ({reason(self._log)})")
        self._outputs, self._graphs, self._describe = tuple(outputs), graphs, describe
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        (self._input,) = inputs
        self._stream = call(self._cudart.cudaStreamCreate())
        self._buffers: dict[str, Buffer] = {}
        self._shape: tuple[int, ...] | None = None  # what everything is prepared for
        self._graph: Any = None

    def run(self, batch: Array) -> Sequence[Array]:
        if batch.shape != self._shape:
            self._prepare(batch.shape)
        source = self._buffers[self._input]
        source.host[...] = batch
        source.push(self._stream)
        self._launch()
        for name in self._outputs:
            self._buffers[name].pull(self._stream)
        call(self._cudart.cudaStreamSynchronize(self._stream))
        return [self._buffers[name].host.copy() for name in self._outputs]

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """Memory for a batch of this shape, and the graph if it is to be recorded."""
        self._release()
        context, engine = self._context, self.engine
        if not context.set_input_shape(self._input, shape):
            raise EngineError(
                f"the engine takes no input of {shape} ({reason(self._log)})",
                "Use an evaluation.batch_size that it was built for",
            )
        for name in (self._input, *self._outputs):
            extent = tuple(context.get_tensor_shape(name))
            if -1 in extent:
                raise EngineError(
                    f"how large output '{name}' is depends on the image, which is not supported",
                    "Export the model without suppression inside, or with a fixed number of boxes",
                )
            dtype = _DTYPES[engine.get_tensor_dtype(name).name]
            self._buffers[name] = Buffer(extent, dtype)
            context.set_tensor_address(name, self._buffers[name].pointer)
        self._enqueue()  # what is set up at the first inference cannot be recorded
        call(self._cudart.cudaStreamSynchronize(self._stream))
        if self._graphs:
            self._graph = self._record()
        self._shape = shape

    def _record(self) -> Any:
        cudart = self._cudart
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture(self._stream, mode))
        self._enqueue()
        graph = call(cudart.cudaStreamEndCapture(self._stream))
        ready = call(cudart.cudaGraphInstantiateWithFlags(graph, 0))
        call(cudart.cudaGraphDestroy(graph))
        return ready

    def _launch(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            call(self._cudart.cudaGraphLaunch(self._graph, self._stream))

    def _enqueue(self) -> None:
        context = self._context
        if not context.execute_async_v3(int(self._stream)):
            raise EngineError(f"TensorRT cannot run the engine ({reason(self._log)})")

    def device_ms(self) -> list[float]:
        """Milliseconds of 200 inferences between two CUDA events, device memory to device memory.

        That is ``trtexec``'s GPU compute time. The input is that of the last ``run``; EngineError
        if there was none.
        """
        if self._shape is None:
            raise EngineError("the engine has not run yet: there is nothing to time")
        cudart, times = self._cudart, []
        start, end = call(cudart.cudaEventCreate()), call(cudart.cudaEventCreate())
        for number in range(_WARM_UP + _TIMED):
            call(cudart.cudaEventRecord(start, self._stream))
            self._launch()
            call(cudart.cudaEventRecord(end, self._stream))
            call(cudart.cudaEventSynchronize(end))
            if number >= _WARM_UP:
                times.append(float(call(cudart.cudaEventElapsedTime(start, end))))
        for event in (start, end):
            call(cudart.cudaEventDestroy(event))
        return times

    def percentiles_ms(self) -> tuple[float, float, float]:
        """p50, p90 and p99 of ``device_ms``."""
        p50, p90, p99 = np.percentile(self.device_ms(), (50, 90, 99))
        return float(p50), float(p90), float(p99)

    def describe(self) -> Description:
        return self._describe(self)

    def _release(self) -> None:
        self._shape = None
        if self._graph is not None:
            call(self._cudart.cudaGraphExecDestroy(self._graph))
            self._graph = None
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers.clear()

    def close(self) -> None:
        self._release()
        call(self._cudart.cudaStreamDestroy(self._stream))
        del self._context, self.engine, self._runtime
