"""mel-frames: the frames are those of the encoder, and a sound comes back as long and with the same spectrum."""

from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.config import MelFramesConfig
from mmkit_audio.mel_frames import MelFrames, build

import mmkit
from mmkit import BuildContext, Ragged

RATE = 16_000


def adapter(**options: Any) -> MelFrames:
    settings = MelFramesConfig(**options)
    return build(BuildContext(), **{name: getattr(settings, name) for name in MelFramesConfig.model_fields})


def tone(seconds: float) -> dict[str, Any]:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1320 * time)
    return {"array": wave.astype(np.float32), "sampling_rate": RATE}


@pytest.mark.parametrize("stack", [1, 3])
def test_frames_are_those_of_log_mel_and_say_where_they_end(stack: int) -> None:
    made = adapter(max_seconds=1.0, stack=stack)
    got = made.encode(tone(0.5))
    assert tuple(got.shape) == (made.length, made.dim) == (-(-100 // stack), 81 * stack)
    rows = got.view(-1, 81)
    wave = torch.from_numpy(tone(0.5)["array"])
    torch.testing.assert_close(rows[:50, :80], made.mel(Ragged.sized(wave, [len(wave)])).values)
    assert rows[:50, 80].tolist() == [1.0] * 50
    assert bool((rows[50:] == -1).all())


def test_a_sound_comes_back_as_long_and_with_its_spectrum() -> None:
    made = adapter(max_seconds=1.0, stack=2)
    back = made.decode(made.encode(tone(0.6)))
    assert back["sampling_rate"] == RATE
    assert back["array"].dtype == np.float32
    assert len(back["array"]) == 60 * 160
    powers = [np.abs(np.fft.rfft(wave[2000:7000])) for wave in (tone(0.6)["array"], back["array"])]
    assert abs(int(powers[0].argmax()) - int(powers[1].argmax())) * RATE / 5000 < 40


def test_nothing_there_is_no_sound() -> None:
    made = adapter()
    assert made.decode(torch.full((made.length, made.dim), -1.0))["array"].tolist() == []


def test_a_number_that_is_wrong_does_not_cut_a_sound_and_noise_is_not_louder_than_full_scale() -> None:
    made = adapter(max_seconds=1.0)
    vectors = made.encode(tone(0.6))
    vectors[20, -1], vectors[80, -1] = -0.9, 0.9
    assert len(made.decode(vectors)["array"]) == 60 * 160
    vectors[:, :-1] = 1.75
    assert 0.99 < np.abs(made.decode(vectors)["array"]).max() <= 1.0


def test_a_longer_sound_is_refused() -> None:
    with pytest.raises(mmkit.SampleError, match=r"1\.5 s"):
        adapter(max_seconds=1.0).encode(tone(1.5))
