"""What the conformance kit tries the encoders and the metric on: sounds made here, of several rates and forms."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mmkit.testing import Case

CUT = {
    "compiles_whole": "clips are cut into windows at lengths that come as a tensor, whose values dynamo does not follow; "
    "train.compile compiles the blocks behind"
}
_FLOAT32 = {"moves_to_float64": "the spectrum is computed in float32, whatever the type of the weights behind it"}
_FRESH = {
    "runs_in_bfloat16": "of fresh weights: seven random convolutions leave little of the signal, and the norm behind "
    "them magnifies the rounding; pretrained weights are compared in the plugin's own tests"
}
HUBERT = {
    "model_type": "hubert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
}
WHISPER = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 2,
}


def tone(seconds: float, rate: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A gliding pitch that comes and goes."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) * (1 + np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def _file(seconds: float = 0.4, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds, rate), rate, format="FLAC")
    return buffer.getvalue()


def sounds(folder: Path) -> Sequence[Any]:
    """An array, an encoded clip of another rate, a stereo file."""
    path = folder / "clip.wav"
    soundfile.write(path, np.stack([tone(0.6, 8000)] * 2, axis=1), 8000)
    return [{"array": tone(0.5, 16_000), "sampling_rate": 16_000}, _file(0.8, 22_050), str(path)]


def bad_sounds(folder: Path) -> Sequence[Any]:
    """Empty, cut off, no sound, no samples, not finite, far too long, a file that is not there, a wrong type."""
    long = io.BytesIO()
    soundfile.write(long, np.zeros(11 * 60 * 8000, np.int16), 8000, format="FLAC")
    broken = np.full(800, np.nan, np.float32)
    return [
        b"",
        _file()[:50],
        b"not a sound at all",
        {"array": np.zeros(0, np.float32), "sampling_rate": 16_000},
        {"array": broken, "sampling_rate": 16_000},
        long.getvalue(),
        str(folder / "none.wav"),
        3.5,
    ]


def log_mel() -> list[Case]:
    """Few bands."""
    return [Case({"n_mels": 20, "hop_ms": 20}, raws=sounds, bad=bad_sounds, waive={**CUT, **_FLOAT32})]


def conformer() -> list[Case]:
    """One small block; and with augmentation, which evaluation does not see."""
    small = {"n_mels": 20, "dim": 16, "heads": 2, "layers": 1, "kernel": 3}
    return [
        Case(small, raws=sounds, bad=bad_sounds, waive=CUT),
        Case(
            {**small, "augment": ["mask", "shift"], "features": "pooled"},
            raws=sounds,
            bad=bad_sounds,
            waive=CUT,
            name="augment",
        ),
    ]


def hf_audio() -> list[Case]:
    """HuBERT on whole clips, Whisper in windows."""
    return [
        Case({"config": HUBERT}, raws=sounds, bad=bad_sounds, waive={**CUT, **_FRESH}),
        Case({"config": WHISPER, "window": 1.0}, raws=sounds, bad=bad_sounds, waive=CUT, name="whisper"),
    ]


def mel_frames() -> list[Case]:
    """A frame a vector, and several."""
    small = {"n_mels": 20, "hop_ms": 20, "max_seconds": 1.0, "iterations": 4}
    return [
        Case(small, raws=sounds, bad=bad_sounds, same=_as_long, tolerance=1e-3),
        Case({**small, "stack": 4}, raws=sounds, bad=bad_sounds, same=_as_long, tolerance=1e-3, name="stack"),
    ]


def _as_long(one: Any, other: Any) -> bool:
    """At the rate of the spectrogram, and as long within a frame; phases are not kept."""
    if isinstance(other, dict):
        wanted = len(other["array"])
    else:
        samples, rate = soundfile.read(io.BytesIO(other) if isinstance(other, bytes) else other)
        wanted = len(samples) * 16_000 / rate
    return bool(one["sampling_rate"] == 16_000 and 0 <= wanted - len(one["array"]) < 320 + 1)


def mel_distance() -> list[Case]:
    """Clips of several lengths and rates, one of them empty."""
    clips: list[Any] = [{"array": tone(seconds, 16_000), "sampling_rate": 16_000} for seconds in (0.3, 0.5)]
    empty = {"array": np.zeros(0, np.float32), "sampling_rate": 16_000}
    pairs = [(clips[0], clips[1]), (clips[1], _file(0.4, 8000)), (empty, clips[0])]
    return [Case({"n_mels": 20}, raws=pairs), Case({"n_mels": 20, "align": "cut"}, raws=pairs, name="cut")]
