"""Keys and values of a Python caller as words of the command line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from bench.diagnosis.lists import quoted
from bench.errors import ConfigError

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
"""Text that Hydra reads as it stands, unless it is one of ``_OTHER``."""
_OTHER = ("null", "true", "false", "nan", "inf")


def words_of(keys: Sequence[str | Mapping[str, object]]) -> list[str]:
    """Words as they stand, and those of mappings, whose values are taken as they are.

    >>> words_of(["plan=all", {"model.path": "a, b.onnx", "evaluation.images": None}])
    ['plan=all', "model.path='a, b.onnx'", 'evaluation.images=null']

    Raises ConfigError for anything else, and for a value that is not plain.
    """
    words: list[str] = []
    for given in keys:
        if isinstance(given, str):
            if given.startswith("-") or "=" not in given.lstrip("~"):
                raise ConfigError(f"'{given}' is not KEY=VALUE", "Write it so, or give a mapping")
            words.append(given)
        elif isinstance(given, Mapping):
            words += [f"{key}={_value(str(key), value)}" for key, value in given.items()]
        else:
            raise ConfigError(
                f"{given!r} is neither KEY=VALUE nor a mapping", 'Write "calibration.size=64"'
            )
    return words


def key_of(word: str) -> str:
    """The key of KEY=VALUE, without what Hydra puts in front of one."""
    return word.partition("=")[0].lstrip("+~")


def _value(key: str, value: object) -> str:
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float) and math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, PurePath):
        return _value(key, str(value))
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _OTHER
        return value if is_plain else quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_value(key, one) for one in value)}]"
    raise ConfigError(
        f"{key}: {type(value).__name__} {value!r} is no value of a key",
        "Use text, numbers, true or false, None, or a list of these",
    )
