"""Where language models come from: folders that grow, GGUF files, faults; and the parts of packed attention."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_text import backbone_config, causal_lm, packed_attention
from mmkit_text.documents import Documents
from transformers import AutoConfig, AutoModelForCausalLM

from mmkit import BuildContext, PluginError, Ragged

SIZES = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "tie_word_embeddings": True},
    "qwen3": {**SIZES, "head_dim": 8, "tie_word_embeddings": False},
    "gpt2": {"vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
}


def reference(name: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **CONFIGS[name]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_a_folder_grows_safely_and_never_shrinks(name: str, tmp_path: Path) -> None:
    model = reference(name)
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1.0)
    model.save_pretrained(tmp_path)
    settings = backbone_config.CausalLmConfig(path=tmp_path).model_dump()
    grown = causal_lm.build(BuildContext(vocabulary_size=47), **settings)
    old = model.get_input_embeddings().weight
    table, output = grown.lm.get_input_embeddings().weight, grown.lm.get_output_embeddings().weight
    assert table.shape == (47, 32)
    assert output.shape == (47, 32)
    assert torch.equal(table[:40], old)
    assert (output is table) == bool(model.config.tie_word_embeddings)
    spread = (table[40:] - old.mean(0)).abs().max()
    assert spread < 0.5 * (old - old.mean(0)).abs().max()
    kept = causal_lm.build(BuildContext(vocabulary_size=10), **settings)
    assert torch.equal(kept.lm.get_input_embeddings().weight, old)


def test_packed_rows_without_their_mask_are_refused() -> None:
    query = torch.zeros(1, 2, 4, 8)
    module = torch.nn.Linear(1, 1)
    documents = Documents.of([2, 2], torch.device("cpu"))
    with packed_attention.packed(documents), pytest.raises(PluginError) as caught:
        packed_attention.attention(module, query, query, query, None)
    assert str(caught.value) == (
        "Linear makes its own masks and cannot read packed rows; "
        "fix: set attention: sdpa or attention: eager in the backbone's settings"
    )
    with pytest.raises(PluginError) as caught:
        packed_attention.attention(module, query, query, query, documents, softcap=2.0)
    assert str(caught.value) == (
        "Linear attends with 'softcap', which packed rows do not have; "
        "fix: set attention: sdpa or attention: eager in the backbone's settings"
    )


def built(context: BuildContext | None = None, **options: Any) -> str:
    settings = backbone_config.CausalLmConfig(**options).model_dump()
    with pytest.raises(PluginError) as caught:
        causal_lm.build(context or BuildContext(), **settings)
    return str(caught.value)


def test_faults_of_the_source_are_named(tmp_path: Path) -> None:
    assert built(path=tmp_path) == (
        f"{tmp_path} is not a model folder: it has no config.json; "
        "fix: give the folder that holds config.json and model.safetensors"
    )
    assert built(path=tmp_path, gguf="a.gguf") == (
        f"there is no GGUF file {tmp_path / 'a.gguf'}; fix: correct the backbone's gguf"
    )
    bloom = {"model_type": "bloom", "vocab_size": 40, "hidden_size": 32, "n_layer": 2, "n_head": 4}
    assert built(config=bloom, attention="varlen") == (
        "'bloom' cannot read packed rows, so attention: varlen is not to be had; "
        "fix: attention: packed pads where it has to"
    )
    assert built(config={"model_type": "lama"}) == (
        "unknown model_type 'lama' in the backbone's config: did you mean 'llama'?"
    )
    assert built(config={"model_type": "llama", "hiden_size": 8}) == (
        "unknown setting 'hiden_size' of 'llama' in the backbone's config: did you mean 'hidden_size'?"
    )
    assert built(config={"model_type": "t5"}) == "'t5' is not an architecture of AutoModelForCausalLM"
    assert built(config={"model_type": "mamba", "num_hidden_layers": 1}) == (
        "MambaForCausalLM keeps no key-value cache, so it cannot decode here; "
        "fix: use a language model with attention, or a head that reads the prompt"
    )


def test_an_incomplete_weight_file_is_refused(tmp_path: Path) -> None:
    model = reference("qwen3")
    state = {name: tensor for name, tensor in model.state_dict().items() if "layers.1" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    assert built(path=tmp_path) == (
        f"the weights of {tmp_path} are incomplete: missing ['model.layers.1.input_layernorm.weight', "
        "'model.layers.1.mlp.down_proj.weight', 'model.layers.1.mlp.gate_proj.weight'] (11 in all), "
        "of another shape [] (0 in all)"
    )


def _write_gguf(path: Path, model: Any) -> None:
    """A Llama of transformers as a GGUF file, as llama.cpp's converter lays it out (rotary rows interleaved)."""
    gguf = pytest.importorskip("gguf")
    settings = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_rope_dimension_count(settings.head_dim)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)
    writer.add_vocab_size(settings.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, settings.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        for part, heads in (("q_proj", settings.num_attention_heads), ("k_proj", settings.num_key_value_heads)):
            if part in name:
                halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
                tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@torch.no_grad()
def test_a_gguf_file_gives_the_same_model(tmp_path: Path) -> None:
    model = reference("llama")
    _write_gguf(tmp_path / "tiny.gguf", model)
    settings = backbone_config.CausalLmConfig(gguf=str(tmp_path / "tiny.gguf"))
    assert settings == backbone_config.CausalLmConfig.model_validate({"gguf": "tiny.gguf"}, context={"root": tmp_path})
    backbone = causal_lm.build(BuildContext(vocabulary_size=42), **settings.model_dump()).eval()
    ids = torch.arange(3, 12)
    hidden = backbone(Ragged(backbone.embed(ids), torch.tensor([9]))).values
    expected = model(input_ids=ids[None]).logits[0]
    torch.testing.assert_close(backbone.logits(hidden)[:, :40], expected, atol=1e-5, rtol=1e-5)
    assert backbone.lm.get_input_embeddings().weight.shape == (42, 32)
