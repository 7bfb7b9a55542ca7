"""Rows with something in every column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from bench.results.history import SCHEMA_VERSION
from bench.results.row import Row


@pytest.fixture(scope="session")
def full_row() -> Callable[..., Row]:
    """``full_row(**changes)``: every column has a value of its kind; ``measured=False`` leaves
    out what may be None."""

    def make(measured: bool = True, **changes: Any) -> Row:
        values: dict[str, Any] = {}
        for number, field in enumerate(dataclasses.fields(Row)):
            kind = str(field.type)
            if "None" in kind and not measured:
                values[field.name] = None
            elif "float" in kind:
                values[field.name] = number / 7
            elif "int" in kind:
                values[field.name] = number
            else:
                values[field.name] = f"text {number}"
        fixed = {"status": "ok", "schema_version": SCHEMA_VERSION, "started_at": "2026-01-01"}
        return Row(**(values | fixed | changes))

    return make
