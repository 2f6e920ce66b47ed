"""What the conformance kit tries the codecs on: small ones, made here with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import mmkit
from mmkit.testing import Case
from mmkit_audio.conformance import CUT, bad_sounds, sounds, tone
from mmkit_audio.decode import decode

_MEL = {"sample_rate": 8000, "n_mels": 20, "window_ms": 40, "hop_ms": 20}
_NETWORK = {"dim": 16, "layers": 1, "kernel": 3}
_ENCODER = {**_MEL, **_NETWORK, "stride": 4, "levels": [5, 4]}
_HEAD = {**_NETWORK, "iterations": 4}
_CLIPS = [{"array": tone(samples / 8000, 8000), "sampling_rate": 8000} for samples in (2100, 2400, 2700)]
_ROWS = 4
"""Of each of these clips: 13, 15 and 16 frames, four a row."""
ENCODEC = {
    "model_type": "encodec",
    "num_filters": 4,
    "hidden_size": 8,
    "codebook_size": 16,
    "upsampling_ratios": [8, 5, 4, 2],
    "target_bandwidths": [0.6, 1.2],
    "num_lstm_layers": 1,
}
MIMI = {
    "model_type": "mimi",
    "num_filters": 4,
    "hidden_size": 8,
    "codebook_size": 16,
    "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8,
    "num_quantizers": 3,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 16,
    "upsample_groups": 8,
}
DAC = {
    "model_type": "dac",
    "encoder_hidden_size": 2,
    "decoder_hidden_size": 32,
    "n_codebooks": 3,
    "codebook_size": 16,
    "codebook_dim": 4,
}


def spec(encoder: Mapping[str, Any] = _ENCODER, head: Mapping[str, Any] = _HEAD) -> dict[str, Any]:
    """A codec that can be trained."""
    return {
        "mmkit": 1,
        "modalities": {"audio": {"encoder": {"use": "audio/fsq-audio", **encoder}}},
        "tasks": {"rebuild": {"input": "{audio}", "output": "{audio}", "head": {"use": "audio/rebuild-mel", **head}}},
    }


def fsq_audio() -> list[Case]:
    """A codebook; two, of which the second divides the first's steps, or has numbers of its own."""
    shared: dict[str, Any] = {"raws": sounds, "bad": bad_sounds, "waive": CUT}
    return [
        Case(_ENCODER, **shared),
        Case({**_ENCODER, "codebooks": 2}, **shared, name="residual"),
        Case({**_ENCODER, "codebooks": 2, "split": "group"}, **shared, name="group"),
    ]


def rebuild_mel() -> list[Case]:
    """Behind its encoder; both losses."""
    rows = [{"audio": clip} for clip in _CLIPS]
    shared: dict[str, Any] = {"raws": _CLIPS, "bad": bad_sounds, "features": _ROWS, "rows": rows, "waive": CUT}
    return [
        Case({**_HEAD, **_MEL, "stride": 4, "loss": loss}, spec=spec(head={**_HEAD, "loss": loss}), name=loss, **shared)
        for loss in ("mse", "mae")
    ]


def audio_codes() -> list[Case]:
    """One codebook, and two in both patterns and of both kinds."""

    def made(codebooks: int, split: str = "residual", **options: Any) -> Any:
        def config(folder: Path) -> dict[str, Any]:
            saved = folder / f"codec{codebooks}{split}"
            if not saved.exists():
                mmkit.build(spec({**_ENCODER, "codebooks": codebooks, "split": split}), seed=0).save(saved)
            return {"codec": str(saved), "iterations": 4, "max_seconds": 4, **options}

        return config

    shared: dict[str, Any] = {"raws": sounds, "bad": bad_sounds, "same": _as_long}
    return [
        Case(made(1), **shared),
        Case(made(2), name="flat", **shared),
        Case(made(2, pattern="delay"), name="delay", **shared),
        Case(made(2, "group", pattern="delay"), name="group", **shared),
    ]


def hf_audio_codes() -> list[Case]:
    """One of each kind."""
    shared: dict[str, Any] = {"raws": sounds, "bad": bad_sounds, "same": _as_long}
    return [
        Case({"config": ENCODEC, "max_seconds": 4}, **shared),
        Case({"config": MIMI, "codebooks": 2, "max_seconds": 4}, name="mimi", **shared),
        Case({"config": DAC, "pattern": "delay", "max_seconds": 4}, name="dac", **shared),
    ]


def _as_long(got: Any, wanted: Any) -> bool:
    """A codec loses something of the sound, but not of its duration, up to a frame."""
    return abs(_seconds(got) - _seconds(wanted)) < 0.1


def _seconds(sound: Any) -> float:
    if isinstance(sound, Mapping) and isinstance(sound.get("array"), np.ndarray) and not len(sound["array"]):
        return 0.0
    clip = decode(sound)
    return len(clip.samples) / clip.rate
