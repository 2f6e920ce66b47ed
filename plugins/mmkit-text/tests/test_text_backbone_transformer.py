"""The from-scratch backbones: packed = alone, teacher forcing = step by step, decoding alone = in a batch."""

from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, config, lstm, transformer_backbone
from mmkit_text.characters import Characters

from mmkit import Backbone, BuildContext, Ragged
from mmkit.model.decoder import Decoder
from mmkit.model.generate import OPTIONS

FORMS: dict[str, dict[str, Any]] = {
    "decoder": {"form": "decoder"},
    "causal": {"form": "decoder", "prompt": "causal", "tie": False},
    "encoder-decoder": {"form": "encoder-decoder", "decoder_layers": 1},
}
NAMES = [*FORMS, "lstm"]


def make(name: str) -> Backbone:
    torch.manual_seed(0)
    context = BuildContext(vocabulary_size=40)
    if name == "lstm":
        built: Backbone = lstm.build(context, **config.LstmConfig(embedding_dim=32, hidden_dim=24).model_dump())
    else:
        settings = backbone_config.TransformerConfig(dim=32, layers=2, heads=2, **FORMS[name])
        built = transformer_backbone.build(context, **settings.model_dump())
    return built.eval()


def samples(backbone: Backbone, prompts: list[int], targets: list[int]) -> tuple[Ragged, Ragged]:
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randn(sum(prompts), backbone.token_dim, generator=generator)
    target = torch.randn(sum(targets), backbone.token_dim, generator=generator)
    return Ragged(prompt, torch.tensor(prompts)), Ragged(target, torch.tensor(targets))


@pytest.mark.parametrize("name", NAMES)
def test_packed_equals_alone(name: str) -> None:
    backbone = make(name)
    prompt, target = samples(backbone, [5, 0, 9, 1], [3, 4, 1, 6])
    together = backbone(prompt, target).split()
    alone_prompt = backbone(prompt).split()
    for index in range(4):
        one = backbone(prompt.select([index]), target.select([index]))
        torch.testing.assert_close(one.values, together[index], atol=1e-5, rtol=0)
        one = backbone(prompt.select([index]))
        torch.testing.assert_close(one.values, alone_prompt[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_steps_equal_teacher_forcing(name: str) -> None:
    backbone = make(name)
    prompt, target = samples(backbone, [5, 0, 9], [4, 4, 4])
    expected = torch.stack(backbone(prompt, target).split())
    order = torch.tensor([2, 0, 1])
    state = backbone.prefill(prompt).reorder(order)
    inputs = torch.stack(target.split())[order]
    for step in range(4):
        hidden = backbone.step(state, inputs[:, step])
        torch.testing.assert_close(hidden, expected[order, step], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_later_targets_and_other_samples_are_never_seen(name: str) -> None:
    backbone = make(name)
    prompt, target = samples(backbone, [3, 4], [5, 5])
    target.values.requires_grad_()
    prompt.values.requires_grad_()
    backbone(prompt, target).split()[0][2].sum().backward()
    assert target.values.grad is not None
    assert prompt.values.grad is not None
    assert bool((target.values.grad[:3].abs().sum(1) > 0).all())
    assert not target.values.grad[3:].any()
    assert bool((prompt.values.grad[:3].abs().sum(1) > 0).all())
    assert not prompt.values.grad[3:].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_is_the_same_alone_and_in_a_batch(name: str, beams: int) -> None:
    backbone, vocabulary = make(name), Characters(40, False, None)
    vocabulary._set("abcdefghijklmnopqrstuvwxyz")
    prompt, _ = samples(backbone, [5, 2, 7], [1, 1, 1])
    decoder, options = Decoder(backbone, vocabulary, 0), {**OPTIONS, "max_new_tokens": 8, "beams": beams}
    decode = decoder.beam if beams > 1 else decoder.sample
    with torch.no_grad():
        together = decode(prompt, options)
        assert together == [decode(prompt.select([i]), options)[0] for i in range(3)]
    assert any(together)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    backbone = make(name).train()
    prompt, target = samples(backbone, [3, 4], [5, 5])
    ids = torch.arange(7)
    stream = Ragged(backbone.embed(ids) + prompt.values, prompt.lengths)
    backbone.logits(backbone(stream, target).values).logsumexp(-1).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in backbone.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_no_nan_with_empty_prompts(name: str) -> None:
    backbone = make(name).train()
    prompt, target = samples(backbone, [0, 0], [2, 1])
    backbone(prompt, target).values.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in backbone.parameters() if p.grad is not None)
