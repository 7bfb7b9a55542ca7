"""A diagnosis as a file: JSON with a checksum."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.results.diagnosis import Diagnosis
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json


def diagnosis_to_bytes(diagnosis: Diagnosis) -> bytes:
    """Raises ValueError for NaN and infinite values, which JSON cannot hold."""
    return to_sealed_json(asdict(diagnosis), indent=1, allow_nan=False)


def diagnosis_from_bytes(content: bytes, path: Path) -> Diagnosis:
    """Raises DamagedError for anything else."""
    members = from_sealed_json(content, path)
    try:
        return TypeAdapter(Diagnosis).validate_python(members)
    except ValidationError as error:
        raise DamagedError(path, f"not a diagnosis: {error.errors()[0]['msg']}") from error
