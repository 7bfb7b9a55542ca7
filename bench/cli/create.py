"""Objects of configuration: the only place that makes a class of a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from typing import Any, get_type_hints

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from bench.cli.targets import INNER, check_target, not_given
from bench.errors import BenchError, ConfigError


def create(node: Any, part: str, **offered: Any) -> Any:
    """The object that a node's ``_target_`` makes of its options; what goes wrong is one line.

    Of the objects ``offered`` it gets those that it has a parameter for. This is the only place
    that makes a class of a name, see ``check_target``; options are plain values, so that nothing
    inside of them is instantiated or resolved again, but for the objects of one option (``INNER``).
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise not_given(part)
    options: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return _create(options, part, "", offered)


def _create(options: dict[str, Any], part: str, place: str, offered: Mapping[str, Any]) -> Any:
    """The object of these plain options; ``place`` says where they stand, "" for the part's."""
    name = check_target(options, part, place)
    del options["_target_"]
    try:
        target = get_class(name)
        _check_options(options, target, place or part, offered)
        inner = "" if place else INNER.get(part, "")
        if inner in options:
            options[inner] = _create_inner(options[inner], part, f"{part}.{inner}", offered)
        taken = signature(target).parameters.keys() & offered.keys()
        return target(**options, **{key: offered[key] for key in taken})
    except (BenchError, OSError):
        raise
    except Exception as error:  # whatever a class makes of values that do not fit it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{place or part} cannot be created ({reason})", f"Check conf/{part}"
        ) from error


def _create_inner(given: Any, part: str, place: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """The objects of an option by their names; ConfigError for a value that is none."""
    if not isinstance(given, dict):
        raise ConfigError(f"{place}={given} has no names with a {part} each", "Change or drop it")
    for name, options in given.items():
        if not isinstance(options, dict) or "_target_" not in options:
            raise ConfigError(f"{place}.{name} is not a {part}", f"Drop it: ~{place}.{name}")
    return {
        str(name): _create(options, part, f"{place}.{name}", offered)
        for name, options in given.items()
    }


def _check_options(
    options: Mapping[str, Any], target: type, part: str, offered: Mapping[str, Any]
) -> None:
    """Raise ConfigError for an option that the target does not take, or not with that value."""
    kinds = get_type_hints(target.__init__)  # type: ignore[misc]
    known = [name for name in signature(target).parameters if name not in offered]
    for key, value in options.items():
        if key not in known:
            mend = f"There is {', '.join(known)}" if known else "It takes none"
            raise ConfigError(f"{part} {target.__name__} has no option '{key}'", mend)
        _check_value(f"{part}.{key}", value, kinds.get(key, Any))


_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list, such as [first]",
}


def _check_value(option: str, value: Any, kind: Any) -> None:
    """Raise ConfigError if a value is not of this kind; in JSON a list may be a tuple."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except PydanticSchemaGenerationError:
        return  # a kind of its own checks its values itself
    except ValidationError as error:
        for wrong in error.errors():
            found = wrong["input"]
            if wrong["type"] == "string_type" and type(found) in (int, float):
                continue  # a folder may be called 2017
            place = ".".join([option, *map(str, wrong["loc"])])
            shown = found if isinstance(found, str) else json.dumps(found)
            wanted = _WANTED.get(wrong["type"], wrong["msg"].removeprefix("Input should be "))
            raise ConfigError(f"{place}={shown} is not {wanted}", "Change or drop it") from error
