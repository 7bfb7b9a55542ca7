"""The heads of ``conf/head``, and the preprocessing that models with each usually have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bench.cli.config import PreprocessConfig
from bench.cli.create import create
from bench.environment import CONF
from bench.errors import ConfigError
from bench.model.heads.base import Head


@dataclass(frozen=True)
class ChosenHead:
    """A head with its name in ``conf/head``, and the preprocessing that its models usually have."""

    name: str
    head: Head
    convention: dict[str, Any]


def all_heads() -> dict[str, Head]:
    """Every head of ``conf/head`` by its name."""
    return {
        file.stem: head_named(file.stem).head for file in sorted((CONF / "head").glob("*.yaml"))
    }


def head_named(name: str) -> ChosenHead:
    """The head of ``conf/head``; raises ConfigError for a name that it does not have."""
    known = {file.stem: file for file in sorted((CONF / "head").glob("*.yaml"))}
    if name not in known:
        what = f"={name} is unknown" if name else " is not given"
        raise ConfigError(f"model.head{what}", f"Use model.head= with one of {', '.join(known)}")
    content: Any = OmegaConf.load(known[name])
    preprocess = OmegaConf.merge(OmegaConf.structured(PreprocessConfig), content.preprocess)
    return ChosenHead(name, create(content.head, "head"), given_options(preprocess))


def given_options(node: Any) -> dict[str, Any]:
    """The options that are set; null means not given."""
    values: Any = OmegaConf.to_container(node) if isinstance(node, DictConfig) else dict(node)
    names = {key: own.name if isinstance(own, Enum) else own for key, own in values.items()}
    return {key: value for key, value in names.items() if value is not None}
