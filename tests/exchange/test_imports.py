"""Checkpoints that transformers wrote, imported with equal logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

import mmkit
from mmkit.exchange.imports import bring_in
from mmkit.model.batch import pack
from mmkit.model.model import Run

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}


def write_tokenizer(folder: Path, special: list[str]) -> int:
    """Bytes, and special tokens behind them: begin, end and others."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=special[0], eos_token=special[1])
    fast.save_pretrained(folder)
    return len(fast)


def llava(folder: Path, tower: str, tied: bool = False) -> LlavaForConditionalGeneration:
    rows = write_tokenizer(folder, ["<s>", "</s>", "<image>"])
    clip = tower == "clip"
    vision = (CLIPVisionConfig if clip else SiglipVisionConfig)(
        **SMALL, num_hidden_layers=3, image_size=16, patch_size=4
    )
    heads = {"num_key_value_heads": 1, "num_hidden_layers": 2}
    text = LlamaConfig(
        **SMALL, **heads, vocab_size=rows + 5, bos_token_id=256, eos_token_id=257, tie_word_embeddings=tied
    )
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=258,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default" if clip else "full",
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    made = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    made.save_pretrained(folder)
    if clip:
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    else:
        SiglipImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return made


def logits_of(model: mmkit.Model, task: str, row: dict[str, Any]) -> tuple[torch.Tensor, list[int], Any]:
    """Ours of every target id, the target's ids, and the packed batch."""
    sample = model.preparer()(task, row)
    batch = pack([sample], model.processors(), [task])
    with torch.no_grad():
        scores = Run(model, batch).scores(model.plan.tasks[task].reads[0], [task])[task]
    assert sample.target is not None
    return scores.logits(), sample.target.tolist(), (sample, batch)


@pytest.mark.parametrize(("tower", "tied"), [("clip", False), ("siglip", False), ("clip", True)])
def test_a_llava_checkpoint_has_equal_logits(tmp_path: Path, tower: str, tied: bool) -> None:
    theirs = llava(tmp_path / "llava", tower, tied)
    bring_in(tmp_path / "llava", tmp_path / "ours")
    model = mmkit.load(tmp_path / "ours")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    row = {"image": pixels, "question": "What is it?", "answer": "a cat"}
    ours, answer, (sample, batch) = logits_of(model, "chat", row)
    ids = [256]
    for part in sample.parts:
        ids += list(part.ids) if hasattr(part, "ids") else [258] * part.tokens
    with torch.no_grad():
        given = theirs(input_ids=torch.tensor([ids + answer]), pixel_values=batch.items["image"]["pixels"]).logits[0]
    wanted = given[len(ids) - 1 : -1, : ours.shape[1]]
    assert ids.count(258) == 16
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    assert (theirs.lm_head.weight is theirs.get_input_embeddings().weight) == tied
    lm = model.parts.backbones["backbone"].lm
    assert (lm.lm_head.weight is lm.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("tower", ["clip", "siglip"])
def test_its_answers_are_those_of_generate(tmp_path: Path, tower: str) -> None:
    theirs = llava(tmp_path / "llava", tower)
    model = bring_in(tmp_path / "llava", tmp_path / "ours")
    draw = np.random.default_rng(1)
    rows = [
        {"image": draw.integers(0, 256, (16, 16, 3), dtype=np.uint8), "question": q} for q in ("What?", "Who is it?")
    ]
    for row, answer in zip(rows, model.predict("chat", rows, max_new_tokens=6), strict=True):
        sample = model.preparer()("chat", row, target=False)
        batch = pack([sample], model.processors())
        ids = [256]
        for part in sample.parts:
            ids += list(part.ids) if hasattr(part, "ids") else [258] * part.tokens
        banned = [256, *range(model.vocabularies["text"].size, theirs.config.text_config.vocab_size)]
        given = theirs.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            pixel_values=batch.items["image"]["pixels"],
            max_new_tokens=6,
            do_sample=False,
            suppress_tokens=banned,
        )
        written = given[0, len(ids) :].tolist()
        written = written[: written.index(257)] if 257 in written else written
        assert answer == model.vocabularies["text"].decode(written)
    assert model.predict("chat", rows, max_new_tokens=4, beams=2) == [
        model.predict("chat", row, max_new_tokens=4, beams=2) for row in rows
    ]


def whisper(folder: Path) -> WhisperForConditionalGeneration:
    special = ["<|startoftranscript|>", "<|endoftext|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    rows = write_tokenizer(folder, special)
    sizes = {
        f"{part}_{name}": n
        for part in ("encoder", "decoder")
        for name, n in [("layers", 2), ("attention_heads", 2), ("ffn_dim", 32)]
    }
    config = WhisperConfig(
        **sizes, d_model=16, vocab_size=rows, num_mel_bins=80, max_target_positions=40, max_source_positions=1500,
        decoder_start_token_id=256, bos_token_id=257, eos_token_id=257, pad_token_id=257, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    made = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in made.model.decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    made.generation_config = GenerationConfig(
        decoder_start_token_id=256, eos_token_id=257, forced_decoder_ids=[[1, 258], [2, 259], [3, 260]]
    )
    made.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return made


def test_a_whisper_checkpoint_has_equal_logits_and_answers(tmp_path: Path) -> None:
    theirs = whisper(tmp_path / "whisper")
    bring_in(tmp_path / "whisper", tmp_path / "ours")
    model = mmkit.load(tmp_path / "ours")
    wave = np.random.default_rng(0).normal(size=16_000 * 2).astype(np.float32) * 0.1
    row = {"audio": {"array": wave, "sampling_rate": 16_000}, "text": "hello"}
    ours, answer, _ = logits_of(model, "transcribe", row)
    features = WhisperFeatureExtractor(feature_size=80)(wave, sampling_rate=16_000, return_tensors="pt").input_features
    start = [256, 258, 259, 260]
    with torch.no_grad():
        given = theirs(input_features=features, decoder_input_ids=torch.tensor([start + answer])).logits[0]
    torch.testing.assert_close(ours, given[len(start) - 1 : -1], rtol=1e-4, atol=1e-4)
    said = model.predict("transcribe", row, max_new_tokens=5)
    ids = list(start)
    for _ in range(5):
        with torch.no_grad():
            scores = theirs(input_features=features, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
        scores[260] = float("-inf")
        ids.append(int(scores.argmax()))
    assert said == model.vocabularies["text"].decode([i for i in ids[4:] if i != 257])


def test_an_imported_model_exports_and_tells_its_origin(tmp_path: Path) -> None:
    from transformers import AutoModel

    from mmkit.exchange.hf_export import export_hf

    llava(tmp_path / "llava", "clip")
    model = bring_in(tmp_path / "llava", tmp_path / "ours")
    export_hf(model, tmp_path / "out")
    again = AutoModel.from_pretrained(tmp_path / "out")
    assert again.core.state_dict().keys() == model.state_dict().keys()


def test_an_architecture_that_no_plugin_imports_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lava"}))
    with pytest.raises(mmkit.PluginError) as caught:
        bring_in(tmp_path, tmp_path / "out")
    assert str(caught.value) == "no plugin imports the architecture 'lava': did you mean 'llava'?"


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mmkit.CheckpointError) as caught:
        bring_in(tmp_path, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path} is no folder of transformers: it has no config.json"


def test_weights_that_are_a_pickle_are_not_read(tmp_path: Path) -> None:
    theirs = llava(tmp_path / "llava", "clip")
    (tmp_path / "llava" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "llava" / "pytorch_model.bin")
    with pytest.raises(mmkit.PluginError, match="is no LLaVA checkpoint that can be read"):
        bring_in(tmp_path / "llava", tmp_path / "out")
