"""A forward and backward pass asks the device for no number: lengths are known on the CPU."""

from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import mmkit
from mmkit.model.batch import pack

MISTRAL = {
    "model_type": "mistral",
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
}
MISTRAL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 2}
BACKBONES: dict[str, dict[str, Any]] = {
    "causal-lm": {"use": "causal-lm", "config": MISTRAL},
    "transformer": {"use": "transformer", "dim": 32, "layers": 2, "heads": 4},
    "encoder-decoder": {"use": "transformer", "dim": 32, "layers": 2, "heads": 4, "form": "encoder-decoder"},
}


class NoNumbers(TorchDispatchMode):
    """Refuses what turns a tensor into a Python number, or has a shape that depends on values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        asked = name in ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select")
        assert not asked, f"the forward asks the device for a number: {name}"
        return func(*args, **(kwargs or {}))


def model(backbone: dict[str, Any]) -> mmkit.Model:
    text = {"adapter": {"use": "characters"}}
    tasks = {
        "copy": {"input": "{text}", "output": "{copy}", "head": {"use": "generate", "label_smoothing": 0.1}},
        "kind": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}},
    }
    spec = {"mmkit": 1, "modalities": {"text": text, "copy": text}, "backbone": backbone, "tasks": tasks}
    return mmkit.build(spec, fit={"text": ["abc def"], "copy": ["abc def"]}).train()


@pytest.mark.parametrize("name", BACKBONES)
def test_training_asks_for_no_number(name: str) -> None:
    built = model(BACKBONES[name])
    prepare = built.preparer()
    rows = [{"text": "abc", "copy": "fed", "label": "a"}, {"text": "d", "copy": "", "label": "b"}]
    batch = pack([prepare(task, row) for task in ("copy", "kind") for row in rows], built.processors(), ["copy"])
    built(batch)["loss"].backward()  # what is looked up once, about an architecture, is known from here on
    with NoNumbers():
        built(batch)["loss"].backward()
    built.zero_grad()
    built.to("meta")  # a device without values: whatever would read one fails
    built(batch.to("meta"))["loss"].backward()
    assert all(p.grad is not None and p.grad.is_meta for p in built.parameters())
