"""Models whose blocks are compiled, over batches of many shapes, in a process of its own: as users run them, without the
checks of shapes that the tests put around every function, which would be compiled too.

``python compiled_models.py BACKEND NAME…`` prints for each model, as JSON: the recompiles after every batch, the largest
difference of a loss or gradient from the model that is not compiled, and the recompiles after decoding and after freezing.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor

import mmkit
from mmkit.model import blocks
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.blocks import repeated_blocks, wrapped_blocks
from mmkit.model.lora import Lora, adaptable, attach

LETTERS = "abcdefgh "
LLAMA = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
T5 = {"model_type": "t5", "vocab_size": 40, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 3, "num_heads": 4}
BACKBONES: dict[str, dict[str, Any]] = {
    "causal-lm": {"use": "causal-lm", "config": LLAMA},
    "transformer": {"use": "transformer", "dim": 32, "layers": 3, "heads": 4},
    "encoder-decoder": {"use": "transformer", "dim": 32, "layers": 3, "heads": 4, "form": "encoder-decoder"},
    "seq2seq-lm": {"use": "seq2seq-lm", "config": {**T5, "dropout_rate": 0.0}},
}
SHAPES = ((9, 2), (4, 3), (30, 1), (17, 5), (1, 7), (40, 2))


def model(name: str, **backbone: Any) -> mmkit.Model:
    text = {"adapter": {"use": "characters"}}
    head = {"input": "{text}", "output": "{copy}", "head": {"use": "generate", "max_new_tokens": 4}}
    used = {**BACKBONES[name], **backbone}
    spec = {"mmkit": 1, "modalities": {"text": text, "copy": text}, "backbone": used, "tasks": {"copy": head}}
    torch.manual_seed(0)
    return mmkit.build(spec, fit={"text": [LETTERS], "copy": [LETTERS]}).train()


def batch(built: mmkit.Model, length: int, samples: int) -> PackedBatch:
    prepare = built.preparer()
    rows = [{"text": LETTERS[: 2 + at] * (1 + length // 9), "copy": "d" * (length + at)} for at in range(samples)]
    return pack([prepare("copy", row) for row in rows], built.processors(), ["copy"])


def numbers(built: mmkit.Model, given: PackedBatch) -> list[Tensor]:
    """Loss and gradients, with the dropout of one seed."""
    built.zero_grad()
    torch.manual_seed(1)
    loss = built(given)["loss"]
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in built.parameters() if p.grad is not None)]


def adapted(built: mmkit.Model) -> mmkit.Model:
    found = [f"backbones.backbone.{layer}" for layer in adaptable(built.parts.backbones["backbone"])]
    attach(built, Lora(tuple(one for one in found if one.rpartition(".")[2] in ("q_proj", "down_proj")), 2, 4.0))
    return built


def report(name: str, checkpointed: bool) -> dict[str, Any]:
    kind, _, lora = name.partition("+")
    built = adapted(model(kind)) if lora else model(kind)
    batches = [batch(built, *shape) for shape in SHAPES]
    expected, names = [numbers(built, given) for given in batches], list(built.state_dict())
    counts, off = [], 0.0
    with wrapped_blocks(repeated_blocks(built), compiled=True, checkpointed=checkpointed) as recompiles:
        for given, wanted in zip(batches, expected, strict=True):
            got = numbers(built, given)
            off = max(off, *(float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)))
            counts.append(recompiles.count)
        same_names = list(built.state_dict()) == names
        built.predict("copy", [{"text": "abc"}, {"text": "b"}])
        decoded = recompiles.count
        for block in repeated_blocks(built)[:2]:
            block.requires_grad_(False)
        numbers(built, batches[0])
        frozen = recompiles.count
    graphs = sum(torch._dynamo.utils.counters["stats"].values())
    return {
        "counts": counts,
        "off": off,
        "same_names": same_names,
        "decoded": decoded,
        "frozen": frozen,
        "graphs": graphs,
    }


if __name__ == "__main__":
    blocks._BACKEND = sys.argv[1]
    print(json.dumps({name: report(name, sys.argv[1] != "aot_eager") for name in sys.argv[2:]}))
