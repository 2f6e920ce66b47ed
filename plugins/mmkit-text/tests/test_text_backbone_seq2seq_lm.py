"""seq2seq-lm against transformers itself: T5 (tied and not), BART, Marian, mT5-like gates."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, seq2seq_lm
from mmkit_text.characters import Characters
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from mmkit import Attended, BuildContext, PluginError, Ragged, SampleError
from mmkit.model.decoder import Decoder
from mmkit.model.generate import OPTIONS
from mmkit.wiring.empty import empty_weights

T5 = {
    "vocab_size": 40,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "dropout_rate": 0.0,
}
BART = {"vocab_size": 40, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 48}
BART |= {"decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
BART |= {"max_position_embeddings": 32, "dropout": 0.0, "pad_token_id": 1, "scale_embedding": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": {"model_type": "t5", **T5},
    "t5 v1.1": {"model_type": "t5", **T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "mt5": {"model_type": "mt5", **T5},
    "bart": {"model_type": "bart", **BART},
    "marian": {"model_type": "marian", **BART, "decoder_vocab_size": 40, "decoder_start_token_id": 1},
    "pegasus": {"model_type": "pegasus", **BART},
    "mvp": {"model_type": "mvp", **BART},
    "blenderbot-small": {"model_type": "blenderbot-small", **BART},
    "m2m_100": {"model_type": "m2m_100", **BART},
    "longt5": {"model_type": "longt5", **T5, "local_radius": 3},
    "switch": {
        "model_type": "switch_transformers",
        **T5,
        "num_sparse_encoder_layers": 0,
        "num_sparse_decoder_layers": 0,
    },
}
PROMPTS, TARGETS = [5, 0, 9, 1, 5], [3, 4, 1, 6, 2]


def reference(name: str) -> Any:
    torch.manual_seed(0)
    settings = dict(CONFIGS[name])
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
    return model.eval()


def make(name: str, generates: bool = True, **options: Any) -> seq2seq_lm.Seq2SeqLm:
    settings = backbone_config.Seq2SeqLmConfig(config=CONFIGS[name], **options)
    built = seq2seq_lm.build(BuildContext(vocabulary_size=40, generates=generates), **settings.model_dump())
    weights = reference(name)
    built.lm.load_state_dict((weights if generates else weights.get_encoder()).state_dict())
    return built.eval()


def ragged(backbone: Any, sizes: list[int], seed: int = 0) -> tuple[Ragged, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, 40, (size,), generator=generator) for size in sizes]
    return Ragged(backbone.embed(torch.cat(ids)), torch.tensor(sizes)), ids


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_logits_equal_transformers_and_packed_equals_alone(name: str) -> None:
    backbone, model = make(name), reference(name)
    (prompt, prompt_ids), (target, target_ids) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
    together, encoded = backbone(prompt, target), backbone(prompt).split()
    scores = together.replace(backbone.logits(together.values)).split()
    for index, (first, second) in enumerate(zip(prompt_ids, target_ids, strict=True)):
        if len(first):
            expected = model(input_ids=first[None], decoder_input_ids=second[None], use_cache=False)
            torch.testing.assert_close(scores[index], expected.logits[0], atol=1e-5, rtol=1e-5)
            states = expected.encoder_last_hidden_state[0]
            torch.testing.assert_close(encoded[index], states, atol=1e-5, rtol=1e-5)
        one = backbone(prompt.select([index]), target.select([index]))
        torch.testing.assert_close(one.values, together.split()[index], atol=1e-5, rtol=1e-5)
        one = backbone(prompt.select([index]))
        torch.testing.assert_close(one.values, encoded[index], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_steps_equal_teacher_forcing_after_reordering(name: str) -> None:
    backbone = make(name)
    prompt, _ = ragged(backbone, [5, 0, 9])
    target, _ = ragged(backbone, [6, 6, 6], 1)
    expected = torch.stack(backbone(prompt, target).split())
    inputs, order = torch.stack(target.split()), torch.tensor([2, 0, 1, 1])
    first = backbone.prefill(prompt)
    state = first.reorder(order)
    for step in range(6):
        hidden = backbone.step(state, inputs[order, step])
        torch.testing.assert_close(hidden, expected[order, step], atol=1e-4, rtol=1e-4)
        if step == 2:
            state, order = state.reorder(torch.tensor([3, 2, 1])), order[[3, 2, 1]]
    hidden = backbone.step(first, inputs[:, 0])
    torch.testing.assert_close(hidden, expected[:, 0], atol=1e-4, rtol=1e-4)  # reordering left the first state alone


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("beams", [1, 3])
@torch.no_grad()
def test_decoding_is_the_same_alone_and_in_a_batch(name: str, beams: int) -> None:
    backbone, vocabulary = make(name), Characters(40, False, None)
    vocabulary._set("abcdefghijklmnopqrstuvwxyz")
    if name == "bart":
        backbone.lm.final_logits_bias[:, vocabulary.end_id] = -2.0
    prompt, _ = ragged(backbone, [5, 2, 7])
    decoder, options = (
        Decoder(backbone, vocabulary, 0),
        {**OPTIONS, "max_new_tokens": 8, "beams": beams},
    )
    decode = decoder.beam if beams > 1 else decoder.sample
    together = decode(prompt, options)
    assert together == [decode(prompt.select([i]), options)[0] for i in range(3)]
    assert any(together)


@pytest.mark.parametrize("name", ["t5", "t5 v1.1", "bart", "marian"])
def test_gradients_equal_those_of_samples_alone(name: str) -> None:
    backbone = make(name)

    def gradients(batches: list[list[int]]) -> dict[str, torch.Tensor]:
        backbone.zero_grad()
        for items in batches:
            (prompt, _), (target, _) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
            hidden = backbone(prompt.select(items), target.select(items))
            backbone.logits(hidden.values).logsumexp(-1).sum().backward()
        return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}

    expected = gradients([[i] for i in range(5)])
    assert set(expected) == {n for n, p in backbone.named_parameters() if p.requires_grad}
    torch.testing.assert_close(gradients([[0, 1, 2, 3, 4]]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_folder_grows_and_its_assets_rebuild_it(name: str, tmp_path: Path) -> None:
    source, assets = tmp_path / "source", tmp_path / "assets"
    assets.mkdir()
    model = reference(name)
    model.save_pretrained(source)
    settings = backbone_config.Seq2SeqLmConfig(path=source).model_dump()
    original = seq2seq_lm.build(BuildContext(vocabulary_size=43), **settings).eval()
    table = original.lm.get_input_embeddings().weight
    assert table.shape == (43, 32)
    assert torch.equal(table[:40], model.get_input_embeddings().weight)
    original.save_assets(assets)
    shutil.rmtree(source)
    with empty_weights():
        context = BuildContext(assets=assets, load_weights=False, vocabulary_size=43)
        copy = seq2seq_lm.build(context, **settings).eval()
    assert all(p.is_meta for p in copy.parameters())
    copy.load_state_dict(original.state_dict(), assign=True)
    (prompt, ids), (target, target_ids) = ragged(original, PROMPTS), ragged(original, TARGETS, 1)
    hidden, again = original(prompt, target).values, copy(prompt, target).values
    assert torch.equal(hidden, again)
    assert torch.equal(original.logits(hidden), copy.logits(again))
    scores = original.logits(hidden)[:3, :40]
    expected = model(input_ids=ids[0][None], decoder_input_ids=target_ids[0][None]).logits[0]
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_without_a_decoding_head_only_the_encoder_is_kept() -> None:
    backbone = make("bart", generates=False)
    assert not any("decoder" in key for key in backbone.state_dict())
    prompt, ids = ragged(backbone, [3, 4])
    whole = make("bart")
    assert torch.equal(prompt.values, whole.embed(torch.cat(ids)))
    torch.testing.assert_close(backbone(prompt).values, whole(prompt).values)
    with pytest.raises(TypeError, match="this seq2seq-lm was built without a decoder and does not generate"):
        backbone(prompt, prompt)


def test_faults_are_named() -> None:
    separate = {**CONFIGS["marian"], "share_encoder_decoder_embeddings": False, "tie_word_embeddings": False}
    with pytest.raises(PluginError) as caught:
        seq2seq_lm.build(BuildContext(), **backbone_config.Seq2SeqLmConfig(config=separate).model_dump())
    assert str(caught.value) == (
        "MarianMTModel has one table for its encoder and another for its decoder; "
        "fix: use a model that shares one (share_encoder_decoder_embeddings, tie_word_embeddings)"
    )
    backbone = make("bart")
    prompt, _ = ragged(backbone, [3, 33])
    with pytest.raises(SampleError) as caught_sample:
        backbone(prompt)
    assert str(caught_sample.value) == (
        "sample 1 of the batch is 33 tokens long; this language model has positions for 32; "
        "fix: shorten the inputs (max_length) or generate fewer tokens (max_new_tokens)"
    )


def watched(backbone: Any, *given: Ragged) -> tuple[torch.Tensor, list[Attended]]:
    with backbone.watched() as layers:
        states = backbone(*given).values
    return states, layers


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"longt5"}))
@pytest.mark.parametrize("decoding", [True, False])
def test_weights_are_those_that_made_the_states(name: str, decoding: bool) -> None:
    """Of the encoder's layers, then of each of the decoder its own and those across; in the graph of the states."""
    backbone = make(name).double()
    (prompt, _), (target, _) = ragged(backbone, [6]), ragged(backbone, [4], 1)
    given = (prompt, target) if decoding else (prompt,)
    before = backbone(*given).values
    states, layers = watched(backbone, *given)
    torch.testing.assert_close(states, before, atol=1e-6, rtol=1e-6)
    read, written = list(range(6)), list(range(6, 10))
    places = [(layer.queries.tolist(), layer.keys.tolist()) for layer in layers]
    assert places == [(read, read)] * 2 + [(written, written), (written, read)] * 3 * decoding
    for layer in layers:
        torch.testing.assert_close(layer.weights.sum(-1), torch.ones_like(layer.weights[..., 0]), atol=1e-6, rtol=0)
        later = layer.keys[None] > layer.queries[:, None]
        assert not layer.weights[..., later].any() or layer.queries[0] == 0
    gradients = torch.autograd.grad(states.square().sum(), [layer.weights for layer in layers])
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
    assert "forward" not in backbone.__dict__
    again = backbone(*given).values
    torch.testing.assert_close(again, before, atol=0, rtol=0)
    assert backbone.lm.config._attn_implementation == reference(name).config._attn_implementation


def test_places_of_what_is_nothing_of_the_sample() -> None:
    """Ids before the begin id, and the row of zeros in place of an empty prompt."""
    backbone = make("t5", prefix=[3, 4])
    (prompt, _), (target, _) = ragged(backbone, [0]), ragged(backbone, [2], 1)
    layers = watched(backbone, prompt, target)[1]
    own, read = [-1, -1, 0, 1], [-1]
    places = [(layer.queries.tolist(), layer.keys.tolist()) for layer in layers]
    assert places == [(read, read)] * 2 + [(own, own), (own, read)] * 3


def test_a_decoder_over_a_given_memory_is_watched() -> None:
    config = {key: value for key, value in BART.items() if key not in ("scale_embedding", "max_position_embeddings")}
    config |= {"model_type": "whisper", "max_target_positions": 32, "num_mel_bins": 8, "is_encoder_decoder": False}
    settings = backbone_config.Seq2SeqLmConfig(config=config, memory="given", prefix=[5])
    backbone: Any = seq2seq_lm.build(BuildContext(vocabulary_size=40), **settings.model_dump()).double().eval()
    (prompt, _), (target, _) = ragged(backbone, [6]), ragged(backbone, [4], 1)
    states, layers = watched(backbone, prompt, target)
    torch.testing.assert_close(states, backbone(prompt, target).values, atol=1e-6, rtol=1e-6)
    own = [-1, 6, 7, 8, 9]
    assert [(one.queries.tolist(), one.keys.tolist()) for one in layers] == [(own, own), (own, [*range(6)])] * 3


def test_attention_in_blocks_is_not_taken_for_that_of_all_rows() -> None:
    backbone = make("longt5")
    with pytest.raises(PluginError) as caught:
        watched(backbone, ragged(backbone, [6])[0])
    said = "the attention of LongT5ForConditionalGeneration cannot be seen: its weights are [1, 2, 4, 4, 12], and not of each of "
    assert str(caught.value) == said + "6 rows to each of 6"
    assert "forward" not in backbone.__dict__
