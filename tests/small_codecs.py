"""A plugin with two codecs that need no network: grey pictures of 2 × 2 pixels, and tones; to be installed by a test."""

from typing import Any

CODE = '''
import io
import numpy as np
import soundfile
import torch
from PIL import Image
from mmkit import Codec, CodeLayout, Component, Config, hookimpl

RATE = 8000

class Grey(Codec):
    """Four shades, row by row; what is missing is black."""

    layout = CodeLayout(codes=4, longest_frames=4, shortest_frames=4)
    grid = (2, 2)

    def quantize(self, raw):
        picture = raw if isinstance(raw, Image.Image) else Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw)
        pixels = np.asarray(picture.convert("L").resize((2, 2), Image.Resampling.BOX))
        return torch.from_numpy(pixels.reshape(4, 1).astype(np.int64) // 64)

    def restore(self, codes):
        pixels = np.zeros(4, np.uint8)
        pixels[: len(codes)] = codes[:4, 0].numpy() * 64 + 32
        return Image.fromarray(pixels.reshape(2, 2))

class Beeps(Codec):
    """A tone of one of four pitches for every tenth of a second; the end of a sound that is no whole tenth is left out."""

    layout = CodeLayout(codes=4, longest_frames=5)
    frame_rate = 10.0

    def quantize(self, raw):
        samples = np.asarray(raw["array"]) if isinstance(raw, dict) else soundfile.read(raw)[0]
        frames = samples[: len(samples) // 800 * 800].reshape(-1, 800)
        peaks = np.abs(np.fft.rfft(frames, axis=1)).argmax(1)
        return torch.from_numpy(np.clip(np.round(peaks / 40) - 1, 0, 3).astype(np.int64))[:5, None]

    def restore(self, codes):
        time = np.arange(800) / RATE
        tones = [0.5 * np.sin(2 * np.pi * 400 * (code + 1) * time) for code in codes[:5, 0].tolist()]
        return {"array": np.concatenate([np.zeros(0), *tones]).astype(np.float32), "sampling_rate": RATE}

class Options(Config):
    """None."""

def grey(context):
    return Grey()

def beeps(context):
    return Beeps()

@hookimpl
def mmkit_components():
    return [
        Component("vocabulary", "grey", "Grey pictures.", "plug_lab:grey", "plug_lab:Options", modality="image"),
        Component("vocabulary", "beeps", "Tones.", "plug_lab:beeps", "plug_lab:Options", modality="audio"),
    ]
'''
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {"text": {"adapter": "characters"}, "picture": {"adapter": "grey"}, "sound": {"adapter": "beeps"}},
    "backbone": {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16},
    "tasks": {
        "draw": {"input": "{text}", "output": "{picture}", "head": {"use": "generate"}},
        "say": {"input": "{text}", "output": "{sound}", "head": {"use": "generate"}},
    },
}
