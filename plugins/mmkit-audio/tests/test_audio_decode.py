"""Decoding: every form, every limit, whole messages."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from mmkit_audio.decode import Limits, decode

from mmkit import SampleError

RATE = 16_000
WAVE = (0.5 * np.sin(np.arange(RATE) / 10)).astype(np.float32)


def encoded(form: str, samples: np.ndarray = WAVE, rate: int = RATE, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def message(raw: Any, **options: Any) -> str:
    with pytest.raises(SampleError) as error:
        decode(raw, **options)
    return str(error.value)


@pytest.mark.parametrize(("form", "tolerance"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_formats_decode_to_the_wave_that_was_written(form: str, tolerance: float) -> None:
    clip = decode(encoded(form))
    assert clip.rate == RATE
    assert abs(len(clip.samples) - len(WAVE)) <= 1152
    inner = slice(2000, 12_000)
    assert np.abs(clip.samples[inner] - WAVE[inner]).max() < tolerance


def test_every_form_of_one_sound_is_the_same(tmp_path: Path) -> None:
    data = encoded("WAV", subtype="FLOAT")
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    forms: list[Any] = [
        data,
        bytearray(data),
        path,
        str(path),
        {"bytes": data, "path": None},
        {"bytes": None, "path": str(path)},
        {"array": WAVE, "sampling_rate": RATE},
        {"array": torch.from_numpy(WAVE), "sampling_rate": RATE},
        {"array": WAVE.astype(np.float64)[:, None], "sampling_rate": np.int64(RATE)},
    ]
    for raw in forms:
        np.testing.assert_array_equal(decode(raw).samples, WAVE)
    np.testing.assert_array_equal(decode(WAVE, raw_rate=RATE).samples, WAVE)


def test_integers_are_scaled_and_channels_averaged() -> None:
    given = np.array([[32767, -32768], [16384, 0]], dtype=np.int16)
    np.testing.assert_allclose(decode({"array": given, "sampling_rate": 8000}).samples, [-1 / 65536, 0.25], atol=1e-6)
    given = np.array([0, 128, 255], dtype=np.uint8)
    np.testing.assert_allclose(decode({"array": given, "sampling_rate": 8000}).samples, [-1, 0, 127 / 128], atol=1e-6)


def test_resampling_is_that_of_soxr() -> None:
    clip = decode({"array": WAVE, "sampling_rate": RATE})
    np.testing.assert_array_equal(clip.at(8000), soxr.resample(WAVE, RATE, 8000))
    assert len(clip.at(8000)) == 8000


def test_wrong_values_are_named(tmp_path: Path) -> None:
    forms = "a path, bytes, {'array': …, 'sampling_rate': …} or {'bytes': …, 'path': …}"
    assert message(3) == f"a sound must be {forms}; got int"
    assert message(None) == f"a sound must be {forms}; got NoneType"
    assert message({"x": 1}) == "a sound given as a mapping needs 'array', 'bytes' or a 'path'; got 'x' (int)"
    bare = "a bare array carries no sample rate; give {'array': …, 'sampling_rate': …}, or set raw_rate"
    assert message(WAVE) == bare
    assert message({"array": WAVE, "sampling_rate": None}) == (
        "audio array of shape (16000,): 'sampling_rate' must be a whole number of samples a second, got None"
    )
    assert message({"array": np.zeros((2, 3, 4)), "sampling_rate": 8000}) == (
        "audio array of shape (2, 3, 4): wanted samples, or samples × channels (at most 32)"
    )
    assert message({"array": np.array(["a"]), "sampling_rate": 8000}) == (
        "audio array of shape (1,): samples are numbers, got <U1"
    )
    missing = tmp_path / "none.wav"
    assert message(missing) == f"audio file '{missing}': does not exist"
    assert message(tmp_path) == f"audio file '{tmp_path}': not a file"


def test_broken_content_is_named() -> None:
    assert message(b"") == "audio bytes: empty (0 bytes)"
    assert message(b"not a sound at all").startswith("audio bytes: not a sound, or corrupt (")
    assert message(encoded("WAV", np.zeros(0, np.float32))) == "audio bytes: no samples"
    hole = WAVE.copy()
    hole[5:8] = np.nan
    assert message(encoded("WAV", hole, subtype="FLOAT")) == "audio bytes: 3 samples are NaN or infinite"
    assert message({"array": np.array([np.inf]), "sampling_rate": 8000}) == (
        "audio array of shape (1,): 1 samples are NaN or infinite"
    )


def test_truncated_flac_is_refused() -> None:
    data = encoded("FLAC", np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))
    said = message(data[: len(data) // 2])
    assert "truncated" in said or "corrupt" in said


def test_limits_hold_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("FLAC", np.zeros(RATE * 700, np.float32))
    assert len(data) < 200_000
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    assert message(data) == ("audio bytes: 700.0 s long; at most 600 s are decoded: cut it, or raise max_seconds")
    wide = encoded("WAV", np.zeros((RATE * 10, 8), np.float32))
    assert message(wide, limits=Limits(mebibytes=2)) == (
        "audio bytes: 4.9 MiB once decoded; at most 2 MiB are: cut it, or raise max_mebibytes"
    )
    many = encoded("WAV", np.zeros((10, 48), np.float32))
    assert message(many) == "audio bytes: 48 channels; at most 32 are read"


def test_forged_rates_are_refused() -> None:
    data = bytearray(encoded("WAV"))
    data[24:28] = struct.pack("<I", 4_000_000)
    assert message(bytes(data)) == "audio bytes: 4000000 samples a second; 1000 to 384000 are read"
    data[24:28] = struct.pack("<I", 1)
    assert message(bytes(data)) == "audio bytes: 1 samples a second; 1000 to 384000 are read"


def test_a_lying_wav_header_is_warned_of() -> None:
    data = bytearray(encoded("WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 4_000_000_000)
    expected = f"^audio bytes: the header promises 4000000000 bytes of samples, the file holds {len(data) - at - 4}$"
    with pytest.warns(UserWarning, match=expected):
        clip = decode(bytes(data))
    assert len(clip.samples) == len(WAVE)


def test_a_wav_of_unknown_length_is_not_warned_of() -> None:
    data = bytearray(encoded("WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(decode(bytes(data)).samples) == len(WAVE)
