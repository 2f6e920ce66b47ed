"""Pictures and sounds that are broken, missing or hostile: through a spec, a manifest and the command's own calls."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import mmkit

Write = Callable[..., Path]
RATE = 16_000


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 99)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(samples: np.ndarray, form: str = "WAV", rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form)
    return buffer.getvalue()


def at_rate(data: bytes, rate: int) -> bytes:
    return data[:24] + struct.pack("<I", rate) + data[28:]


def lying(data: bytes) -> bytes:
    """A WAV whose header promises 4 GB of samples."""
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", 4_000_000_000) + data[at + 4 :]


def spec_for(modality: str, encoder: dict[str, Any], path: Path, **data: Any) -> dict[str, Any]:
    source = {"task": "see", "path": str(path)}
    return {
        "mmkit": 1,
        "modalities": {modality: {"encoder": encoder}},
        "tasks": {
            "see": {"input": f"{{{modality}}}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}}
        },
        "data": {"train": [source], "test": [source], **data},
        "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 4}]},
    }


def image_spec(path: Path, options: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return spec_for("image", {"use": "cnn", "image_size": 8, "channels": [4], **(options or {})}, path, **data)


def audio_spec(path: Path, options: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return spec_for("audio", {"use": "log-mel", "n_mels": 8, **(options or {})}, path, **data)


def message(call: Callable[[], Any], kind: type[Exception] = mmkit.DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


RAISE = " (data.on_bad_sample: skip would leave such rows out)"
PICTURES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "does not exist"),
    "empty": (b"", "empty (0 bytes)"),
    "garbage": (b"no picture at all", "not an image, or its header is cut; read are AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, TIFF, WEBP"),
    "one-pixel": (png_header(1, 1), "1 × 1 pixels; at least 2 × 2 are needed"),
    "bomb": (png_header(13_000, 13_000), "169.0 megapixels; at most 50 are decoded: make it smaller, or raise max_megapixels"),
    "bomb-beyond-pillow": (png_header(20_000, 20_000), "400.0 megapixels; at most 50 are decoded: make it smaller, or raise max_megapixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*PICTURES, "truncated"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_picture_stops_the_run_with_the_rows_address(
    name: str, write_rows: Write, picture: Any, tmp_path: Path, train: Any
) -> None:
    whole = picture(size=(40, 40))
    (tmp_path / "good.png").write_bytes(whole)
    content, reason = PICTURES.get(name, (whole[: len(whole) // 2], ""))
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    path = write_rows([{"image": "good.png", "label": "x"}, {"image": "bad.png", "label": "y"}])
    said = message(lambda: train(image_spec(path)))
    start = f"{path}:2: column 'image': image file '{tmp_path / 'bad.png'}': "
    if name == "truncated":
        assert said.startswith(f"{start}truncated (")
        assert said.endswith(RAISE)
    else:
        assert said == start + reason + RAISE
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_the_largest_picture_can_be_set(write_rows: Write, picture: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(size=(60, 50)))
    path = write_rows([{"image": "a.png", "label": "x"}])
    said = message(lambda: mmkit.evaluate(mmkit.build(image_spec(path, {"max_megapixels": 0.002}))))
    assert said == (
        f"{path}:1: column 'image': image file '{tmp_path / 'a.png'}': 0.0 megapixels; at most 0.002 are decoded: "
        f"make it smaller, or raise max_megapixels{RAISE}"
    )
    assert mmkit.evaluate(mmkit.build(image_spec(path, {"max_megapixels": 0.003})))["see"].predictions


QUIET = np.zeros(RATE * 700, np.float32)
SOUNDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty (0 bytes)"),
    "no-samples": (lambda: encoded(np.zeros(0, np.float32)), "no samples"),
    "garbage": (lambda: b"no sound at all", "not a sound, or corrupt (Format not recognised)"),
    "bomb": (
        lambda: encoded(QUIET, "FLAC"),
        "700.0 s long; at most 600 s are decoded: cut it, or raise max_seconds",
    ),
    "wide": (lambda: encoded(np.zeros((99, 40), np.int16)), "40 channels; at most 32 are read"),
    "forged-high": (lambda: at_rate(encoded(QUIET[:99]), 4_000_000), "4000000 samples a second; 1000 to 384000 are read"),
    "forged-low": (lambda: at_rate(encoded(QUIET[:99]), 1), "1 samples a second; 1000 to 384000 are read"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUNDS)
def test_a_bad_sound_stops_the_run_with_the_rows_address(
    name: str, write_rows: Write, sound: Any, tmp_path: Path, train: Any
) -> None:
    make, reason = SOUNDS[name]
    (tmp_path / "good.wav").write_bytes(sound())
    (tmp_path / "bad.wav").write_bytes(make())
    path = write_rows([{"audio": "good.wav", "label": "x"}, {"audio": "bad.wav", "label": "y"}])
    said = message(lambda: train(audio_spec(path)))
    assert said == f"{path}:2: column 'audio': audio file '{tmp_path / 'bad.wav'}': {reason}{RAISE}"


@pytest.mark.parametrize("name", ["bomb", "memory"])
def test_the_limits_of_sound_hold_on_every_way_in(name: str, tmp_path: Path) -> None:
    """A path, bytes, a mapping of either, and samples; before anything is decoded."""
    spec = audio_spec(tmp_path / "none.jsonl", {"max_seconds": 2, "max_mebibytes": 1})
    model = mmkit.build(spec)
    samples = np.zeros((RATE, 20), np.int16) if name == "memory" else np.zeros(RATE * 3, np.int16)
    reason = {
        "bomb": "3.0 s long; at most 2 s are decoded: cut it, or raise max_seconds",
        "memory": "1.2 MiB once decoded; at most 1 MiB are: cut it, or raise max_mebibytes",
    }[name]
    data = encoded(samples)
    (tmp_path / "a.wav").write_bytes(data)
    forms: list[tuple[Any, str]] = [
        (str(tmp_path / "a.wav"), f"audio file '{tmp_path / 'a.wav'}'"),
        (data, "audio bytes"),
        ({"bytes": data, "path": None}, "audio bytes"),
        ({"bytes": None, "path": str(tmp_path / "a.wav")}, f"audio file '{tmp_path / 'a.wav'}'"),
        ({"array": samples, "sampling_rate": RATE}, f"audio array of shape {samples.shape}"),
    ]
    for raw, where in forms:
        said = message(lambda raw=raw: model.predict("see", {"audio": raw}), mmkit.SampleError)  # type: ignore[misc]
        assert said == f"column 'audio': {where}: {reason}"


def test_a_wav_that_promises_more_than_it_holds_is_warned_of(write_rows: Write, sound: Any, tmp_path: Path) -> None:
    data = sound()
    (tmp_path / "whole.wav").write_bytes(data)
    (tmp_path / "lying.wav").write_bytes(lying(data))
    path = write_rows([{"audio": "whole.wav", "label": "x"}, {"audio": "lying.wav", "label": "y"}])
    held = len(data) - data.index(b"data") - 8
    said = f"audio file '.*lying.wav': the header promises 4000000000 bytes of samples, the file holds {held}"
    with pytest.warns(UserWarning, match=said):
        result = mmkit.evaluate(mmkit.build(audio_spec(path)))["see"]
    assert result.predictions[0] == result.predictions[1]


def test_bad_rows_are_skipped_counted_and_named_and_the_others_are_untouched(
    write_rows: Write, picture: Any, tmp_path: Path, train: Any
) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
    (tmp_path / "cut.png").write_bytes(picture(9, (40, 40))[:200])
    good = [{"image": f"{seed}.png", "label": "xy"[seed % 2]} for seed in range(6)]
    bad = [
        {"image": "none.png", "label": "x"},
        {"image": "cut.png", "label": "y"},
        {"image": "0.png", "label": "z"},
        {"image": None, "label": "x"},
    ]
    path = write_rows([bad[0], *good[:3], bad[1], bad[2], *good[3:], bad[3]])
    spec = image_spec(path, on_bad_sample="skip", max_bad=0.5)
    model = train(spec)
    result = mmkit.evaluate(model)["see"]
    assert result.metrics["bad_rows"] == 4
    assert result.addresses == [f"{path}:{row}" for row in (2, 3, 4, 7, 8, 9)]
    assert result.references == [row["label"] for row in good]
    alone = [model.predict("see", {"image": str(tmp_path / row["image"])}) for row in good]
    for one, other in zip(result.predictions, alone, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_more_bad_rows_than_the_limit_stop_the_run(write_rows: Write, tmp_path: Path, train: Any) -> None:
    path = write_rows([{"image": "none.png", "label": "x"}])
    one = f"{path}:1: column 'image': image file '{tmp_path / 'none.png'}': does not exist"
    said = message(lambda: mmkit.evaluate(mmkit.build(image_spec(path, on_bad_sample="skip", max_bad=0.2))))
    assert said == f"1 of 1 rows could not be used ({one}); more than data.max_bad = 20.0% allows"


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("raw", [3, 1.5, True, {"x": 1}, []], ids=repr)
def test_a_value_of_another_type_is_named(modality: str, raw: Any, tmp_path: Path) -> None:
    model = mmkit.build((image_spec if modality == "image" else audio_spec)(tmp_path / "none.jsonl"))
    said = message(lambda: model.predict("see", {modality: raw}), mmkit.SampleError)
    forms = {
        "image": "an image must be a path, bytes, a PIL image, a NumPy array, a tensor, or {'bytes': …, 'path': …}",
        "audio": "a sound must be a path, bytes, {'array': …, 'sampling_rate': …} or {'bytes': …, 'path': …}",
    }[modality]
    mapping = {
        "image": "an image given as a mapping needs 'bytes' or a 'path'; got 'x' (int)",
        "audio": "a sound given as a mapping needs 'array', 'bytes' or a 'path'; got 'x' (int)",
    }[modality]
    expected = mapping if isinstance(raw, dict) else f"{forms}; got {type(raw).__name__}"
    assert said == f"column '{modality}': {expected}"


def test_no_warning_is_left_over_from_a_bomb(write_rows: Write, tmp_path: Path) -> None:
    """Pillow warns of a bomb that mmkit refuses anyway; with warnings as errors the message is the same."""
    (tmp_path / "bomb.png").write_bytes(png_header(13_000, 13_000))
    model = mmkit.build(image_spec(tmp_path / "none.jsonl"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = message(lambda: model.predict("see", {"image": str(tmp_path / "bomb.png")}), mmkit.SampleError)
    assert said.endswith(PICTURES["bomb"][1])
