"""The hash of source code: it changes with any edit that can change a result, and no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cache import source_key

FILES = {"__init__.py": "", "maker.py": "", "tools/__init__.py": "", "tools/cut/saw.py": ""}


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """``edit(name)`` changes a file of a tiny package."""
    for name, text in FILES.items():
        path = tmp_path / "tinypackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def change(name: str) -> None:
        path = tmp_path / "tinypackage" / name
        path.write_text((path.read_text() if path.exists() else "") + "# edited\n")

    yield change
    for name in [own for own in sys.modules if own.startswith("tinypackage")]:
        del sys.modules[name]


def test_an_edit_of_a_module_changes_its_key_alone(edit):
    maker, tools = source_key("tinypackage.maker"), source_key("tinypackage.tools")
    assert source_key("tinypackage.maker") == maker
    edit("maker.py")
    assert source_key("tinypackage.maker") != maker
    assert source_key("tinypackage.tools") == tools


@pytest.mark.parametrize("name", ["tools/cut/saw.py", "tools/new.py"])
def test_a_package_is_all_that_lies_below(name, edit):
    before = source_key("tinypackage.maker", "tinypackage.tools")
    edit(name)
    assert source_key("tinypackage.maker", "tinypackage.tools") != before


def test_a_module_that_is_not_there_is_an_error(edit):
    for name in ("tinypackage.other", "no_such_package_at_all.module"):
        with pytest.raises(ModuleNotFoundError, match="there is no"):
            source_key(name)
