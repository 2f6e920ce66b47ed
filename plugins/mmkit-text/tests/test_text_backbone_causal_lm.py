"""causal-lm against transformers itself: packed = alone, steps = teacher forcing, own scores, growth, round trips."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, causal_lm
from mmkit_text.characters import Characters
from mmkit_text.lm_decoding import SlotState
from transformers import AutoConfig, AutoModelForCausalLM

from mmkit import BuildContext, PluginError, Ragged, SampleError, Scores
from mmkit.model.decoder import Decoder
from mmkit.model.generate import OPTIONS
from mmkit.wiring.empty import empty_weights

SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small(model_type: str, without: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"model_type": model_type, **{k: v for k, v in SMALL.items() if k not in without}, **more}


GQA = ("num_key_value_heads", "head_dim")
GPT2 = {"vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
OPT = {"vocab_size": 40, "hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 48, "num_hidden_layers": 2}
WINDOW = ["sliding_attention", "full_attention"]
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": small("llama", ("head_dim",), tie_word_embeddings=True),
    "gpt2": {"model_type": "gpt2", **GPT2, "bos_token_id": 1, "eos_token_id": 2},
    "qwen3": small("qwen3"),
    "mistral": small("mistral", sliding_window=3),
    "gemma2": small("gemma2", sliding_window=3, layer_types=WINDOW, attn_logit_softcapping=2.0),
    "gemma3": small("gemma3_text", sliding_window=3, layer_types=WINDOW, final_logit_softcapping=3.0),
    "opt": {"model_type": "opt", **OPT, "num_attention_heads": 4, "max_position_embeddings": 64},
    "cohere": small("cohere", GQA, logit_scale=0.25),
    "granite": small("granite", GQA, logits_scaling=3.0, embedding_multiplier=2.0),
    "gpt_neox": small("gpt_neox", GQA, is_decoder=True),
    "phi": small("phi", GQA),
    "bloom": {"model_type": "bloom", "vocab_size": 40, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "lfm2": small("lfm2", ("head_dim",), layer_types=["conv", "full_attention"]),
}
PADDED = ("gemma2", "bloom", "lfm2")
NOT_LINEAR = ("gemma2", "gemma3", "cohere", "granite")  # soft caps and scales behind the output layer


def reference(name: str) -> Any:
    torch.manual_seed(0)
    settings = dict(CONFIGS[name])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def make(name: str, rows: int = 40, generates: bool = True, **options: Any) -> causal_lm.CausalLm:
    settings = backbone_config.CausalLmConfig(config=CONFIGS[name], **options)
    built = causal_lm.build(BuildContext(vocabulary_size=rows, generates=generates), **settings.model_dump())
    weights = reference(name)
    built.lm.load_state_dict((weights if generates else weights.base_model).state_dict())
    return built.eval()


def ragged(backbone: Any, sizes: list[int], seed: int = 0) -> tuple[Ragged, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, 40, (size,), generator=generator) for size in sizes]
    return Ragged(backbone.embed(torch.cat(ids)), torch.tensor(sizes)), ids


PROMPTS, TARGETS = [5, 0, 9, 1, 5], [3, 4, 1, 6, 2]


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_logits_equal_transformers_and_packed_equals_alone(name: str) -> None:
    backbone, model = make(name), reference(name)
    assert backbone.packs == (name not in PADDED)
    (prompt, prompt_ids), (target, target_ids) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
    together = backbone(prompt, target)
    scores = together.replace(backbone.logits(together.values)).split()
    alone_prompt = backbone(prompt).split()
    for index, (first, second) in enumerate(zip(prompt_ids, target_ids, strict=True)):
        expected = model(input_ids=torch.cat([first, second])[None], use_cache=False).logits[0, len(first) :]
        torch.testing.assert_close(scores[index], expected, atol=2e-5, rtol=1e-5)
        one = backbone(prompt.select([index]), target.select([index]))
        torch.testing.assert_close(one.values, together.split()[index], atol=1e-5, rtol=1e-5)
        one = backbone(prompt.select([index]))
        torch.testing.assert_close(one.values, alone_prompt[index], atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("offset", [0, 7])
def test_loss_equals_that_of_transformers_scores(monkeypatch: pytest.MonkeyPatch, name: str, offset: int) -> None:
    monkeypatch.setattr("mmkit.cross_entropy._SCORES", {"cpu": 200})  # five rows at a time
    backbone, model = make(name), reference(name)
    assert (backbone.output_layer() is None) == (name in NOT_LINEAR)
    (prompt, first), (target, second) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
    wanted = torch.randint(0, 40 - offset, (16,), generator=torch.Generator().manual_seed(2))
    hidden = backbone(prompt, target)
    scores = Scores(hidden.values, hidden.lengths, backbone, offset, 40 - offset)
    loss = scores.cross_entropy(target.replace(wanted))
    rows = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    found = [
        model(input_ids=row[None], use_cache=False).logits[0, -len(new) :]
        for row, new in zip(rows, second, strict=True)
    ]
    expected = torch.nn.functional.cross_entropy(torch.cat(found)[:, offset:], wanted, reduction="sum")
    torch.testing.assert_close(loss, expected, atol=0, rtol=1e-5)
    torch.testing.assert_close(scores.logits(), torch.cat(found)[:, offset:], atol=2e-5, rtol=1e-5)
    loss.backward()
    expected.backward()
    for (label, mine), (_, theirs) in zip(backbone.lm.named_parameters(), model.named_parameters(), strict=True):
        if "embed" not in label and "wte" not in label:  # inputs were embedded before
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_adapted_or_hooked_output_layer_is_not_taken_for_a_plain_one() -> None:
    backbone = make("qwen3")
    assert backbone.output_layer() is not None
    handle = backbone.lm.lm_head.register_forward_hook(lambda module, given, out: out * 2)
    assert backbone.output_layer() is None
    handle.remove()
    assert backbone.output_layer() is not None
    backbone.lm.lm_head = torch.nn.Sequential(backbone.lm.lm_head, torch.nn.Tanh())
    assert backbone.output_layer() is None
    assert float(backbone.logits(torch.randn(2, 32) * 100).max()) <= 1


@torch.no_grad()
def test_all_prompts_empty() -> None:
    backbone = make("llama")
    prompt, _ = ragged(backbone, [0, 0])
    target, _ = ragged(backbone, [3, 3], 1)
    assert backbone(prompt).values.shape == (0, 32)
    state, inputs = backbone.prefill(prompt), torch.stack(target.split())
    steps = torch.stack([backbone.step(state, inputs[:, i]) for i in range(3)], 1)
    torch.testing.assert_close(steps, torch.stack(backbone(prompt, target).split()), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_configured_cache_does_not_leak_across_packed_samples() -> None:
    backbone, model = make("llama"), reference("llama")
    prompt, ids = ragged(backbone, [5, 7])
    alone = model.model(input_ids=ids[1][None], use_cache=False).last_hidden_state[0]
    leaking = model.model(
        inputs_embeds=prompt.values[None], position_ids=prompt.positions()[None], use_cache=True
    ).last_hidden_state[0, 5:]
    assert (leaking - alone).abs().max() > 1e-3  # what transformers does with packed positions and a cache
    backbone.lm.config.use_cache = True
    torch.testing.assert_close(backbone(prompt).split()[1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
def test_gradients_equal_those_of_samples_alone_also_with_checkpointing(name: str) -> None:
    backbone = make(name)

    def gradients(batches: list[list[int]]) -> list[torch.Tensor]:
        backbone.zero_grad()
        for items in batches:
            (prompt, _), (target, _) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
            hidden = backbone(prompt.select(items), target.select(items))
            backbone.logits(hidden.values).logsumexp(-1).sum().backward()
        return [p.grad.clone() for p in backbone.parameters() if p.grad is not None]

    expected = gradients([[i] for i in range(5)])
    assert len(expected) == len(list(backbone.parameters()))
    torch.testing.assert_close(gradients([[0, 1, 2, 3, 4]]), expected, atol=1e-4, rtol=1e-4)
    getattr(backbone.lm, "activation_checkpointing_enable", backbone.lm.gradient_checkpointing_enable)()
    backbone.train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(gradients([[0, 1, 2, 3, 4]]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "lfm2"])
@pytest.mark.parametrize("beams", [1, 3])
@torch.no_grad()
def test_decoding_is_the_same_alone_and_in_a_batch(name: str, beams: int) -> None:
    backbone, vocabulary = make(name), Characters(40, False, None)
    vocabulary._set("abcdefghijklmnopqrstuvwxyz")
    prompt, _ = ragged(backbone, [5, 2, 7])
    decoder, options = Decoder(backbone, vocabulary, 0), {**OPTIONS, "max_new_tokens": 8, "beams": beams}
    decode = decoder.beam if beams > 1 else decoder.sample
    together = decode(prompt, options)
    assert together == [decode(prompt.select([i]), options)[0] for i in range(3)]
    assert any(together)


@torch.no_grad()
def test_greedy_equals_transformers_generate() -> None:
    backbone, model = make("llama"), reference("llama")
    prompt, ids = ragged(backbone, [6])
    state, last, got = backbone.prefill(prompt.replace(prompt.values)), ids[0][-1:], []
    state = backbone.prefill(Ragged(prompt.values[:-1], torch.tensor([5])))
    for _ in range(6):
        last = backbone.logits(backbone.step(state, backbone.embed(last))).argmax(-1)
        got.append(int(last))
    expected = model.generate(ids[0][None], max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert got == expected[0, 6:].tolist()


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_saved_assets_rebuild_the_model_without_its_source(name: str, tmp_path: Path) -> None:
    source, assets = tmp_path / "source", tmp_path / "assets"
    assets.mkdir()
    reference(name).save_pretrained(source)
    settings = backbone_config.CausalLmConfig(path=source).model_dump()
    original = causal_lm.build(BuildContext(vocabulary_size=43), **settings).eval()
    original.save_assets(assets)
    assert [p.name for p in assets.iterdir()] == ["config.json"]
    shutil.rmtree(source)
    with empty_weights():
        context = BuildContext(assets=assets, load_weights=False, vocabulary_size=43)
        copy = causal_lm.build(context, **settings).eval()
    assert all(p.is_meta for p in copy.parameters())
    assert not any(b.is_meta for b in copy.buffers())
    copy.load_state_dict(original.state_dict(), assign=True)
    assert copy.packs == original.packs
    (prompt, _), (target, _) = ragged(original, PROMPTS), ragged(original, TARGETS, 1)
    hidden, again = original(prompt, target).values, copy(prompt, target).values
    assert torch.equal(hidden, again)
    assert torch.equal(original.logits(hidden), copy.logits(again))


@torch.no_grad()
def test_without_a_decoding_head_there_is_no_output_layer() -> None:
    backbone = make("qwen3", generates=False)
    assert not any("lm_head" in key for key in backbone.state_dict())
    prompt, _ = ragged(backbone, [3, 4])
    torch.testing.assert_close(backbone(prompt).values, make("qwen3")(prompt).values)
    with pytest.raises(TypeError, match="this causal-lm was built without an output layer and does not generate"):
        backbone(prompt, prompt)
    with pytest.raises(TypeError, match="CausalLm does not generate"):
        backbone.logits(prompt.values)


@torch.no_grad()
def test_a_recurrent_model_reads_padded_rows() -> None:
    sizes = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    settings = backbone_config.CausalLmConfig(config={"model_type": "mamba", **sizes})
    context = BuildContext(vocabulary_size=40, generates=False)
    backbone = causal_lm.build(context, **settings.model_dump()).eval()
    assert not backbone.packs
    prompt, ids = ragged(backbone, PROMPTS)
    for index, states in enumerate(backbone(prompt).split()):
        if len(ids[index]):
            alone = backbone.lm(input_ids=ids[index][None], use_cache=False).last_hidden_state[0]
            torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_padded_attention_gives_the_same_states(attention: str) -> None:
    backbone, padded = make("llama"), make("llama", attention=attention)
    (prompt, _), (target, _) = ragged(backbone, PROMPTS), ragged(backbone, TARGETS, 1)
    assert not padded.packs
    got, expected = padded(prompt, target).values, backbone(prompt, target).values
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_kernel_of_the_spec_is_taken() -> None:
    backbone = make("llama", attention="documents")
    prompt, _ = ragged(backbone, PROMPTS)
    torch.testing.assert_close(backbone(prompt).values, make("llama")(prompt).values)
    with pytest.raises(PluginError) as caught:
        make("llama", attention="varlen")(prompt)
    assert str(caught.value) == (
        "attention: varlen needs a CUDA device, float16 or bfloat16; the rows are torch.float32 on cpu; "
        "fix: attention: packed takes a kernel that fits"
    )


SLOTS = ("llama", "gpt2", "qwen3", "mistral", "gemma3", "opt", "cohere", "granite", "gpt_neox", "phi")
LEAN = ("llama", "qwen3")


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_which_models_decode_how(name: str) -> None:
    backbone = make(name)
    state = backbone.prefill(ragged(backbone, [5, 2])[0])
    assert isinstance(state, SlotState) == (name in SLOTS)
    assert (getattr(state, "lean", None) is not None) == (name in LEAN)
    backbone.train()  # with dropout nothing can be tried, so the general way is taken
    assert not isinstance(backbone.prefill(ragged(backbone, [5, 2])[0]), SlotState)


@torch.no_grad()
def test_an_adapter_put_into_a_layer_is_heard_in_decoding() -> None:
    backbone = make("llama")
    assert backbone.prefill(ragged(backbone, [5])[0]).lean is not None
    layer = backbone.lm.model.layers[0].mlp
    layer.up_proj = torch.nn.Sequential(layer.up_proj, torch.nn.Tanh())
    prompt, _ = ragged(backbone, [5, 3])
    target, _ = ragged(backbone, [4, 4], 1)
    state, inputs = backbone.prefill(prompt), torch.stack(target.split())
    assert state.lean is None
    steps = torch.stack([backbone.step(state, inputs[:, i]) for i in range(4)], 1)
    torch.testing.assert_close(steps, torch.stack(backbone(prompt, target).split()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "mistral", "gemma3", "bloom", "lfm2"])
@torch.no_grad()
def test_a_greedy_batch_equals_transformers_generate(name: str) -> None:
    backbone, model = make(name), reference(name)
    vocabulary = Characters(40, False, None)
    vocabulary._set("abcdefghijklmnopqrstuvwxyzABCDEFGHI")
    assert (vocabulary.size, vocabulary.begin_id) == (38, 1)
    prompt, ids = ragged(backbone, [6, 3, 9, 1])
    options = {**OPTIONS, "max_new_tokens": 20}
    vocabulary.end_id = 39  # none
    endless = Decoder(backbone, vocabulary, 0).sample(prompt, options)
    vocabulary.end_id = next(i for i in endless[0][2:] if len({(*row, i).index(i) for row in endless}) > 1)
    got = Decoder(backbone, vocabulary, 0).sample(prompt, options)
    assert len({len(row) for row in got}) > 1  # some end before others, and leave the batch
    for row, expected in zip(got, ids, strict=True):
        begun = torch.cat([expected, torch.tensor([vocabulary.begin_id])])[None]
        whole = model.generate(
            begun,
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=vocabulary.end_id,
            pad_token_id=0,
            suppress_tokens=[vocabulary.begin_id, 38, 39],
        )[0, begun.shape[1] :].tolist()
        assert row == whole[: whole.index(vocabulary.end_id) if vocabulary.end_id in whole else None]


@torch.no_grad()
def test_bfloat16() -> None:
    backbone = make("llama", dtype="bfloat16")
    prompt, _ = ragged(backbone, [5, 3])
    assert backbone(prompt).values.dtype == torch.bfloat16
    state = backbone.prefill(prompt)
    hidden = backbone.step(state, backbone.embed(torch.tensor([3, 4])))
    assert backbone.logits(hidden).shape == (2, 40)


@torch.no_grad()
def test_too_long_for_the_table_of_positions() -> None:
    backbone = make("gpt2")
    prompt, _ = ragged(backbone, [3, 65])
    message = (
        "sample 1 of the batch is 65 tokens long; this language model has positions for 64; "
        "fix: shorten the inputs (max_length) or generate fewer tokens (max_new_tokens)"
    )
    with pytest.raises(SampleError) as caught:
        backbone(prompt)
    assert str(caught.value) == message
    state = backbone.prefill(ragged(backbone, [64])[0])
    with pytest.raises(SampleError) as caught:
        backbone.step(state, backbone.embed(torch.tensor([3])))
    assert str(caught.value) == message.replace("sample 1", "sample 0")
    assert make("llama")(ragged(backbone, [65])[0]).values.shape == (65, 32)
