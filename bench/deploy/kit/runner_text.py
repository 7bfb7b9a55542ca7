"""The runner as one file: the modules of ``bench.deploy.runner``, one behind the other.

It stays plain Python, so that it can be read, and mended, on the target.
"""

from __future__ import annotations

import ast
from importlib.resources import files

PACKAGE = "bench.deploy.runner"

MODULES = (
    "ground", "files", "reduce", "cuda", "trt_build", "trt_run", "ort", "jobs", "doctor",
    "work_off", "main",
)  # fmt: skip
"""In an order in which each imports only those before it."""


def runner_source() -> str:
    """The text of run.py."""
    parts = [_header()]
    for name in MODULES:
        text = (files(PACKAGE) / f"{name}.py").read_text()
        parts.append(f"\n\n# ---- {name} ----\n\n{_body(text)}")
    return "".join(parts)


def _header() -> str:
    """main's docstring stands for the whole file."""
    tree = ast.parse((files(PACKAGE) / "main.py").read_text())
    return f'"""{ast.get_docstring(tree)}\n"""\n\nfrom __future__ import annotations\n'


def _body(text: str) -> str:
    """A module without its docstring and without imports that one file does not need."""
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module=str() as source) if (
                source == "__future__" or source.startswith(PACKAGE)
            ):
                dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case ast.Module(body=[ast.Expr(value=ast.Constant(value=str())) as first, *_]):
                dropped.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
            case _:
                pass
    kept = [line for number, line in enumerate(text.splitlines(), start=1) if number not in dropped]
    return "\n".join(kept).strip("\n") + "\n"
