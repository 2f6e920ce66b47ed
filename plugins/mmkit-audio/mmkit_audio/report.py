"""The report's sounds: to be played, with their log-mel spectrograms."""

import base64
import io
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from mmkit import Evaluation, Ragged
from mmkit_audio.decode import decode
from mmkit_audio.mel import LogMel

RATE = 16_000
WINDOW = 400


def sounds(evaluation: Evaluation) -> str | None:
    """A card a sample, of every task that listens."""
    return evaluation.cards("audio", _shown)


def _shown(raw: Any) -> str:
    samples = decode(raw).at(RATE)
    sound = io.BytesIO()
    soundfile.write(sound, samples, RATE, format="FLAC")
    image = f'<img alt="spectrogram" src="data:image/png;base64,{_text(_spectrogram(samples))}">'
    return f'{image}<audio controls src="data:audio/flac;base64,{_text(sound)}"></audio>'


def _spectrogram(samples: np.ndarray) -> io.BytesIO:
    """Log-mel, low frequencies below, as a PNG."""
    wave = torch.from_numpy(np.pad(samples, (0, max(0, 2 * WINDOW - len(samples)))))
    bands = LogMel(RATE, n_mels=64, window=WINDOW, hop=160)(Ragged(wave, torch.tensor([len(wave)]))).values
    grey = (bands.T.flip(0) * 160).clamp(0, 255).to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(grey).resize((208, 64)).save(buffer, "PNG")
    return buffer


def _text(buffer: io.BytesIO) -> str:
    return base64.b64encode(buffer.getvalue()).decode()
