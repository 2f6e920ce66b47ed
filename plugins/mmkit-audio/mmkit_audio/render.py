"""Sounds that a model made: in reports, to be heard and seen, and as WAV files."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from mmkit import Ragged
from mmkit_audio.decode import decode
from mmkit_audio.mel import LogMel

RATE = 16_000
"""Most samples a second in a report."""
SECONDS = 10.0
"""Longest sound in a report."""
WINDOW = 400


def takes(value: Any) -> bool:
    """Samples with their rate."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("array"), np.ndarray | torch.Tensor)
        and "sampling_rate" in value
    )


def html(value: Any) -> str:
    """Any form of a sound: its spectrogram, and a player of its first seconds, WAV inside the page.

    Raises:
        SampleError: it cannot be read, or is empty.
    """
    clip = decode(value)
    rate = min(RATE, clip.rate)
    cut = clip.samples[: round(SECONDS * clip.rate)]
    samples = type(clip)(cut, clip.rate, clip.where).at(rate)
    note = ""
    if len(cut) < len(clip.samples):
        note = f"<small>the first {SECONDS:g} s of {len(clip.samples) / clip.rate:.1f} s</small>"
    image = f'<img alt="spectrogram" src="data:image/png;base64,{_text(spectrogram(samples, rate))}">'
    return f'{image}<audio controls src="data:audio/wav;base64,{_text(_wav(samples, rate))}"></audio>{note}'


def file(value: Mapping[str, Any]) -> tuple[str, bytes]:
    """As a WAV of 16 bits."""
    array = value["array"]
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().float().numpy()
    return "wav", _wav(np.nan_to_num(array).clip(-1, 1), int(value["sampling_rate"]))


def spectrogram(samples: np.ndarray, rate: int = RATE) -> bytes:
    """Log-mel, low frequencies below, as a PNG."""
    wave = torch.from_numpy(np.pad(samples, (0, max(0, 2 * WINDOW - len(samples)))))
    bands = LogMel(rate, n_mels=64, window=WINDOW, hop=160)(Ragged(wave, torch.tensor([len(wave)]))).values
    grey = (bands.T.flip(0) * 160).clamp(0, 255).to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(grey).resize((208, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def _wav(samples: np.ndarray, rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
