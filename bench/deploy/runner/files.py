"""The kit's files: the models of its rows, made by writing their scales, and its images."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from bench.deploy.runner.ground import KitError, read_json, sha256

KIT_VERSION = 1
FORMS = ("int8", "float")
"""How a Q/DQ file stores its weights: as INT8 (TensorRT 10 and newer, ONNX Runtime), or in FP32
behind a QuantizeLinear (TensorRT 8 has no constants of INT8)."""


class Kit:
    """A kit's folder; ``facts`` is what its kit.json says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = read_json(folder / "kit.json")
        if self.facts.get("kit") != KIT_VERSION:
            raise KitError(
                f"{folder} is not a kit of version {KIT_VERSION}. Use the run.py that came with it"
            )

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    def read(self, name: str) -> bytes:
        """A file of the kit, checked against its checksum."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise KitError(f"{name} cannot be read ({error}). Copy the kit again") from error
        if sha256(content) != self.facts["files"][name]["sha256"]:
            raise KitError(f"{name} is not the file that was packed. Copy the kit again")
        return content

    def float_model(self) -> bytes:
        """The FP32 ONNX file."""
        return self.read(str(self.facts["fp32"]))

    def half_model(self) -> bytes:
        """The FP16 ONNX file; empty if the kit was made without it."""
        name = str(self.facts.get("fp16", ""))
        return self.read(name) if name else b""

    def row_model(self, key: str, form: str) -> bytes:
        """The Q/DQ ONNX file of a row, in one of FORMS: its plan's file with the row's values."""
        row = self.facts["rows"][key]
        plan = self.facts["plans"][row["plan_file"]]
        content = bytearray(self.read(row["plan_file"]))
        values = self.read(row["values"])
        write_values(content, values, plan["int8"])
        if form == "float":
            skeleton = zlib.decompress(self.read(plan["skeleton"]))
            content = with_float_weights(bytes(content), skeleton, plan["pieces"])
            write_values(content, values, plan["float"])
        made = bytes(content)
        if sha256(made) != row["sha256"][form]:
            raise KitError(f"the model of row {key} is not as it was packed")
        return made

    def images(self, which: str) -> Images:
        """The fitted images ``evaluation`` or ``calibration``."""
        if which not in self.facts["images"]:
            raise KitError(f"this kit has no {which} images")
        return Images(self, which)


def write_values(content: bytearray, values: bytes, spans: list[list[int]]) -> None:
    """Write the row's values, one after the other, where ``spans`` (offset, bytes) say.

    An offset of -1 stands for values that this form of the file does not have.
    """
    at = 0
    for offset, size in spans:
        if offset >= 0:
            content[offset : offset + size] = values[at : at + size]
        at += size
    if at != len(values):
        raise KitError(f"a row has {len(values)} bytes of values, not {at}")


def with_float_weights(content: bytes, skeleton: bytes, pieces: list[dict[str, Any]]) -> bytearray:
    """The file with FP32 weights, from the one with INT8 weights, ``content``.

    ``pieces`` say in order how many bytes come from ``skeleton``, and which weights stand between.
    """
    parts: list[bytes] = []
    at = 0
    for piece in pieces:
        if "copy" in piece:
            parts.append(skeleton[at : at + piece["copy"]])
            at += piece["copy"]
            continue
        start, size = piece["weights"]
        steps = np.frombuffer(content, np.int8, size, start).astype(np.float32)
        start, size = piece["scales"]
        scales = np.frombuffer(content, "<f4", size // 4, start)
        parts.append((steps.reshape(-1, len(scales), piece["inner"]) * scales[:, None]).tobytes())
    return bytearray(b"".join(parts))


class Images:
    """Fitted images as the network takes them; each is unpacked when it is asked for."""

    def __init__(self, kit: Kit, which: str) -> None:
        self._kit = kit
        self._listed = kit.facts["images"][which]["pixels"]
        source = kit.facts["input"]
        self._size = tuple(int(side) for side in source["shape"][2:])
        self._order = [int(channel) for channel in source["channels"]]
        self._lookup = [np.array(values, np.float32) for values in source["lookup"]]

    def __len__(self) -> int:
        return len(self._listed)

    def pixels(self, index: int) -> Any:
        """height x width x 3 uint8, RGB: the very pixels that the kit was packed with."""
        listed = self._listed[index]
        try:
            with (self._kit.folder / listed["file"]).open("rb") as file:
                file.seek(listed["offset"])
                packed = file.read(listed["bytes"])
        except OSError as error:
            raise KitError("{} cannot be read ({})".format(listed["file"], error)) from error
        if zlib.crc32(packed) != listed["crc32"]:
            raise KitError("{} is damaged. Copy the kit again".format(listed["file"]))
        return unpack_pixels(packed, self._size)

    def batch(self, start: int, size: int) -> Any:
        """Images ``start`` to ``start + size``, size x 3 x height x width float32.

        Behind the last image the batch is filled up with copies of it.
        """
        planes = np.empty((size, 3) + self._size, np.float32)
        for row in range(size):
            pixels = self.pixels(min(start + row, len(self) - 1))
            for plane, channel in enumerate(self._order):
                planes[row, plane] = self._lookup[plane][pixels[..., channel]]
        return planes

    def batches(self, size: int) -> Iterator[tuple[int, Any]]:
        """Where each batch starts, and the batch."""
        for start in range(0, len(self), size):
            yield start, self.batch(start, size)


def unpack_pixels(packed: bytes, size: tuple[int, ...]) -> Any:
    """The pixels (height, width, 3) uint8 of what ``pack_pixels`` of the kit's maker wrote.

    Red and blue are stored less green, and each value less its left neighbour's and less the upper
    one's difference, all modulo 256. So sums along both axes give them back exactly.
    """
    content = zlib.decompress(packed)
    differences = np.frombuffer(content, np.uint8).reshape((3,) + tuple(size))
    rows = np.add.accumulate(differences, axis=1, dtype=np.uint8)
    planes = np.add.accumulate(rows, axis=2, dtype=np.uint8)
    planes[0] += planes[1]
    planes[2] += planes[1]
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
