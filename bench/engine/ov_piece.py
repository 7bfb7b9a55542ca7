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
    """A compiled piece: float, or Q/DQ with every sum exact up to the rounding of float32.

    It runs one image at a time on all cores. Two streams would be a fifth faster, but OpenVINO
    2026.4.1 builds their graphs side by side at the first inference, and of 24 such models of one
    Q/DQ file 3 then gave other outputs (10 dB) for as long as they lived; of 48 with one stream
    none did. Raises EngineError where OpenVINO refuses the piece.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._inputs = [value.name for value in model.graph.input]
        self.gives = tuple(value.name for value in model.graph.output)
        self._request = compile_exact(model).create_infer_request() if self.gives else None

    def run(self, values: Values) -> dict[str, npt.NDArray[Any]]:
        """The piece's outputs; ``values`` has its inputs, and may have more."""
        if self._request is None:
            return {}
        try:
            self._request.infer([values[name] for name in self._inputs], share_inputs=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"OpenVINO cannot run a piece of the model ({reason})") from error
        results = self._request.output_tensors
        return {
            name: np.array(result.data) for name, result in zip(self.gives, results, strict=True)
        }
