"""Which INT8 calibrator an ONNX model needs. From Python: see ``bench.api``, whose names are here
too, imported when they are first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["calibrate", "draw_report", "evaluate", "quantize", "run_once", "sweep"]

if TYPE_CHECKING:
    from bench.api import calibrate, draw_report, evaluate, quantize, run_once, sweep
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'bench' has no attribute '{name}'")
        from importlib import import_module

        return getattr(import_module("bench.api"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
