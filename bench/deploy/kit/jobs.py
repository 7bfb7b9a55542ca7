"""What a target does, in the order of its worth."""

from __future__ import annotations

from collections.abc import Sequence

from bench.calibration.native import Algorithm
from bench.deploy.kit.rows import label_of
from bench.results.row import Row

Job = dict[str, str]

FLOATS = {"fp32": "FP32", "fp16": "FP16"}


def list_jobs(rows: Sequence[Row], native: Sequence[Algorithm]) -> list[Job]:
    """TensorRT's own caches come first: they alone say how its thresholds compare with ours. Then
    the best row, what it is compared with, and the engines of the native caches; then all others.
    """
    first, *others = rows
    return [
        *(
            {
                "id": f"native-{name}",
                "kind": "calibrate",
                "algorithm": name,
                "label": f"TensorRT's own {name} cache",
            }
            for name in native
        ),
        _of_row(first),
        {"id": "fp32", "kind": "fp32", "label": FLOATS["fp32"]},
        *(
            {
                "id": f"int8-native-{name}",
                "kind": "native",
                "algorithm": name,
                "label": f"INT8 from TensorRT's own {name} cache",
            }
            for name in native
        ),
        {"id": "fp16", "kind": "fp16", "label": FLOATS["fp16"]},
        *map(_of_row, others),
    ]


def _of_row(row: Row) -> Job:
    return {"id": f"int8-{row.run_key}", "kind": "row", "row": row.run_key, "label": label_of(row)}
