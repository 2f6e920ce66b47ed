"""From a log-mel spectrogram back to a sound."""

import pytest
import torch
from mmkit_audio.conformance import tone
from mmkit_audio.griffin_lim import griffin_lim, powers, sound_of
from mmkit_audio.mel import LogMel, constants

from mmkit import Ragged

MEL = LogMel(8000, 64, 320, 80)


def frames_of(wave: torch.Tensor) -> torch.Tensor:
    return MEL(Ragged.sized(wave, [len(wave)])).values


def spoken(seconds: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(tone(seconds, 8000))


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_is_that_of_torchaudio(momentum: float) -> None:
    reference = pytest.importorskip("torchaudio.functional").griffinlim
    window = torch.hann_window(320)
    magnitudes = torch.stft(spoken(), 320, 80, window=window, return_complex=True).abs()
    wanted = reference(magnitudes, window, 320, 80, 320, 1.0, 12, momentum, 8000, rand_init=False)
    got = griffin_lim(magnitudes, window, 80, 8000, 12, momentum)
    assert torch.allclose(got, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_powers_have_the_mel_bands_that_were_asked_for() -> None:
    wanted = 10.0 ** (4.0 * frames_of(spoken()) - 4.0)
    filters = constants(8000, 64, 320, "cpu")[1]
    found = powers(MEL, wanted)
    assert float(found.min()) >= 0
    assert float((found @ filters - wanted).norm() / wanted.norm()) < 0.02


def test_a_sound_of_its_log_mel_is_near_it() -> None:
    wave = spoken()
    frames = frames_of(wave)
    again = sound_of(MEL, frames, 64)
    assert len(again) == len(wave)
    assert 40 * float((frames_of(again) - frames).square().mean().sqrt()) < 4  # decibels


def test_a_sound_is_the_same_every_time() -> None:
    frames = frames_of(spoken(0.3))
    assert torch.equal(sound_of(MEL, frames, 5), sound_of(MEL, frames, 5))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_frames_are_a_short_sound(count: int) -> None:
    wave = sound_of(MEL, frames_of(spoken())[:count], 4)
    assert len(wave) == count * 80
    assert bool(wave.isfinite().all())
