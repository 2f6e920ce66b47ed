"""The file of a saved model: read by the library, and used where it lies."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mmkit.model.tensor_file import ALIGNMENT, aligned, write_tensors

KINDS = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)


def _tensors() -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    found = {f"{kind}": torch.randint(0, 2, (16, 32), generator=drawn).to(kind) for kind in KINDS}
    return {
        "labels.bias": torch.arange(5.0),
        "größe": torch.randn(3, 7, generator=drawn),
        "scalar": torch.tensor(2.5),
        **found,
    }


def test_the_library_reads_every_type_and_shape(tmp_path: Path) -> None:
    tensors = {**_tensors(), "nothing": torch.zeros(0, 4)}
    write_tensors(tensors, tmp_path / "a.safetensors", {"aliases": "{}"})
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype, name
        assert torch.equal(read[name], tensor), name
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"aliases": "{}"}


@pytest.mark.parametrize("extra", range(0, 70, 7))
def test_tensors_of_whole_lines_are_used_where_they_lie_whatever_stands_before_them(extra: int, tmp_path: Path) -> None:
    write_tensors(_tensors(), tmp_path / "a.safetensors", {"aliases": "x" * extra})
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            if tensor.nbytes % ALIGNMENT == 0:
                assert aligned(tensor) is tensor, name
            assert aligned(tensor).data_ptr() % ALIGNMENT == 0, name


def test_what_was_written_can_still_be_resized(tmp_path: Path) -> None:
    """FSDP frees the whole weights that it gathered for saving."""
    tensor = torch.randn(4, 4)
    write_tensors({"a": tensor}, tmp_path / "a.safetensors", {})
    tensor.untyped_storage().resize_(0)
    assert tensor.untyped_storage().nbytes() == 0
