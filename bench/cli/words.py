"""Keys and values of a Python caller as words of the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from bench.diagnosis.lists import quoted
from bench.errors import ConfigError


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
        return quoted(str(value))
    if isinstance(value, str):
        # Names need no quotes, and groups do not take them.
        return value if value.replace("_", "").isalnum() and not _is_other(value) else quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_value(key, one) for one in value)}]"
    raise ConfigError(
        f"{key}: {type(value).__name__} {value!r} is no value of a key",
        "Use text, numbers, true or false, None, or a list of these",
    )


def _is_other(text: str) -> bool:
    """Whether Hydra would read a bare word as something else than this text."""
    return text.lower() in ("null", "true", "false", "nan", "inf") or text[0].isdigit()
