"""Prepared samples from a worker to the main process: all their tensors travel as one.

A ``DataLoader`` worker sends every tensor through a shared-memory file of its own. A window of some hundred samples with
a target and a picture each would hold as many file descriptors, and small tensors would cost more than their contents.
"""

import copyreg
import io
import pickle
from typing import Any

import torch
from torch import Tensor

_ALIGN = 64
_SMALL = 64 * 1024
"""Bytes up to which tensors go through the pipe with everything else: opening shared memory costs more."""


def ship(value: Any) -> tuple[bytes, Tensor | bytes]:
    """A picklable value as bytes, and the bytes of all its CPU tensors end to end, in shared memory where they are many."""
    tensors: list[Tensor] = []
    size = 0

    def reduce(tensor: Tensor) -> Any:
        nonlocal size
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return tensor.__reduce_ex__(2)
        given = (_view, (size, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)))
        tensors.append(tensor.detach())
        size += -(-tensor.numel() * tensor.element_size() // _ALIGN) * _ALIGN
        return given

    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {**copyreg.dispatch_table, Tensor: reduce}
    pickler.dump(value)
    flat = torch.empty(size, dtype=torch.uint8)
    if size > _SMALL:
        flat.share_memory_()
    at = 0
    for tensor in tensors:
        count = tensor.numel() * tensor.element_size()
        if count:
            flat[at : at + count].view(tensor.dtype).view(tensor.shape).copy_(tensor)
        at += -(-count // _ALIGN) * _ALIGN
    return file.getvalue(), flat if size > _SMALL else flat.numpy().tobytes()


def receive(shipped: tuple[bytes, Tensor | bytes]) -> Any:
    """The value; its tensors are views of one private copy, so that shared memory is free again at once."""
    data, flat = shipped
    if isinstance(flat, bytes):
        flat = torch.frombuffer(bytearray(flat), dtype=torch.uint8) if flat else torch.empty(0, dtype=torch.uint8)
        return _Unpickler(io.BytesIO(data), flat).load()
    return _Unpickler(io.BytesIO(data), flat.clone()).load()


def _view(at: int, dtype: str, shape: tuple[int, ...]) -> Tensor:
    raise RuntimeError("a shipped value is read with mmkit.data.transport.receive")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, flat: Tensor) -> None:
        super().__init__(file)
        self.flat = flat

    def find_class(self, module: str, name: str) -> Any:
        """Tensors come from the flat one."""
        return self._tensor if (module, name) == (__name__, "_view") else super().find_class(module, name)

    def _tensor(self, at: int, dtype: str, shape: tuple[int, ...]) -> Tensor:
        kind: torch.dtype = getattr(torch, dtype)
        count = kind.itemsize
        for side in shape:
            count *= side
        return self.flat[at : at + count].view(kind).view(shape)
