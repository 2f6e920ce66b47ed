"""Attention that is shown is the attention that was used: for the transformer's forms and for models of transformers."""

from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, causal_lm, kept, none, transformer_backbone

from mmkit import Attended, Attentive, Backbone, BuildContext, PluginError, Ragged

SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {
    **SIZES,
    "intermediate_size": 48,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FORMS: dict[str, dict[str, Any]] = {
    "prefix": {"form": "decoder"},
    "causal": {"form": "decoder", "prompt": "causal"},
    "encoder-decoder": {"form": "encoder-decoder", "decoder_layers": 1},
}
LMS: dict[str, dict[str, Any]] = {
    "llama": {"config": {"model_type": "llama", **GATED}},
    "gpt2": {
        "config": {"model_type": "gpt2", "vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    },
    "mistral": {"config": {"model_type": "mistral", "sliding_window": 3, **GATED}},
    "eager": {"config": {"model_type": "llama", **GATED}, "attention": "eager"},
    "sdpa": {"config": {"model_type": "llama", **GATED}, "attention": "sdpa"},
    "gemma2": {
        "config": {"model_type": "gemma2", "head_dim": 8, "attn_logit_softcapping": 2.0, "sliding_window": 3, **GATED}
    },
    "prefixed": {"config": {"model_type": "llama", **GATED}, "prefix": [3, 4]},
    "without begin": {"config": {"model_type": "llama", **GATED}, "begin": False},
}
PROMPT, TARGET = 6, 4


def make(name: str) -> Any:
    torch.manual_seed(0)
    context = BuildContext(vocabulary_size=40)
    built: Backbone
    if name in FORMS:
        settings: Any = backbone_config.TransformerConfig(dim=32, layers=2, heads=4, **FORMS[name])
        built = transformer_backbone.build(context, **settings.model_dump())
    else:
        settings = backbone_config.CausalLmConfig(**LMS[name])
        built = causal_lm.build(context, **settings.model_dump())
    with torch.no_grad():
        for parameter in built.parameters():  # sharper attention than that of fresh weights
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return built.double().eval()


def rows(size: int, seed: int) -> Ragged:
    given = torch.randn(size, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Ragged.sized(given.requires_grad_(), [size])


def watched(backbone: Any, *given: Ragged) -> tuple[torch.Tensor, list[Attended]]:
    with backbone.watched() as layers:
        states = backbone(*given).values
    return states, layers


@pytest.mark.parametrize("name", [*FORMS, *LMS])
@pytest.mark.parametrize("decoding", [True, False])
def test_weights_are_those_that_made_the_states(name: str, decoding: bool) -> None:
    """Their rows add up to one; what is computed with them is what the fast kernels compute; they are in its graph."""
    backbone = make(name)
    given = (rows(PROMPT, 1), rows(TARGET, 2)) if decoding else (rows(PROMPT, 1),)
    before = backbone(*given).values
    states, layers = watched(backbone, *given)
    torch.testing.assert_close(states, before, atol=1e-6, rtol=1e-6)
    assert len(layers) == (4 if name == "encoder-decoder" and decoding else 2)
    for layer in layers:
        assert layer.weights.shape[-3:] == (4, len(layer.queries), len(layer.keys))
        torch.testing.assert_close(layer.weights.sum(-1), torch.ones_like(layer.weights[..., 0]), atol=1e-6, rtol=0)
    gradients = torch.autograd.grad(states.square().sum(), [layer.weights for layer in layers])
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


@pytest.mark.parametrize("name", [*FORMS, *LMS])
def test_no_row_reads_what_its_backbone_hides(name: str) -> None:
    """A prompt is causal unless it is a prefix or an encoder's; a target always is; windows stay windows."""
    _, layers = watched(make(name), rows(PROMPT, 1), rows(TARGET, 2))
    whole = PROMPT if name in ("prefix", "encoder-decoder") else 0
    for index, layer in enumerate(layers):
        own = layer.queries >= 0
        weights = layer.weights[..., own, :].flatten(0, -3)
        queries, keys = layer.queries[own, None], layer.keys[None]
        hidden = (keys > queries) & ~((queries < whole) & (keys < whole))
        if name == "mistral" or (name == "gemma2" and index == 0):
            hidden |= queries - keys >= 3
        assert not weights[:, hidden].any()
        assert (weights[:, ~hidden] > 0).all()


def test_places_are_the_samples_own() -> None:
    """An encoder-decoder's targets follow its prompt; ids before the prompt, and the row that an empty one has, are -1."""
    prompt, target = list(range(PROMPT)), list(range(PROMPT, PROMPT + TARGET))
    layers = watched(make("encoder-decoder"), rows(PROMPT, 1), rows(TARGET, 2))[1]
    found = [(layer.queries.tolist(), layer.keys.tolist()) for layer in layers]
    assert found == [(prompt, prompt), (prompt, prompt), (target, target), (target, [-1, *prompt])]
    for layer in watched(make("prefixed"), rows(PROMPT, 1), rows(TARGET, 2))[1]:
        assert layer.queries.tolist() == layer.keys.tolist() == [-1, -1, *prompt, *target]


@pytest.mark.parametrize("name", ["causal", "llama", "sdpa"])
def test_afterwards_all_is_as_it_was(name: str) -> None:
    backbone = make(name)
    _, layers = watched(backbone, rows(PROMPT, 1))
    backbone(rows(PROMPT, 1))
    assert len(layers) == 2
    assert kept.current() is None
    assert "forward" not in backbone.__dict__
    if name != "causal":
        assert "forward" not in backbone.trunk.__dict__
        assert backbone.trunk.config._attn_implementation == {"llama": "mmkit_packed", "sdpa": "sdpa"}[name]


def test_other_modules_are_not_watched() -> None:
    backbone, other = make("causal"), make("llama")
    with backbone.watched() as layers:
        other(rows(PROMPT, 1))
    assert layers == []


def test_who_has_no_attention_does_not_say_it_has() -> None:
    assert isinstance(make("causal"), Attentive)
    assert not isinstance(none.PassThrough(40, 32), Attentive)


def test_an_architecture_without_weights_is_named() -> None:
    config = {"model_type": "mamba", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    settings = backbone_config.CausalLmConfig(config=config)
    backbone = causal_lm.build(BuildContext(vocabulary_size=40, generates=False), **settings.model_dump()).eval()
    given = Ragged.sized(torch.randn(PROMPT, 32), [PROMPT])
    with pytest.raises(PluginError) as caught:
        watched(backbone, given)
    assert (
        str(caught.value) == "the attention of MambaModel cannot be seen: it gives no attention weights of its layers"
    )
