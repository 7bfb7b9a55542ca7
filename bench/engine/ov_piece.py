"""Pieces of a network in OpenVINO, computed exactly; inputs and outputs are tensors by name.

Small layers gain little from a second core: one image per core at a time is a fifth faster than
one image on two cores (YOLOX-nano).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx

from bench.engine.ov import compile_exact
from bench.environment import own_cores
from bench.errors import EngineError

Values = Mapping[str, npt.NDArray[Any]]

T = TypeVar("T")
R = TypeVar("R")

MOST_AT_ONCE = 8
"""Images at a time: each needs memory for its values."""


class OpenPiece:
    """A piece, float or Q/DQ, with every sum exact up to the rounding of float32. Several threads
    may run it at the same time: each compiles its copy, on one core.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._inputs = [value.name for value in model.graph.input]
        self.gives = tuple(value.name for value in model.graph.output)
        self._content = model.SerializeToString() if self.gives else b""
        self._of_thread = local()

    def run(self, values: Values) -> dict[str, npt.NDArray[Any]]:
        """The piece's outputs; ``values`` has its inputs, and may have more.

        Raises EngineError where OpenVINO refuses the piece.
        """
        if not self.gives:
            return {}
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = compile_exact(self._content).create_infer_request()
            self._of_thread.request = request
        try:
            request.infer([values[name] for name in self._inputs], share_inputs=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"OpenVINO cannot run a piece of the model ({reason})") from error
        results = request.output_tensors
        return {
            name: np.array(result.data) for name, result in zip(self.gives, results, strict=True)
        }


class Workers:
    """Threads for pieces, as many as there are images at a time. A context manager."""

    def __enter__(self) -> Workers:
        cores = own_cores() or os.cpu_count() or 1
        self._at_once = min(cores, MOST_AT_ONCE)
        self._pool = ThreadPoolExecutor(self._at_once)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``function`` of each item, in order; runs at most as many items ahead as there are
        threads."""
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(self._pool.submit(function, item))
            if len(ahead) > self._at_once:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
