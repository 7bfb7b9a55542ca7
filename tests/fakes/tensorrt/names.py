"""What every part of the stand-in knows: its version, that version's names, and the one logger."""

import enum
import os
import re
import weakref
from pathlib import Path

_ASKED = os.environ.get("FAKE_TENSORRT", "8.5.1.7")
__version__ = _ASKED.removeprefix("rtx-")
_LIST = Path(__file__).parents[2] / "engine" / "tensorrt_api" / f"{_ASKED}.txt"
NAMES = set(re.findall(r"^(?:class |static )?([\w.]+)", _LIST.read_text(), re.MULTILINE))
MAJOR = 11 if _ASKED.startswith("rtx-") else int(__version__.split(".")[0])  # RTX is like 11
MAGIC = b"ftrt"  # the first bytes of a plan
GPU = os.environ.get("FAKE_GPU", "NVIDIA Test GPU")
CAPABILITY = "SM" + os.environ.get("FAKE_CAPABILITY", "8.9").replace(".", "")


def _enumeration(name):
    members = [n.split(".")[1] for n in sorted(NAMES) if re.fullmatch(rf"{name}\.[A-Z0-9_]+", n)]
    return enum.IntEnum(name, {member: number for number, member in enumerate(members)})


BuilderFlag = _enumeration("BuilderFlag")
ComputeCapability = _enumeration("ComputeCapability")
DataType = _enumeration("DataType")
ElementWiseOperation = _enumeration("ElementWiseOperation")
LayerInformationFormat = _enumeration("LayerInformationFormat")
LayerType = _enumeration("LayerType")
MemoryPoolType = _enumeration("MemoryPoolType")
ProfilingVerbosity = _enumeration("ProfilingVerbosity")
NetworkDefinitionCreationFlag = _enumeration("NetworkDefinitionCreationFlag")
TacticSource = _enumeration("TacticSource")
TensorIOMode = _enumeration("TensorIOMode")


class Strict:
    """Takes no attribute that this version of the class has not, as the real bindings."""

    def __setattr__(self, name, value):
        if not name.startswith("_") and f"{type(self).__name__}.{name}" not in NAMES:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)


_users = weakref.WeakSet()  # builders and runtimes that live
_logger = None  # the first one's, and every other's


def registered(user, logger):
    """The one logger that TensorRT keeps while anybody lives who uses it."""
    global _logger
    _logger = _logger if _users else weakref.ref(logger)
    _users.add(user)
    alive = _logger()
    assert alive is not None, "the logger is gone: TensorRT would crash"
    return alive


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

    def __init__(self):
        pass
