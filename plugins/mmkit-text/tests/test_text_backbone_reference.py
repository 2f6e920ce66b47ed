"""The from-scratch transformer equals a Llama of transformers; what lstm, transformer and none build; configs."""

from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, config, lstm, none, transformer_backbone
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaModel

from mmkit import Backbone, BuildContext, Ragged
from mmkit.wiring.empty import empty_weights

SETTINGS = {"dim": 32, "layers": 2, "heads": 4, "ffn": 48}
PARTS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.out": "self_attn.o_proj",
}
PARTS |= {"attention.value": "self_attn.v_proj", "norm": "input_layernorm", "forward_norm": "post_attention_layernorm"}
PARTS |= {f"feed_forward.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")}


def transformer(generates: bool = True, **options: Any) -> transformer_backbone.Transformer:
    torch.manual_seed(0)
    settings = backbone_config.TransformerConfig(**{**SETTINGS, **options})
    context = BuildContext(vocabulary_size=40, generates=generates)
    return transformer_backbone.build(context, **settings.model_dump()).eval()


def llama(backbone: transformer_backbone.Transformer) -> LlamaModel:
    """The same weights, read by transformers."""
    sizes = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    settings = LlamaConfig(**sizes, num_attention_heads=4, rms_norm_eps=torch.finfo(torch.float32).eps)
    settings._attn_implementation = "sdpa"
    model = LlamaModel(settings).eval()
    state = {"norm.weight": backbone.norm.weight, "embed_tokens.weight": backbone.table.weight}
    for index, block in enumerate(backbone.encoder):
        for ours, theirs in PARTS.items():
            state[f"layers.{index}.{theirs}.weight"] = block.get_parameter(f"{ours}.weight")
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("prompt", ["causal", "bidirectional"])
@torch.no_grad()
def test_the_decoder_form_equals_llama(prompt: str) -> None:
    backbone = transformer(prompt=prompt)
    first, second = torch.arange(3, 9), torch.arange(9, 14)
    embedded = backbone.embed(torch.cat([first, second]))
    sees = torch.ones(11, 11, dtype=torch.bool).tril()
    if prompt == "bidirectional":
        sees[:6, :6] = True
    states = llama(backbone)(inputs_embeds=embedded[None], attention_mask=sees[None, None]).last_hidden_state[0]
    got = backbone(Ragged(embedded[:6], torch.tensor([6])), Ragged(embedded[6:], torch.tensor([5])))
    torch.testing.assert_close(got.values, states[6:], atol=1e-5, rtol=1e-5)
    alone = backbone(Ragged(embedded[:6], torch.tensor([6])))
    torch.testing.assert_close(alone.values, states[:6], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_encoder_that_only_reads_equals_a_bidirectional_llama() -> None:
    backbone = transformer(generates=False, form="encoder-decoder", decoder_layers=1)
    assert len(backbone.decoder) == 0
    embedded = backbone.embed(torch.arange(3, 9))
    everything = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    states = llama(backbone)(inputs_embeds=embedded[None], attention_mask=everything).last_hidden_state[0]
    got = backbone(Ragged(embedded, torch.tensor([6]))).values
    torch.testing.assert_close(got, states, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["decoder", "encoder-decoder"])
@torch.no_grad()
def test_all_prompts_empty(form: str) -> None:
    backbone = transformer(form=form)
    prompt = Ragged(torch.zeros(0, 32), torch.zeros(2, dtype=torch.int64))
    target = Ragged(torch.randn(6, 32), torch.tensor([3, 3]))
    state, inputs = backbone.prefill(prompt), torch.stack(target.split())
    steps = torch.stack([backbone.step(state, inputs[:, i]) for i in range(3)], 1)
    torch.testing.assert_close(steps, torch.stack(backbone(prompt, target).split()), atol=1e-5, rtol=1e-5)
    assert backbone(prompt).values.shape == (0, 32)


def small(name: str, context: BuildContext) -> Backbone:
    if name == "lstm":
        return lstm.build(context, **config.LstmConfig(embedding_dim=16, hidden_dim=8, layers=2).model_dump())
    if name == "none":
        return none.build(context, **backbone_config.NoneConfig(dim=16).model_dump())
    settings = backbone_config.TransformerConfig(**SETTINGS, form=name, tie=name == "decoder")
    return transformer_backbone.build(context, **settings.model_dump())


@pytest.mark.parametrize("name", ["lstm", "none", "decoder", "encoder-decoder"])
@torch.no_grad()
def test_an_empty_build_takes_the_weights(name: str) -> None:
    original = small(name, BuildContext(vocabulary_size=40)).eval()
    with empty_weights():
        copy = small(name, BuildContext(vocabulary_size=40, load_weights=False)).eval()
    assert all(p.is_meta for p in copy.parameters())
    copy.load_state_dict(original.state_dict(), assign=True)
    ids = torch.arange(9)
    prompt = Ragged(original.embed(ids), torch.tensor([5, 0, 4]))
    assert torch.equal(copy(Ragged(copy.embed(ids), prompt.lengths)).values, original(prompt).values)
    if original.generates:
        hidden = original(prompt, prompt).values
        assert torch.equal(copy(prompt, prompt).values, hidden)
        assert torch.equal(copy.logits(hidden), original.logits(hidden))


@pytest.mark.parametrize("name", ["lstm", "decoder", "encoder-decoder"])
def test_without_a_decoding_head_there_is_no_output_layer(name: str) -> None:
    context = BuildContext(vocabulary_size=40, generates=False)
    backbone = small(name, context)
    assert not any(key.startswith(("output", "decoder", "memory")) for key in backbone.state_dict())
    prompt = Ragged(backbone.embed(torch.arange(7)), torch.tensor([3, 4]))
    backbone(prompt).values.sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_none_passes_tokens_through_and_does_not_generate() -> None:
    backbone = small("none", BuildContext(vocabulary_size=40))
    tokens = Ragged(backbone.embed(torch.arange(5)), torch.tensor([2, 3]))
    assert backbone(tokens) is tokens
    assert not backbone.generates
    with pytest.raises(TypeError, match="the backbone 'none' does not generate"):
        backbone(tokens, tokens)
    with pytest.raises(TypeError, match="PassThrough does not generate"):
        backbone.prefill(tokens)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("Transformer", {"dim": 30, "heads": 4}, "dim must be a multiple of 2 x heads = 8, got 30"),
        ("Transformer", {"decoder_layers": 2}, "decoder_layers belongs to form: encoder-decoder"),
        (
            "Transformer",
            {"form": "encoder-decoder", "prompt": "causal"},
            "prompt: causal belongs to form: decoder; an encoder reads in both directions",
        ),
        ("CausalLm", {}, "give one of path, hub, gguf, config (or path and gguf), got: none"),
        (
            "CausalLm",
            {"hub": "a/b", "path": "x"},
            "give one of path, hub, gguf, config (or path and gguf), got: path, hub",
        ),
        (
            "Seq2SeqLm",
            {"config": {"d_model": 8}},
            "config needs model_type, the architecture's name in transformers, for example llama",
        ),
    ],
)
def test_configs_refuse_what_does_not_fit(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        getattr(backbone_config, f"{model}Config")(**options)
    assert caught.value.errors()[0]["msg"] == f"Value error, {message}"
