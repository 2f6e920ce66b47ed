"""``Trainer``, ``peft`` and ``pipeline`` on an exported model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from transformers import AutoModel, AutoProcessor, Trainer, TrainingArguments

import mmkit
from mmkit.exchange.hf_export import export_hf
from mmkit.exchange.hf_model import MmkitModel
from mmkit.model.batch import pack

TIED: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {"text": {"adapter": "characters"}},
    "backbone": {
        "use": "causal-lm",
        "config": {
            "model_type": "llama",
            "vocab_size": 64,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
    },
    "tasks": {"copy": {"input": "{text}", "output": "{text}", "head": "generate"}},
}


def arguments(folder: Path, **options: Any) -> TrainingArguments:
    plain = {"output_dir": str(folder), "report_to": [], "use_cpu": True, "disable_tqdm": True, "logging_steps": 1}
    return TrainingArguments(**{**plain, "save_strategy": "no", "seed": 0, **options})


def plain_rows(rows: list[dict[str, Any]], *columns: str) -> Dataset:
    """As ``datasets`` holds them; a picture as bytes."""
    import io

    from PIL import Image

    def png(pixels: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return Dataset.from_list([{c: png(row[c]) if c == "image" else row[c] for c in columns} for row in rows])


def test_trainer_keeps_the_columns_and_learns_with_the_loss_of_mmkit(
    exported: Path, model: mmkit.Model, rows: list[Any], tmp_path: Path
) -> None:
    loaded, processor = AutoModel.from_pretrained(exported), AutoProcessor.from_pretrained(exported)
    loaded.core.encoders["image"].requires_grad_(False)  # its batch statistics would be those of one row
    data = plain_rows(rows, "image", "ecg", "text")
    collate = processor.collator("beat")
    options = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 3, "max_steps": 1, "learning_rate": 0.0}
    trainer = Trainer(loaded, arguments(tmp_path, **options), train_dataset=data, data_collator=collate)
    assert trainer.args.remove_unused_columns
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "loss" in entry)
    prepare = model.preparer()
    batch = pack([prepare("beat", row) for row in data], model.processors(), ["beat"])
    ours = model(batch)["loss"]
    assert logged["loss"] == pytest.approx(float(ours), rel=1e-4)
    assert logged["grad_norm"] == pytest.approx(float(_norm(model, ours)), rel=1e-3)


def _norm(model: mmkit.Model, loss: torch.Tensor) -> torch.Tensor:
    """Of the gradient of one whole batch."""
    trained = [p for name, p in model.named_parameters() if not name.startswith("encoders.image.")]
    given = torch.autograd.grad(loss, trained, allow_unused=True)
    return torch.stack([g.norm() for g in given if g is not None]).norm()


def test_trainer_saves_tied_weights_and_what_it_saves_loads(tmp_path: Path) -> None:
    small = mmkit.build(TIED, fit={"text": ["abcd"]})
    wrapped = MmkitModel.of(small)
    export_hf(small, tmp_path / "export")
    processor = AutoProcessor.from_pretrained(tmp_path / "export")
    data = Dataset.from_list([{"text": "ab"}, {"text": "dcab"}] * 2)
    options = {"max_steps": 2, "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 2}
    trainer = Trainer(
        wrapped,
        arguments(tmp_path, **options),
        train_dataset=data,
        eval_dataset=data,
        data_collator=processor.collator(),
    )
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.evaluate()["eval_loss"])
    again = AutoModel.from_pretrained(tmp_path / "checkpoint-2")
    table, output = (
        again.core.parts.backbones["backbone"].lm.get_input_embeddings(),
        again.core.parts.backbones["backbone"],
    )
    assert output.lm.get_output_embeddings().weight is table.weight
    inputs = processor([{"text": "ab"}])
    wrapped.eval()
    torch.testing.assert_close(again(**inputs).logits, wrapped(**inputs).logits)


def test_lora_lands_on_the_backbone_only_and_its_adapter_is_saved_and_loaded(
    exported: Path, rows: list[Any], tmp_path: Path
) -> None:
    loaded, processor = AutoModel.from_pretrained(exported), AutoProcessor.from_pretrained(exported)
    config = LoraConfig(r=2, target_modules=loaded.lora_target_modules, task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = get_peft_model(loaded, config)
    named = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert named
    assert all(".core.backbones." in name for name in named)
    assert not any(".output.lora" in name and ".attention." not in name for name in named)
    inputs = processor(rows, task="caption")
    with torch.no_grad():
        wanted = adapted(**inputs).logits
    adapted.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    again = AutoPeftModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, wanted)
    assert again.generate(**inputs, max_new_tokens=3).shape[1] == inputs["input_ids"].shape[1] + 3
