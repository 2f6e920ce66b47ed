"""Checkpoints of Whisper (Radford et al. 2022) as models of mmkit: its encoder, and its decoder over what that gives."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, WhisperForConditionalGeneration

from mmkit import Imported, PluginError


def read(folder: Path) -> Imported:
    """The spec and the weights of a checkpoint.

    The decoder reads language, task and "no time stamps" before an answer, as the folder's generation_config.json says: English
    transcription of a model of several languages, where it says nothing.

    Raises:
        PluginError: it cannot be read.
    """
    try:
        model = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:
        lines = str(error).splitlines() or [""]
        raise PluginError(
            f"{folder} is no Whisper checkpoint that can be read ({type(error).__name__}: {lines[0]})"
        ) from None
    start = prompt_ids(model.config, model.generation_config)
    return Imported(_spec(folder, model.config, start), _tensors(model))


def prompt_ids(config: Any, generation: GenerationConfig | None) -> list[int]:
    """What the decoder reads before the answer, from ``<|startoftranscript|>`` on."""
    start = [int(config.decoder_start_token_id)]
    forced = getattr(generation, "forced_decoder_ids", None) or getattr(config, "forced_decoder_ids", None) or []
    if forced:
        return start + [int(number) for _, number in sorted(forced) if number is not None]
    languages, tasks = getattr(generation, "lang_to_id", None), getattr(generation, "task_to_id", None)
    if languages and tasks and getattr(generation, "is_multilingual", True):
        start += [languages.get("<|en|>", next(iter(languages.values()))), tasks["transcribe"]]
    silent = getattr(generation, "no_timestamps_token_id", None)
    return start if silent is None else [*start, int(silent)]


def _spec(folder: Path, config: Any, start: list[int]) -> dict[str, Any]:
    settings = {name: value for name, value in config.to_diff_dict().items() if value is not None}
    for name in ("architectures", "transformers_version", "dtype", "_name_or_path", "forced_decoder_ids"):
        settings.pop(name, None)
    begin, end = _token(folder, start[-1]), _token(folder, int(config.eos_token_id))
    return {
        "mmkit": 1,
        "modalities": {
            "audio": {"encoder": {"use": "hf-audio", "path": str(folder), "silence": "keep"}},
            "text": {"adapter": {"use": "tokenizer", "path": str(folder), "begin": begin, "end": end}},
        },
        "backbone": {
            "use": "seq2seq-lm",
            "config": {**settings, "model_type": "whisper", "is_encoder_decoder": False},
            "memory": "given",
            "prefix": start[:-1],
        },
        "tasks": {
            "transcribe": {
                "input": "{audio}",
                "output": "{text}",
                "head": {
                    "use": "generate",
                    "max_new_tokens": min(224, int(config.max_target_positions) - len(start) - 1),
                },
            }
        },
    }


def _token(folder: Path, number: int) -> str:
    """The token of an id.

    Raises:
        PluginError: the tokenizer has none.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PluginError(f"{folder} has no tokenizer.json; fix: save the tokenizer beside the model, in its fast form")
    token: str | None = Tokenizer.from_file(str(path)).id_to_token(number)
    if token is None:
        raise PluginError(f"{path} has no token {number}, which the model's config names")
    return token


def _tensors(model: Any) -> dict[str, Tensor]:
    parts = {
        "encoders.audio.model.": model.model.encoder,
        "backbones.backbone.lm.model.decoder.": model.model.decoder,
        "backbones.backbone.lm.proj_out.": model.proj_out,
    }
    return {f"{ours}{name}": tensor for ours, part in parts.items() for name, tensor in part.state_dict().items()}
