"""OpenVINO in several threads."""

from __future__ import annotations

import subprocess
import sys

from bench import environment

FIRST_USE = """
import os, threading
import bench.engine.ov
import openvino as ov

barrier = threading.Barrier(4)

def use():
    barrier.wait()
    ov.Type.f32.to_dtype()

threads = [threading.Thread(target=use, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
os._exit(sum(thread.is_alive() for thread in threads))
"""


def test_the_first_use_by_several_threads_does_not_hang():
    """Without the call in ``bench.engine.ov`` it hangs in about one of four processes."""
    command = [sys.executable, "-c", FIRST_USE]
    ended = subprocess.run(command, env=environment.of_twin(), timeout=120, check=False)
    assert ended.returncode == 0
