"""Log-mel frames → a sound: the power of each frequency, then phases that fit (Griffin & Lim 1984)."""

from functools import lru_cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mmkit_audio.mel import LogMel, constants

_TINY = 1e-16


def griffin_lim(
    magnitudes: Float[Tensor, "bins frames"],
    window: Float[Tensor, " window"],
    hop: int,
    length: int,
    iterations: int,
    momentum: float = 0.99,
) -> Float[Tensor, " length"]:
    """A wave whose short-time Fourier transform has nearly these magnitudes, found from phases of zero.

    Args:
        magnitudes: frames centred on every hop-th sample, of a wave mirrored at its ends.
        momentum: of the fast variant (Perraudin, Balazs & Søndergaard 2013); 0 is the algorithm of 1984.
    """
    size, ahead = len(window), momentum / (1 + momentum)
    phases: Complex[Tensor, "bins frames"] = torch.ones_like(magnitudes, dtype=torch.complex64)
    before = torch.zeros_like(phases)
    for _ in range(iterations):
        wave = torch.istft(magnitudes * phases, size, hop, window=window, length=length)
        rebuilt = torch.stft(wave, size, hop, window=window, return_complex=True)
        phases = rebuilt - ahead * before
        phases = phases / (phases.abs() + _TINY)
        before = rebuilt
    return torch.istft(magnitudes * phases, size, hop, window=window, length=length)


def sound_of(mel: LogMel, frames: Float[Tensor, "frames n_mels"], iterations: int) -> Float[Tensor, " samples"]:
    """The wave of log-mel frames, ``hop`` samples a frame; computed in float32 on the CPU."""
    count = len(frames)
    if not count:
        return torch.zeros(0)
    frames = frames.detach().float().cpu()
    least = mel.window // mel.hop + 2  # a wave must be longer than half a window
    frames = torch.cat([frames, frames[-1:].expand(max(1, least - count), -1)])
    hann, _ = constants(mel.sample_rate, mel.n_mels, mel.window, "cpu")
    power = powers(mel, 10.0 ** (4.0 * frames - 4.0))
    wave = griffin_lim(power.sqrt().T, hann, mel.hop, (len(frames) - 1) * mel.hop, iterations)
    return wave[: count * mel.hop].contiguous()


def powers(mel: LogMel, bands: Float[Tensor, "frames n_mels"], steps: int = 30) -> Float[Tensor, "frames bins"]:
    """Powers of frequencies, none below zero, whose mel bands come nearest to these (Lee & Seung 2001, equation 4)."""
    _, filters = constants(mel.sample_rate, mel.n_mels, mel.window, "cpu")
    inverse = _inverse(mel.sample_rate, mel.n_mels, mel.window)
    found = (bands @ inverse).clamp(min=1e-10)
    wanted = bands @ filters.T
    for _ in range(steps):
        found = found * wanted / (found @ filters @ filters.T).clamp(min=1e-20)
    return found


@lru_cache(maxsize=16)
def _inverse(sample_rate: int, n_mels: int, window: int) -> Float[Tensor, "n_mels bins"]:
    """The filters' pseudoinverse."""
    return torch.linalg.pinv(constants(sample_rate, n_mels, window, "cpu")[1].double()).float()
