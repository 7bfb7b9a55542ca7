"""Pieces of a network in OpenVINO, computed exactly: tensors by name in, tensors by name out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bench.engine.ov import compile_exact
from bench.errors import EngineError

Values = Mapping[str, npt.NDArray[Any]]


class OpenPiece:
    """A piece, float or Q/DQ, with every sum exact up to the rounding of float32. Several threads
    may run it at the same time: each compiles it for itself, on one core.
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
            self._request.infer([values[name] for name in self._inputs], share_inputs=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"OpenVINO cannot run a piece of the model ({reason})") from error
        results = self._request.output_tensors
        return {
            name: np.array(result.data) for name, result in zip(self.gives, results, strict=True)
        }
