"""A safetensors file whose tensors can be used where they lie: mapped, and aligned as torch itself would have put them."""

import ctypes
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

ALIGNMENT = 64
"""Bytes: of torch's allocator for CPUs."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; the library's own writer aligns to 8 bytes, and sorts so that an odd one shifts all that follow.

    The header is filled up with blanks, and tensors of whole multiples of 64 bytes come first. ``tensors`` are on the CPU and
    contiguous.
    """
    names = sorted(tensors, key=lambda name: (tensors[name].nbytes % ALIGNMENT != 0, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _code(tensor.dtype), "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_bytes(tensors[name]))


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a tensor. Not by ``numpy()``, after which its storage can never be resized, as FSDP does with what it shards."""
    return memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr() or 1))


@cache
def _code(kind: torch.dtype) -> str:
    """What the format calls a type, asked of the library."""
    blob = save({"x": torch.empty(0, dtype=kind)})
    return str(json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])["x"]["dtype"])


def aligned(tensor: Tensor) -> Tensor:
    """The tensor where torch itself would have put it. One mapped from a file lies anywhere, and some kernels of some processors
    (MKL's matrix-vector products on AMD) round otherwise there: the loaded model would not answer bit for bit as the saved one."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()
