"""Hydra's and OmegaConf's errors (several lines about their internals) as one line each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import ParamSpec

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from bench.cli.command import in_one_line, plain_line
from bench.errors import BenchError, shortened

P = ParamSpec("P")

_HINTS = {
    "dataset.labels": "dataset=imagefolder takes a file; dataset=images measures agreement "
    "with the FP32 model",
    "also_build.compute_capability": "Add also_build=tensorrt_rtx",
    "engine.also_build": "Write also_build=tensorrt_rtx; it works with every engine",
}
"""The fix for an option that the chosen parts do not have."""

_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def command(main: Callable[P, int]) -> Callable[P, int]:
    """A command's ``main``: a user's error is one line, and exit status 2."""

    wrong = (BenchError, HydraException, OmegaConfBaseException, OSError)
    return in_one_line(main, wrong, one_line)


def one_line(error: BaseException) -> str:
    """What was wrong, where, and the fix; an error that is unknown here is passed on unchanged."""
    return shortened(_line(error))


def _line(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.options:
        return _unknown_choice(error.missing_cfg_file or "", error.options)
    if isinstance(error, OverrideParseException):
        word = shortened(str(error.override))
        return (
            f"'{word}' cannot be read. Write KEY=VALUE, and put a value with special "
            f"characters in quotes: KEY='\"a, b\"'"
        )
    behind = error.__cause__ or error.__context__  # Hydra's errors carry OmegaConf's
    hydras = isinstance(error, HydraException) and isinstance(behind, OmegaConfBaseException)
    cause = behind if hydras and behind else error
    file = re.match(r"In '(.*)': \w+ raised while composing", str(error))
    if file and cause is not error:
        return f"conf/{file[1]}.yaml: {one_line(cause)}"
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return _unknown_option(cause)
    if isinstance(cause, ValidationError):
        return _bad_value(cause)
    missing = re.search(r"Missing mandatory value: (\S+)", str(cause))
    if missing and isinstance(cause, InterpolationToMissingValueError):
        return f"{missing[1]} is not given. Add {missing[1]}=VALUE to the command"
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} is not given. Add {cause.full_key}=VALUE to the command"
    several = re.match(
        r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?: |$)", str(error), re.M
    )
    if several:
        return (
            f"{several[1]} names several values. Add --multirun to sweep over them, or write a "
            f"list as KEY=[A,B]"
        )
    return plain_line(error)


def _unknown_choice(choice: str, options: Sequence[str]) -> str:
    group, _, name = choice.rpartition("/")
    return f"{group}={name} is unknown. Use one of {', '.join(options)}"


def _unknown_option(error: OmegaConfBaseException) -> str:
    key, parent = str(error.full_key), error.parent_node
    where, _, name = key.rpartition(".")
    known = [str(k) for k in parent if k != "_target_"] if isinstance(parent, DictConfig) else []
    near = difflib.get_close_matches(name, known, n=1)
    if key in _HINTS:
        fix = _HINTS[key]
    elif near:
        fix = f"Did you mean {where}{'.' if where else ''}{near[0]}?"
    elif known:
        fix = f"{where or 'The command'} has {', '.join(k for k in known if k != 'hydra')}"
    else:
        fix = f"the chosen {where} has no options"
    return f"option {key} is unknown. {fix}"


def _bad_value(error: OmegaConfBaseException) -> str:
    words = str(error).splitlines()[0]
    key = error.full_key or _after("full_key: ", str(error))
    given = re.match(r"Value '(.*)' of type .* could not be converted to (\w+)", words)
    if given:
        return f"{key}={given[1]} is not {_KINDS.get(given[2], given[2])}. Change or drop it"
    choice = re.match(r"Invalid value '(.*)', expected one of \[(.*)\]", words)
    if choice:
        return f"{key}={choice[1]} is unknown. Use {' or '.join(choice[2].split(', '))}"
    if "is not Optional" in words:
        return f"{key}=null is not possible. Give it a value"
    if "Invalid type assigned" in words:
        return f"{key} is a group of options, not a value. Set its options: {key}.OPTION=VALUE"
    return f"{key} is not possible ({words})"


def _after(mark: str, text: str) -> str:
    match = re.search(re.escape(mark) + r"(\S+)", text)
    return match[1] if match else "a value"
