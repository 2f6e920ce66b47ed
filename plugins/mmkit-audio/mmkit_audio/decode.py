"""Any form of a sound → mono float32 samples. Limits hold before anything is decoded."""

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from mmkit import SampleError

FORMATS = ("AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX")
MAX_CHANNELS = 32
RATES = (1000, 384_000)
_FORMS = "a path, bytes, {'array': …, 'sampling_rate': …} or {'bytes': …, 'path': …}"


@dataclass(frozen=True)
class Limits:
    """Seconds of a clip, and size of it once decoded to float32 with all its channels."""

    seconds: float = 600.0
    mebibytes: int = 256


@dataclass(frozen=True)
class Clip:
    """Decoded, one channel. ``where`` names it in messages."""

    samples: np.ndarray
    rate: int
    where: str

    def at(self, rate: int) -> np.ndarray:
        """The samples at another rate (soxr, high quality)."""
        if rate == self.rate:
            return self.samples
        return np.asarray(soxr.resample(self.samples, self.rate, rate), dtype=np.float32)


DEFAULT = Limits()


def decode(raw: Any, limits: Limits = DEFAULT, raw_rate: int | None = None) -> Clip:
    """One raw value → a clip; channels are averaged.

    Args:
        raw: path (``str`` or ``Path``), ``bytes`` of a file, a mapping with ``array`` (samples, or samples × channels;
            NumPy or tensor; integers are scaled to −1…1) and ``sampling_rate``, a mapping with ``bytes`` or ``path`` as
            ``datasets`` gives with ``decode=False``, or a bare array if ``raw_rate`` is given.
        raw_rate: sample rate of bare arrays.

    Raises:
        SampleError: missing, empty, corrupt, truncated, too long, too large, not finite, or not a sound.
    """
    if isinstance(raw, Mapping):
        if raw.get("array") is not None:
            return _of_array(raw["array"], raw.get("sampling_rate"), limits)
        raw = _of_mapping(raw)
    if isinstance(raw, (str, Path)):
        return _of_path(raw, limits)
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return _of_file(io.BytesIO(bytes(raw)), memoryview(raw).nbytes, "audio bytes", limits)
    if isinstance(raw, (np.ndarray, torch.Tensor)):
        if raw_rate is None:
            raise SampleError(
                "a bare array carries no sample rate; give {'array': …, 'sampling_rate': …}, or set raw_rate"
            )
        return _of_array(raw, raw_rate, limits)
    raise SampleError(f"a sound must be {_FORMS}; got {type(raw).__name__}")


def _of_mapping(raw: Mapping[Any, Any]) -> Any:
    for key, kinds in (("bytes", (bytes, bytearray, memoryview)), ("path", (str, Path))):
        if isinstance(raw.get(key), kinds):
            return raw[key]
    keys = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in raw.items()) or "nothing"
    raise SampleError(f"a sound given as a mapping needs 'array', 'bytes' or a 'path'; got {keys}")


def _of_path(path: str | Path, limits: Limits) -> Clip:
    where = f"audio file {str(path)!r}"
    try:
        if not Path(path).exists():
            raise SampleError(f"{where}: does not exist")
        if not Path(path).is_file():
            raise SampleError(f"{where}: not a file")
        with Path(path).open("rb") as file:
            return _of_file(file, Path(path).stat().st_size, where, limits)
    except (OSError, ValueError) as error:
        raise SampleError(f"{where}: cannot be read ({error})") from None


def _of_file(file: Any, size: int, where: str, limits: Limits) -> Clip:
    if size == 0:
        raise SampleError(f"{where}: empty (0 bytes)")
    _check_header(file, size, where)
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.format not in FORMATS:
                raise SampleError(f"{where}: {sound.format} is not read; read are {', '.join(FORMATS)}")
            _check(sound.frames, sound.samplerate, sound.channels, where, limits)
            samples = sound.read(dtype="float32", always_2d=True)
            declared, rate = sound.frames, sound.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise SampleError(f"{where}: not a sound, or corrupt ({_reason(error)})") from None
    if 0 < len(samples) < declared:
        raise SampleError(f"{where}: truncated; its header says {declared} samples, {len(samples)} could be decoded")
    return _mono(samples, rate, where)


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _check(frames: int, rate: int, channels: int, where: str, limits: Limits) -> None:
    low, high = RATES
    if not low <= rate <= high:
        raise SampleError(f"{where}: {rate} samples a second; {low} to {high} are read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise SampleError(f"{where}: {channels} channels; at most {MAX_CHANNELS} are read")
    if frames / rate > limits.seconds:
        raise SampleError(
            f"{where}: {frames / rate:.1f} s long; at most {limits.seconds:g} s are decoded: cut it, or raise max_seconds"
        )
    if frames * channels * 4 > limits.mebibytes * 2**20:
        mebibytes = frames * channels * 4 / 2**20
        raise SampleError(
            f"{where}: {mebibytes:.1f} MiB once decoded; at most {limits.mebibytes} MiB are: "
            "cut it, or raise max_mebibytes"
        )


def _check_header(file: Any, size: int, where: str) -> None:
    """Warn of a WAV whose header promises more than the file holds (0 and 2³²−1: of unknown length, as pipes write)."""
    at, head = 12, file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(chunk := file.read(8)) == 8 and at < size:
            name, length = struct.unpack("<4sI", chunk)
            at += 8
            if name == b"data":
                if length not in (0, 0xFFFFFFFF) and length > size - at:
                    message = f"{where}: the header promises {length} bytes of samples, the file holds {size - at}"
                    warnings.warn(message, stacklevel=2)
                break
            at += length + length % 2
            file.seek(at)
    file.seek(0)


def _of_array(array: Any, rate: Any, limits: Limits) -> Clip:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = array.float() if array.dtype == torch.bfloat16 else array
    array = np.asarray(array)
    where = f"audio array of shape {array.shape}"
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)):
        raise SampleError(f"{where}: 'sampling_rate' must be a whole number of samples a second, got {rate!r}")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] > MAX_CHANNELS):
        raise SampleError(f"{where}: wanted samples, or samples × channels (at most {MAX_CHANNELS})")
    samples = array if array.ndim == 2 else array[:, None]
    _check(samples.shape[0], int(rate), samples.shape[1], where, limits)
    return _mono(_to_float(samples, where), int(rate), where)


def _to_float(samples: np.ndarray, where: str) -> np.ndarray:
    """Integers to −1…1 by their type's range; floats as they are."""
    kind, bits = samples.dtype.kind, samples.dtype.itemsize * 8
    if kind == "f":
        return samples.astype(np.float32)
    if kind == "i":
        return (samples / 2.0 ** (bits - 1)).astype(np.float32)
    if kind == "u":
        return (samples / 2.0 ** (bits - 1) - 1).astype(np.float32)
    raise SampleError(f"{where}: samples are numbers, got {samples.dtype}")


def _mono(samples: np.ndarray, rate: int, where: str) -> Clip:
    if not len(samples):
        raise SampleError(f"{where}: no samples")
    if not np.isfinite(samples).all():
        raise SampleError(f"{where}: {int((~np.isfinite(samples)).sum())} samples are NaN or infinite")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return Clip(np.ascontiguousarray(mono, dtype=np.float32), rate, where)
