"""A sweep on two workers, of which one is killed while it sends the result of its run:
``python -m tests.e2e.half_message OVERRIDES``."""

from __future__ import annotations

import os
import signal
import struct
import sys
from multiprocessing.connection import Connection

from omegaconf import DictConfig

VICTIM = 8
"""Calibration images of the run whose worker is killed."""


def send_half(pipe: Connection, content: bytes) -> None:
    """The length of a message and its first byte; then the process is killed."""
    os.write(pipe.fileno(), struct.pack("!i", 1000) + b"x")
    os.kill(os.getpid(), signal.SIGKILL)


def job_of_victim(config: DictConfig) -> float | tuple[float, ...]:
    from bench.cli.job import job

    result = job(config)
    if config.calibration.size == VICTIM:
        Connection._send_bytes = send_half  # type: ignore[attr-defined]
    return result


if __name__ == "__main__":
    from bench.cli import app
    from tests.e2e import half_message  # by this name a worker can import it

    app.job = half_message.job_of_victim  # type: ignore[attr-defined]
    sys.exit(app.main(["--multirun", *sys.argv[1:]]))
