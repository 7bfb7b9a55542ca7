"""A signal after OpenVINO's sessions are gone reaches its handler, in whatever order they went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx

from tests.tiny_models import classifier

SCRIPT = """
import signal, sys
import onnx
from bench.engine.ov import OpenVino
model = onnx.load(sys.argv[1])
first, second = (OpenVino().build(model) for _ in range(2))
first.close()
second.close()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" leaves it ignored
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_after_all_sessions_are_closed(tmp_path: Path) -> None:
    onnx.save(classifier(batch=1), tmp_path / "model.onnx")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.onnx")]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr
