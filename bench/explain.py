"""Hydra's and OmegaConf's complaints, which span lines and speak of their insides, as one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def one_line(error: BaseException) -> str:
    """What was wrong, where and the mend; an error that is not known here keeps its words."""
    if isinstance(error, MissingConfigException) and error.options:
        return _unknown_choice(error.missing_cfg_file or "", error.options)
    if isinstance(error, OverrideParseException):
        return (
            f"'{error.override}' cannot be read. Write KEY=VALUE, and a value with special "
            f"characters in quotes of its own: KEY='\"a, b\"'"
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return _unknown_option(cause)
    if isinstance(cause, ValidationError) and cause.full_key:
        return _bad_value(cause)
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} is not given. Add {cause.full_key}=VALUE to the command"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}. Check sweep.out and sweep.cache"
    several = re.match(
        r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?: |$)", str(error), re.M
    )
    if several:
        return (
            f"{several[1]} names several values. Add --multirun to sweep over them, or write a "
            f"list as KEY=[A,B]"
        )
    return " ".join(str(error).split())


def _unknown_choice(choice: str, options: Sequence[str]) -> str:
    group, _, name = choice.rpartition("/")
    return f"{group}={name} is unknown. Use one of {', '.join(options)}"


def _unknown_option(error: OmegaConfBaseException) -> str:
    key = str(error.full_key)
    where, _, name = key.rpartition(".")
    parent = error.parent_node
    known = (
        [str(k) for k in parent if k not in ("_target_", "hydra")]
        if isinstance(parent, DictConfig)
        else []
    )
    near = difflib.get_close_matches(name, known, n=1)
    prefix = f"{where}." if where else ""
    mend = f"Did you mean {prefix}{near[0]}? " if near else ""
    if known:
        mend += f"There is {', '.join(prefix + k for k in known)}"
    else:
        mend += f"{where}, as chosen, has none"
    return f"option {key} is unknown. {mend}"


def _bad_value(error: OmegaConfBaseException) -> str:
    key, words = error.full_key, str(error).splitlines()[0]
    shown = "null" if error.value is None else error.value
    kind = re.search(r"could not be converted to (\w+)", words)
    if kind:
        return f"{key}={shown} is not {_KINDS.get(kind[1], kind[1])}. Change or drop it"
    if "is not Optional" in words:
        return f"{key}=null is not possible. Give it a value"
    if "Invalid type assigned" in words:
        return f"{key}={shown} is not possible. Set its options one by one: {key}.OPTION=VALUE"
    return f"{key}={shown} is not possible ({words})"
