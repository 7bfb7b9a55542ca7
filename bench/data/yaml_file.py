"""Reading a YAML file of somebody else's: plain values, and no more of them than were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from bench.data.files import read_text
from bench.errors import DataError

MOST_NODES = 1_000_000


def read_yaml(path: Path, what: str, option: str) -> Any:
    """What the file says; DataError for what is no YAML, has tags of classes, or grows by its
    aliases: nine deep, nine each, they are a billion values on nine lines."""
    loader = yaml.SafeLoader(read_text(path, what, option))
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count(node, {}) > MOST_NODES:
            raise DataError(
                f"{path} repeats parts by aliases, to more than {MOST_NODES:,} values",
                "Write it without them",
            )
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError, ArithmeticError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"{path} is not a YAML file ({said})", f"Check {option}") from error
    finally:
        loader.dispose()


def _count(node: Any, known: dict[int, float]) -> float:
    """Values below the node, each as often as an alias repeats it; infinite for one in itself."""
    found = known.get(id(node))
    if found is None:
        known[id(node)] = float("inf")  # until it is known: an alias to what it stands in
        inner = node.value if isinstance(node.value, list) else []
        parts = [part for pair in inner for part in (pair if isinstance(pair, tuple) else (pair,))]
        found = known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return found
