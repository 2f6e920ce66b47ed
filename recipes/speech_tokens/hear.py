"""What the codes of a trained codec are like, and whether a recogniser understands what comes back from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmkit_audio.audio_codes import AudioCodes, build
from mmkit_audio.codec_config import AudioCodesConfig
from mmkit_audio.decode import decode
from mmkit_audio.frame_distance import FrameDistance
from mmkit_audio.griffin_lim import sound_of

from mmkit import BuildContext
from recipes.common.baselines import error_rates
from recipes.common.cache import read_jsonl, recipe_folder
from recipes.common.weights import whisper_tiny_en
from recipes.speech_recognition.prepare import normalise
from recipes.speech_tokens.prepare import NAME

RATE = 16_000
KEPT = 3
ORIGINAL, COPY, CODEC = "the recording", "Griffin-Lim of its log-mel", "Griffin-Lim of the codes"


def codec_of(folder: Path) -> AudioCodes:
    """The trained model as a vocabulary."""
    config = AudioCodesConfig(codec=folder)
    return build(BuildContext(), **{name: getattr(config, name) for name in AudioCodesConfig.model_fields})


def use_of(codes: Sequence[torch.Tensor], codec: AudioCodes) -> dict[str, Any]:
    """For each codebook ``share`` of the codes that appear and ``perplexity``, 2 to the entropy of their frequencies; bits a
    second, as laid out and by that entropy."""
    counts = torch.zeros(codec.layout.codebooks, codec.layout.codes)
    for clip in codes:
        for book, numbers in enumerate(clip.T):
            counts[book] += torch.bincount(numbers, minlength=codec.layout.codes)
    shares = counts / counts.sum(1, keepdim=True)
    bits = -(shares * shares.clamp(min=1e-12).log2()).sum(1)
    whole = np.log2(codec.layout.codes) * codec.layout.codebooks
    return {
        "share": [round(float(share), 4) for share in (counts > 0).float().mean(1)],
        "perplexity": [round(float(2**one), 1) for one in bits],
        "frames a second": codec.frame_rate,
        "bits a second": round(float(codec.frame_rate * whole), 1),
        "bits a second by entropy": round(float(codec.frame_rate * bits.sum()), 1),
    }


def heard(sounds: Sequence[dict[str, Any]]) -> list[str]:
    """What Whisper tiny.en writes down (Radford et al. 2022)."""
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    folder = whisper_tiny_en()
    processor = AutoProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    texts = []
    for sound in sounds:
        features = processor(decode(sound).at(RATE), sampling_rate=RATE, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = model.generate(features, max_length=150)
        texts.append(normalise(processor.batch_decode(ids, skip_special_tokens=True)[0]))
    return texts


def look(folder: Path, part: str = "test", limit: int | None = None) -> dict[str, Any]:
    """Figures of a trained codec on held-out clips; writes the first clips as they were and as they come back."""
    data, codec = recipe_folder(NAME), codec_of(folder)
    rows = read_jsonl(data / f"{part}.jsonl")[:limit]
    paths = [data / row["audio"] for row in rows]
    codes = [codec.quantize(path) for path in paths]
    mel, rate = codec.prepared.mel, codec.prepared.sample_rate
    copies = [sound_of(mel, codec.prepared.frames(path), codec.iterations).numpy() for path in paths]
    sounds: dict[str, list[Any]] = {
        ORIGINAL: [{"array": decode(path).at(rate), "sampling_rate": rate} for path in paths],
        COPY: [{"array": copy, "sampling_rate": rate} for copy in copies],
        CODEC: [codec.restore(numbers) for numbers in codes],
    }
    _write(folder, sounds)
    figures: dict[str, Any] = {"codes": use_of(codes, codec)}
    for name, given in sounds.items():
        distance = FrameDistance(codec.prepared)
        distance.update(given, paths)
        texts = heard(given)
        figures[name] = {**distance.compute(), **error_rates(texts, [row["text"] for row in rows]), "heard": texts[:6]}
    return figures


def _write(folder: Path, sounds: dict[str, list[Any]]) -> None:
    import soundfile

    for name, given in sounds.items():
        for number, sound in enumerate(given[:KEPT]):
            file = folder / f"{number}, {name}.wav"
            soundfile.write(file, sound["array"].clip(-1, 1), sound["sampling_rate"])
