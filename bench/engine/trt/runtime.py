"""Running a built engine: page-locked buffers, streams and graphs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.engine.base import Array, Description, DeviceTimes, LayerTime, Session
from bench.engine.trt.build_log import Log, open_log, reason
from bench.engine.trt.cuda import Buffer, call, find_gpu, load_cudart
from bench.engine.trt.device_timing import (
    ENOUGH_FOR_P99,
    executions_per_second,
    time_lane,
    time_transfers,
)
from bench.engine.trt.layer_profile import profile_lane
from bench.errors import EngineError
from bench.log import LOG

if TYPE_CHECKING:
    from tensorrt_api import ICudaEngine, IProfiler, TensorRT

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""TensorRT's types as numpy types (``trt.nptype`` of 8.5 fails with numpy from 1.24 on)."""


class LoadError(EngineError):
    """An engine's file that TensorRT cannot read."""


class Lane:
    """One inference in flight: an execution context with separate memory and stream.

    With ``graphs`` an inference is recorded once and launched as one CUDA graph; None: for batches
    of one image, if the engine can be recorded.
    """

    def __init__(
        self,
        trt: TensorRT,
        engine: ICudaEngine,
        outputs: Sequence[str],
        graphs: bool | None,
        log: Log,
    ) -> None:
        self._cudart, self._log = load_cudart(), log
        self._engine, self._context = engine, engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT has too little memory to run the engine ({reason(log)})")
        # Engines are built with details for the inspector. Profilers do not need them.
        self._context.nvtx_verbosity = trt.ProfilingVerbosity.NONE
        self._outputs, self._graphs = tuple(outputs), graphs
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        (self._input,) = (n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT)
        self.stream = call(self._cudart.cudaStreamCreate())
        self._buffers: dict[str, Buffer] = {}
        self._graph: Any = None
        self.shape: tuple[int, ...] | None = None
        """The shape of the batches that it is ready for; None before the first."""

    def run(self, batch: Array) -> Sequence[Array]:
        """Host memory to host memory; the outputs are copies for the caller."""
        if self.shape != batch.shape:
            self.prepare(batch.shape)
        source = self._buffers[self._input]
        source.host[...] = batch
        source.push(self.stream)
        self.launch()
        for name in self._outputs:
            self._buffers[name].pull(self.stream)
        call(self._cudart.cudaStreamSynchronize(self.stream))
        # An engine that somebody else built may have outputs in FP16.
        return [np.array(self._buffers[name].host, np.float32) for name in self._outputs]

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Memory for a batch of this shape, and the graph if it is to be recorded."""
        self._release()
        context, engine = self._context, self._engine
        if not context.set_input_shape(self._input, shape):
            raise EngineError(
                f"the engine does not take an input of shape {shape} ({reason(self._log)})",
                "Use an evaluation.batch_size that it was built for",
            )
        for name in (self._input, *self._outputs):
            extent = tuple(context.get_tensor_shape(name))
            if -1 in extent:
                raise EngineError(
                    f"the size of output '{name}' depends on the image, which is not supported",
                    "Export the model without suppression inside, or with a fixed number of boxes",
                )
            dtype = _DTYPES[engine.get_tensor_dtype(name).name]
            self._buffers[name] = Buffer(extent, dtype)
            context.set_tensor_address(name, self._buffers[name].pointer)
        self._enqueue()  # the set-up of the first inference cannot be recorded
        call(self._cudart.cudaStreamSynchronize(self.stream))
        if self._graphs or (self._graphs is None and shape[0] == 1):
            self._graph = self._record_if_possible()
        self.shape = shape

    def report_to(self, profiler: IProfiler) -> None:
        """Report the times of the layers of every inference from now on."""
        self._context.profiler = profiler

    @property
    def recorded(self) -> bool:
        """Whether an inference is launched as one graph."""
        return self._graph is not None

    @property
    def source(self) -> Buffer:
        """The input's memory, once there is any."""
        return self._buffers[self._input]

    @property
    def results(self) -> list[Buffer]:
        """The outputs' memory, once there is any."""
        return [self._buffers[name] for name in self._outputs]

    def _record_if_possible(self) -> Any:
        """The graph; None where none is required and the engine cannot be recorded."""
        try:
            return self._record()
        except EngineError as error:
            if self._graphs:
                raise
            LOG.info("the engine is launched kernel by kernel: %s", error)
            return None

    def _record(self) -> Any:
        cudart = self._cudart
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture(self.stream, mode))
        try:
            self._enqueue()
        finally:
            ended = cudart.cudaStreamEndCapture(self.stream)  # also where it failed
        graph = call(ended)
        ready = call(cudart.cudaGraphInstantiateWithFlags(graph, 0))
        call(cudart.cudaGraphDestroy(graph))
        return ready

    def launch(self) -> None:
        """Device memory to device memory, without waiting for the end."""
        if self._graph is None:
            self._enqueue()
        else:
            call(self._cudart.cudaGraphLaunch(self._graph, self.stream))

    def _enqueue(self) -> None:
        context = self._context
        if not context.execute_async_v3(int(self.stream)):
            raise EngineError(f"TensorRT cannot run the engine ({reason(self._log)})")

    def _release(self) -> None:
        self.shape = None
        if self._graph is not None:
            call(self._cudart.cudaGraphExecDestroy(self._graph))
            self._graph = None
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers.clear()

    def close(self) -> None:
        """Free memory and stream."""
        self._release()
        call(self._cudart.cudaStreamDestroy(self.stream))
        del self._context, self._engine


class TensorRtSession(Session):
    """An engine on the GPU as a session of this program.

    ``outputs`` are the names in the ONNX file's order; ``nodes`` gives the ONNX nodes behind each
    layer of the engine. ``streams`` inferences are in flight when
    the throughput is measured, otherwise one.
    """

    on_gpu = True

    def __init__(
        self,
        trt: TensorRT,
        plan: bytes,
        outputs: Sequence[str],
        graphs: bool | None,
        streams: int,
        describe: Callable[[TensorRtSession], Description],
        nodes: Callable[[TensorRtSession], Mapping[str, Sequence[str]]],
    ) -> None:
        self._cudart, self._describe, self._nodes = load_cudart(), describe, nodes
        self._trt, self._outputs, self._log = trt, outputs, open_log(trt)
        self._runtime = trt.Runtime(self._log)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise LoadError(f"TensorRT cannot load the engine ({reason(self._log)})")
        self.engine = engine
        self._lanes = [Lane(trt, engine, outputs, graphs, self._log) for _ in range(streams)]

    def run(self, batch: Array) -> Sequence[Array]:
        return self._lanes[0].run(batch)

    def device_ms(self) -> list[float]:
        """Milliseconds of an execution by the GPU's clock; see ``time_lane``."""
        self._shape()
        return time_lane(self._lanes[0]).gpu_ms

    def device_times(self) -> DeviceTimes:
        """Raises EngineError if the session has not run."""
        shape, lane, gpu = self._shape(), self._lanes[0], find_gpu()
        timed = time_lane(lane)
        p50, p90, p99 = np.percentile(timed.gpu_ms, (50, 90, 99)).tolist()
        if len(timed.gpu_ms) < ENOUGH_FOR_P99:
            p99 = math.nan
        upload, download = time_transfers(lane)
        for other in self._lanes:
            if other.shape != shape:
                other.prepare(shape)
        throughput = shape[0] * executions_per_second(self._lanes)
        return DeviceTimes(
            p50, p90, p99, statistics.median(timed.enqueue_ms), upload, download, lane.recorded,
            throughput, gpu.clock_mhz(), gpu.temperature_c(),
        )  # fmt: skip

    def _shape(self) -> tuple[int, ...]:
        shape = self._lanes[0].shape
        if shape is None:
            raise EngineError("the engine has not run yet: there is nothing to time")
        return shape

    def describe(self) -> Description:
        return self._describe(self)

    def layer_times(self, batch: Array, runs: int) -> Sequence[LayerTime]:
        lane = Lane(self._trt, self.engine, self._outputs, False, self._log)
        try:
            return profile_lane(self._trt, lane, batch, runs, self._nodes(self))
        finally:
            lane.close()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        del self._lanes, self.engine, self._runtime
