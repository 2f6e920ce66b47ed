"""Checkpoints of LLaVA (Liu et al. 2023) as models of mmkit: a vision tower, a projector of two layers, a language model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from mmkit import Imported, PluginError
from mmkit_image.hf_files import first_line

TEMPLATE = "USER: {image}\n{question} ASSISTANT:"
"""Of LLaVA-1.5."""


def read(folder: Path) -> Imported:
    """The spec and the weights of a checkpoint.

    Raises:
        PluginError: it cannot be read, or is of a form that the components do not have.
    """
    try:
        model = LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:
        raise PluginError(f"{folder} is no LLaVA checkpoint that can be read ({first_line(error)})") from None
    config: Any = model.config
    _check(config)
    return Imported(_spec(folder, config), _tensors(model, config))


def _check(config: LlavaConfig) -> None:
    if not isinstance(config.vision_feature_layer, int):
        raise PluginError(
            f"vision_feature_layer is {config.vision_feature_layer}: features of several layers side by side are not to be had"
        )
    if config.projector_hidden_act != "gelu" or not config.multimodal_projector_bias:
        raise PluginError(
            f"the projector has {config.projector_hidden_act} and bias {config.multimodal_projector_bias}; "
            "the adapter mlp has gelu and biases"
        )


def _spec(folder: Path, config: Any) -> dict[str, Any]:
    text = {name: value for name, value in config.text_config.to_diff_dict().items() if value is not None}
    for name in ("architectures", "transformers_version", "dtype", "_name_or_path"):
        text.pop(name, None)
    text |= {"model_type": config.text_config.model_type, "vocab_size": config.text_config.vocab_size}
    text["tie_word_embeddings"] = bool(config.tie_word_embeddings)
    begin = config.text_config.bos_token_id
    keeps = config.vision_feature_select_strategy == "full" and _has_class_token(config.vision_config)
    encoder = {"use": "hf-vision", "path": str(folder), "layer": config.vision_feature_layer, "class_token": keeps}
    return {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": encoder, "adapter": {"use": "mlp", "hidden": config.text_config.hidden_size}},
            "text": {"adapter": {"use": "tokenizer", "path": str(folder)}},
        },
        "backbone": {
            "use": "causal-lm",
            "config": text,
            "prefix": [] if begin is None else [begin],
            "begin": False,
        },
        "tasks": {
            "chat": {
                "input": TEMPLATE,
                "output": "{answer}",
                "columns": {"question": "text", "answer": "text"},
                "head": {"use": "generate", "max_new_tokens": 256},
            }
        },
    }


def _has_class_token(vision: Any) -> bool:
    return "siglip" not in str(vision.model_type)


def _tensors(model: Any, config: Any) -> dict[str, Tensor]:
    parts = {
        "encoders.image.model.": model.model.vision_tower,
        "adapters.image/adapter.network.0.": model.model.multi_modal_projector.linear_1,
        "adapters.image/adapter.network.3.": model.model.multi_modal_projector.linear_2,
        "backbones.backbone.lm.model.": model.model.language_model,
        "backbones.backbone.lm.lm_head.": model.lm_head,
    }
    found = {f"{ours}{name}": tensor for ours, part in parts.items() for name, tensor in part.state_dict().items()}
    pooling = tuple(f"encoders.image.model.{name}." for name in ("head", "pooler"))  # nobody reads the pooled row
    return {name: tensor for name, tensor in found.items() if not name.startswith(pooling)}
