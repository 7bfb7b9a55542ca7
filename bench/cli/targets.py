"""Which classes a configuration may instantiate: this project's, and none that a row names.

A row, a table and a bundle contain the overrides that made them, and these are composed again. So
they are treated as untrusted: they may set values and choose files of ``conf/`` by name, but not
name a class or a configuration file elsewhere.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, Sweep
from omegaconf import DictConfig, OmegaConf

from bench.environment import CONF
from bench.errors import ConfigError

TRUSTED = "BENCH_TRUSTED_TARGETS"
"""The environment variable with further classes, separated by commas: no row can set it."""

_TARGET = re.compile(r"^\s*_target_:\s*(\S+)\s*$", re.MULTILINE)
_CHOICE = re.compile(r"[\w.+-]+(?:/[\w.+-]+)*")
_SHIPPED = {
    group.name: {
        name for file in group.glob("*.yaml") for name in _TARGET.findall(file.read_text("utf-8"))
    }
    for group in CONF.iterdir()
    if group.is_dir()
}
"""The classes that each folder of ``conf/`` names."""
_SHIPPED["also_build"] |= _SHIPPED["engine"]

INNER = {"calibrator": "rules"}
"""Per part, the option that holds objects by name, each of a class of the same folder of
``conf/``; these objects hold no further ones."""


def check_target(options: Any, part: str, place: str = "") -> str:
    """The class that these options of a ``part`` name.

    ``place`` is their position if that is not the part itself: "calibrator.rules.mse". Raises
    ConfigError unless ``conf/`` has the class for this part or the user trusts it. Also raises it
    for a class named deeper inside, except in the option of ``INNER``: nothing else is made.
    """
    name, where = options["_target_"], place or part
    inner = next((key for key in _keys(options, ()) if not _may_name(key, part, place)), None)
    if inner is not None:
        raise ConfigError(
            f"{where}.{'.'.join(inner)} names a class inside an option, which is not possible",
            "Drop it",
        )
    if not isinstance(name, str) or name not in {*_SHIPPED.get(part, ()), *_trusted()}:
        raise ConfigError(
            f"{where}._target_={name} is not a class of conf/{part}",
            f"Use {part}=NAME, or list your class in the environment variable {TRUSTED}",
        )
    return name


def _may_name(key: tuple[str, ...], part: str, place: str) -> bool:
    """Whether a class may be named there: in the object itself, or in its inner option."""
    inner = not place and len(key) == 3 and key[0] == INNER.get(part)
    return key == ("_target_",) or inner


def check_words(overrides: Sequence[str]) -> list[Override]:
    """Parse these words as overrides. Raises ConfigError for errors that Hydra does not describe: a
    word that is not text, and a group's choice that is not a name."""
    for word in overrides:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"{word!r} is not UTF-8 text", "Write KEY=VALUE") from error
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        if _chooses_file(override) and not _is_choice(override):
            group = override.key_or_group
            raise ConfigError(
                f"{override.input_line} is not a choice",
                f"Use {group}=NAME, or leave it out; conf/{group} lists the names",
            )
    return parsed


def check_typed(overrides: Sequence[str]) -> None:
    """Raise ConfigError for words of a row that are not values or names of ``conf/``: Hydra's
    settings, and configuration files elsewhere."""
    for word in overrides:
        if word.startswith("-"):
            raise ConfigError(f"'{word}' is not KEY=VALUE", "Drop it")
    for override in check_words(overrides):
        key, package = override.key_or_group, override.package or ""
        if "hydra" in (_first_part(key), _first_part(package)) or ".." in key.split("/"):
            raise ConfigError(f"a row cannot set {key}", "Drop it, or type it for a sweep")
        if _chooses_file(override) and not all(map(_is_name, _words(override.value()))):
            raise ConfigError(
                f"{override.input_line} names a file outside conf/{key}",
                f"Use {key}= with a name from conf/{key}",
            )


def _first_part(key: str) -> str:
    return re.split("[/.]", key)[0]


def check_keys(config: Any) -> None:
    """Raise ConfigError for a key that nothing reads, as ``+key=value`` and ``++key=value`` add.

    Options of what is instantiated (dataset, calibrator, ...) are checked where that is done.
    """
    for where, key, known in _unread(config, ""):
        near = difflib.get_close_matches(key, known, 1)
        fix = f"Did you mean {where}{near[0]}?" if near else f"There is {', '.join(known)}"
        raise ConfigError(f"nothing reads {where}{key}", fix)


def _unread(node: Any, where: str) -> Iterator[tuple[str, str, list[str]]]:
    """Of nodes with a schema the keys that it does not have, with those that it has."""
    schema = OmegaConf.get_type(node)
    known = [one.name for one in fields(schema)] if is_dataclass(schema) else []
    for key in map(str, node):
        inner = node._get_node(key)
        if not where and key == "hydra":
            continue
        if known and key not in known:
            yield where, key, known
        elif isinstance(inner, DictConfig) and not (inner._is_none() or "_target_" in inner):
            yield from _unread(inner, f"{where}{key}.")


def check_names(config: Any) -> None:
    """Raise ConfigError for a key that nothing reads, and for names of model and dataset that would
    lead a path out of its folder: folders and files of results are named after them."""
    check_keys(config)
    for part in ("model", "dataset"):
        node = config[part]
        if not isinstance(node, DictConfig):
            raise not_given(part)
        name = str(node.get("name", ""))
        if not name.isprintable() or not 1 <= len(name) <= 100 or set(name) & set("/\\"):
            raise ConfigError(
                f"{part}.name={name!r} cannot be the name of a folder",
                "Use letters and digits, no / and no line break",
            )


def not_given(part: str) -> ConfigError:
    """The error about a part for which nothing was chosen."""
    return ConfigError(f"{part} is not given", f"Add {part}=NAME; conf/{part} lists the names")


def _trusted() -> list[str]:
    return [name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip()]


def _keys(value: Any, where: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where a ``_target_`` stands in nested options."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "_target_":
                yield (*where, key)
            yield from _keys(inner, (*where, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _keys(inner, (*where, str(index)))


def _chooses_file(override: Override) -> bool:
    """Whether Hydra would look for a file: the key is a folder of ``conf/``, or has folders in
    it."""
    key = override.key_or_group
    return "/" in key or ("." not in key and (CONF / key).is_dir())


def _is_choice(override: Override) -> bool:
    """Whether Hydra takes the value where it looks for files: a name, names, or values of keys."""
    value = override.value()
    if override.is_delete():
        return value is None or isinstance(value, str)
    for choice in value.list if isinstance(value, ChoiceSweep) else [value]:
        names = choice if isinstance(choice, list) else [choice]
        if not all(isinstance(name, (str, QuotedString, Sweep, dict)) for name in names):
            return False
    return True


def _words(value: Any) -> list[str]:
    """The texts in an override's value; a mapping sets values and chooses no file."""
    if isinstance(value, (list, tuple)):
        return [word for inner in value for word in _words(inner)]
    return [] if value is None or isinstance(value, dict) else [str(value)]


def _is_name(word: str) -> bool:
    return bool(_CHOICE.fullmatch(word)) and ".." not in word.split("/")
