"""Blocks compiled or checkpointed one by one give the same numbers, whatever the lengths."""

import copy
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mmkit
from mmkit.model import blocks
from mmkit.model.batch import PackedBatch
from mmkit.model.blocks import repeated_blocks, wrapped_blocks
from tests.model.support import compiled_models
from tests.model.support.compiled_models import adapted, batch, model, numbers


def kept(built: mmkit.Model, given: PackedBatch) -> int:
    """Numbers that the backward pass will need."""
    seen: dict[int, Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.setdefault(id(t), t), lambda t: t):
        built(given)
    return sum(tensor.numel() for tensor in seen.values())


def same(got: list[Tensor], expected: list[Tensor]) -> bool:
    return len(got) == len(expected) and all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", ["causal-lm", "causal-lm+lora", "transformer", "encoder-decoder", "seq2seq-lm"])
def test_checkpointed_blocks_give_the_same_bits_and_keep_less(name: str) -> None:
    kind, _, lora = name.partition("+")
    built = adapted(model(kind)) if lora else model(kind, **({"dropout": 0.1} if kind == "transformer" else {}))
    given = batch(built, 30, 2)
    names, expected, before = list(built.state_dict()), numbers(built, given), kept(built, given)
    with wrapped_blocks(repeated_blocks(built), checkpointed=True):
        assert same(numbers(built, given), expected)
        assert kept(built, given) < 0.5 * before
        assert list(built.state_dict()) == names
    assert kept(built, given) == before


def test_a_frozen_backbone_is_checkpointed_on_the_way_to_what_trains_before_it() -> None:
    built = model("causal-lm")
    given = batch(built, 30, 2)
    trunk = built.parts.backbones["backbone"]
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_("embed" in name)
    trunk.eval()
    expected, before = numbers(built, given), kept(built, given)
    with wrapped_blocks(repeated_blocks(built), checkpointed=True):
        assert same(numbers(built, given), expected)
        assert kept(built, given) < 0.5 * before


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpointed_blocks_count_a_batch_once_in_running_statistics(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    monkeypatch.setattr(blocks, "_BACKEND", "aot_eager")

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.inner(x)

    plain = nn.Sequential(Block(), Block())
    again = copy.deepcopy(plain)
    for built in (plain, again):
        with wrapped_blocks(repeated_blocks(again), compiled=compiled, checkpointed=True):
            for size in (6, 3, 1024):
                torch.manual_seed(size)
                built(torch.randn(size, 4)).square().sum().backward()
    near = {"atol": 1e-4, "rtol": 1e-5} if compiled else {"atol": 0.0, "rtol": 0.0}
    torch.testing.assert_close(again.state_dict(), plain.state_dict(), **near)
    torch.testing.assert_close([p.grad for p in again.parameters()], [p.grad for p in plain.parameters()], **near)


def compiled(*arguments: str) -> dict[str, Any]:
    """What ``compiled_models`` reports, by model."""
    command = [sys.executable, compiled_models.__file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check_compiled(found: dict[str, Any]) -> None:
    """Equal numbers; a few recompiles for the first batches and then none; decoding compiles nothing; what else trains
    does."""
    assert found["off"] < 1e-6
    assert found["same_names"]
    assert found["counts"][2] == found["counts"][-1] == found["decoded"] <= 8
    assert found["frozen"] > found["decoded"]


def test_compiled_blocks_serve_any_lengths_and_any_number_of_samples() -> None:
    check_compiled(compiled("aot_eager", "transformer")["transformer"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["causal-lm", "causal-lm+lora", "encoder-decoder", "seq2seq-lm"])
def test_compiled_blocks_of_other_backbones_do_too(name: str) -> None:
    check_compiled(compiled("aot_eager", name)[name])


@pytest.mark.slow
def test_compiled_code_gives_the_same_numbers_also_when_checkpointed() -> None:
    check_compiled(compiled("inductor", "causal-lm")["causal-lm"])


def test_blocks_are_the_innermost_alike_modules_with_parts_of_their_own() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.mixed = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4), nn.Tanh()])

    stages = [nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block())]
    single, layers = nn.ModuleList([Block()]), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    built = nn.ModuleDict({"stages": nn.ModuleList(stages), "single": single, "layers": layers})
    assert repeated_blocks(built) == [*stages[0], *stages[1]]


def test_blocks_are_as_they_were_afterwards_whatever_happened() -> None:
    built = model("causal-lm")
    found = repeated_blocks(built)
    own = found[0].forward
    found[1].forward = own

    def stopped() -> None:
        with wrapped_blocks(found, checkpointed=True):
            assert found[0].forward != own
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert found[0].forward == own
    assert found[1].__dict__["forward"] == own
    assert "forward" not in found[0].__dict__
