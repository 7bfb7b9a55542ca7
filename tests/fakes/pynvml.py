"""A stand-in for nvidia-ml-py; see ``tests/fakes/tensorrt``."""

import os

NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0


class NVMLError(Exception):
    pass


def nvmlInit():
    pass


def nvmlShutdown():
    pass


def nvmlDeviceGetHandleByPciBusId(bus):
    assert bus == "0000:01:00.0"
    return "handle"


def nvmlDeviceGetName(handle):
    return os.environ.get("FAKE_GPU", "NVIDIA Test GPU").encode()  # as older versions do


def nvmlDeviceGetHandleByIndex(index):
    return "handle"


def nvmlSystemGetDriverVersion():
    return "550.54"


def nvmlDeviceGetClockInfo(handle, kind):
    return 1410


def nvmlDeviceGetTemperature(handle, kind):
    return 54
