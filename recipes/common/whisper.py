"""Whisper tiny.en (Radford et al. 2022) from a CTranslate2 container into a folder of the hub's form."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from recipes.common.ctranslate2_file import read
from recipes.common.errors import RecipeError

START, END, NO_TIMESTAMPS = 50257, 50256, 50362


def convert(source: Path, folder: Path) -> None:
    """Write config, weights (float32), tokenizer and feature extractor; every key must match, none may be left.

    Raises:
        RecipeError: an array is missing, left over or of another shape.
    """
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    given = json.loads((source / "config.json").read_text("utf-8"))
    arrays = read(source / "model.bin").arrays
    config = WhisperConfig(
        vocab_size=51864, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536, num_mel_bins=80, max_source_positions=1500,
        max_target_positions=448, pad_token_id=END, bos_token_id=END, eos_token_id=END, decoder_start_token_id=START,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    state = state_dict(arrays)
    load(model, state)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=START, bos_token_id=END, eos_token_id=END, pad_token_id=END, max_length=448,
        forced_decoder_ids=[[1, NO_TIMESTAMPS]], no_timestamps_token_id=NO_TIMESTAMPS, is_multilingual=False,
        suppress_tokens=given["suppress_ids"], begin_suppress_tokens=given["suppress_ids_begin"],
        alignment_heads=given["alignment_heads"], return_timestamps=False,
    )  # fmt: skip
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    shutil.copy(source / "tokenizer.json", folder / "tokenizer.json")
    end = "<|endoftext|>"
    names = {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": end}
    settings = {"tokenizer_class": "WhisperTokenizer", "model_max_length": 448, "add_prefix_space": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), "utf-8")


def load(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Assign every weight; the only key that may be absent is the output projection tied to the embedding.

    Raises:
        RecipeError: keys are missing or left over.
    """
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    result = model.load_state_dict(state, strict=False, assign=True)
    if result.missing_keys or result.unexpected_keys:
        raise RecipeError(f"the container's keys do not match: {result}")
    model.tie_weights()  # type: ignore[operator]


def state_dict(arrays: dict[str, "np.ndarray"]) -> dict[str, torch.Tensor]:
    """The arrays under transformers' names, float32, the fused query/key/value matrices split."""
    state = {
        "model.encoder.embed_positions.weight": _tensor(arrays["encoder/position_encodings/encodings"]),
        "model.decoder.embed_positions.weight": _tensor(arrays["decoder/position_encodings/encodings"]),
        "model.decoder.embed_tokens.weight": _tensor(arrays["decoder/embeddings/weight"]),
    }
    for name in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            state[f"model.encoder.{name}.{kind}"] = _tensor(arrays[f"encoder/{name}/{kind}"])
    for side in ("encoder", "decoder"):
        state |= dict(_norm(arrays, f"{side}/layer_norm", f"model.{side}.layer_norm"))
        layers = {
            name.split("/")[1]
            for name in arrays
            if name.startswith(f"{side}/layer_") and "layer_norm/" not in name[:20]
        }
        for layer in sorted(layers):
            number = layer.removeprefix("layer_")
            state |= dict(_layer(arrays, f"{side}/{layer}", f"model.{side}.layers.{number}", side == "decoder"))
    return state


def _layer(arrays: dict[str, "np.ndarray"], old: str, new: str, cross: bool) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _norm(arrays, f"{old}/self_attention/layer_norm", f"{new}.self_attn_layer_norm")
    yield from _projections(
        arrays, f"{old}/self_attention/linear_0", f"{new}.self_attn", ["q_proj", "k_proj", "v_proj"]
    )
    yield from _projections(arrays, f"{old}/self_attention/linear_1", f"{new}.self_attn", ["out_proj"])
    if cross:
        yield from _norm(arrays, f"{old}/attention/layer_norm", f"{new}.encoder_attn_layer_norm")
        for number, names in enumerate([["q_proj"], ["k_proj", "v_proj"], ["out_proj"]]):
            yield from _projections(arrays, f"{old}/attention/linear_{number}", f"{new}.encoder_attn", names)
    yield from _norm(arrays, f"{old}/ffn/layer_norm", f"{new}.final_layer_norm")
    yield from _projections(arrays, f"{old}/ffn/linear_0", new, ["fc1"])
    yield from _projections(arrays, f"{old}/ffn/linear_1", new, ["fc2"])


def _norm(arrays: dict[str, "np.ndarray"], old: str, new: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{new}.weight", _tensor(arrays[f"{old}/gamma"])
    yield f"{new}.bias", _tensor(arrays[f"{old}/beta"])


def _projections(
    arrays: dict[str, "np.ndarray"], old: str, new: str, names: list[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Split one stored matrix, rows first, into the named projections; keys have no bias (stored as zeros)."""
    weights = np.split(arrays[f"{old}/weight"], len(names))
    biases = np.split(arrays[f"{old}/bias"], len(names))
    for name, weight, bias in zip(names, weights, biases, strict=True):
        yield f"{new}.{name}.weight", _tensor(weight)
        if name != "k_proj":
            yield f"{new}.{name}.bias", _tensor(bias)
        elif np.any(bias):
            raise RecipeError(f"{old}: the key projection has a bias, which Whisper has not")


def _tensor(array: "np.ndarray") -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
