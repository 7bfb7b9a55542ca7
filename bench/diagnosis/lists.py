"""Layers to keep in float, as the options of the tools that quantize: text to paste.

For ``trtexec --layerPrecisions`` and Polygraphy's ``--layer-precisions`` (both for networks with a
calibrator; removed with weak typing in TensorRT 11), ModelOpt's ``modelopt.onnx.quantization``
(regular expressions, matched from the beginning of a name), ONNX Runtime's ``quantize_static`` and
NNCF's ``IgnoredScope``. The spelling for Polygraphy and ModelOpt was compared with their sources;
none of the tools was run with these options.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence


def lists_of(layers: Sequence[str]) -> dict[str, str]:
    """By tool; empty without layers."""
    if not layers:
        return {}
    return {
        "int8bench": " ".join(shlex.quote(word) for word in plan_words(layers)),
        "trtexec": " ".join(
            [
                "--precisionConstraints=obey",
                shlex.quote("--layerPrecisions=" + ",".join(f"{name}:fp16" for name in layers)),
            ]
        ),
        "polygraphy": " ".join(
            [
                "--precision-constraints obey --layer-precisions",
                *(shlex.quote(f"{name}:float16") for name in layers),
            ]
        ),
        "ModelOpt": " ".join(
            ["--nodes_to_exclude", *(shlex.quote(f"^{re.escape(name)}$") for name in layers)]
        ),
        "ONNX Runtime": f"nodes_to_exclude={_listed(layers)}",
        "NNCF": f"ignored_scope=nncf.IgnoredScope(names={_listed(layers)})",
    }


def plan_words(layers: Sequence[str]) -> list[str]:
    """The overrides of a plan with these layers in float, as Hydra reads them."""
    selectors = ",".join(quoted(f"node:{name}") for name in layers)
    return ["plan=custom", f"plan.float_selectors=[{selectors}]"]


def quoted(text: str) -> str:
    """As Hydra reads it: a backslash counts only in front of a quote."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - trailing :]}'"


def _listed(layers: Sequence[str]) -> str:
    """A Python list."""
    return json.dumps(list(layers), ensure_ascii=False)
