"""Every form and mode of a picture → the RGB that it shows."""

import contextlib
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.decode import FORMATS, MAX_BYTES, decode
from PIL import Image, ImageOps

from mmkit import SampleError

LISTED = ", ".join(FORMATS)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(raw: Any) -> np.ndarray:
    image = decode(raw)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds one short, valid data chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_all_forms_of_one_picture_are_equal(photo: Image.Image, tmp_path: Path) -> None:
    small = photo.resize((40, 30))
    data, array = encoded(small), np.asarray(small)
    file = tmp_path / "a.png"
    file.write_bytes(data)
    forms = [
        str(file), file, data, bytearray(data), memoryview(data), small, array, np.asfortranarray(array),
        torch.from_numpy(array.copy()).permute(2, 0, 1), (array / 255).astype(np.float32), array.astype(np.uint16) * 257,
        array / np.float64(255), torch.from_numpy(array / 255).permute(2, 0, 1).float(),
        {"bytes": data, "path": None}, {"bytes": data, "path": "not/there.png"}, {"bytes": None, "path": str(file)},
        {"path": file},
    ]  # fmt: skip
    for form in forms:
        np.testing.assert_array_equal(shown(form), array)


def test_a_jpeg_is_decoded_as_pillow_does(photo_path: Path) -> None:
    with Image.open(photo_path) as reference:
        np.testing.assert_array_equal(shown(photo_path), np.asarray(reference.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG", "JPEG2000", "AVIF"])
def test_every_listed_format_is_read(photo: Image.Image, kind: str) -> None:
    small = photo.resize((48, 32))
    got = shown(encoded(small, kind, **{"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})))
    difference = np.abs(got.astype(int) - np.asarray(small)).mean()
    assert difference <= {"GIF": 8, "JPEG": 8, "AVIF": 8}.get(kind, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(photo: Image.Image, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo.resize((32, 24)), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as reference:
        upright = ImageOps.exif_transpose(reference).convert("RGB")
    np.testing.assert_array_equal(shown(data), np.asarray(upright))
    assert decode(data).size == ((24, 32) if orientation > 4 else (32, 24))


def test_damaged_exif_counts_as_none(photo: Image.Image) -> None:
    data = encoded(photo.resize((32, 24)), "JPEG", exif=b"Exif\0\0garbage garbage")
    assert decode(data).size == (32, 24)


def test_alpha_is_laid_over_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[0, 0, 3], pixels[0, 1, 3], pixels[1, 0, 3] = 255, 0, 128
    expected = np.array([[[200, 0, 0], [255] * 3], [[227, 127, 127], [255] * 3]])
    assert np.abs(shown(encoded(Image.fromarray(pixels))).astype(int) - expected).max() <= 1
    assert np.abs(shown(pixels).astype(int) - expected).max() <= 1
    assert np.abs(shown(torch.from_numpy(pixels).permute(2, 0, 1)).astype(int) - expected).max() <= 1


def test_grey_with_alpha_is_laid_over_white() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 2), 100), Image.new("L", (2, 2), 0)])
    np.testing.assert_array_equal(shown(encoded(image)), np.full((2, 2, 3), 255))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entries_are_white(kind: str) -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 1, 1])
    got = shown(encoded(image, kind, transparency=0))
    np.testing.assert_array_equal(got, [[[255] * 3, [200, 100, 50]], [[200, 100, 50]] * 2])
    np.testing.assert_array_equal(shown(encoded(image, kind))[0, 0], [10, 20, 30])


def test_transparent_colour_of_a_png_without_alpha_is_white() -> None:
    image = Image.new("L", (2, 2), 7)
    image.putpixel((1, 1), 9)
    np.testing.assert_array_equal(shown(encoded(image, transparency=7))[..., 0], [[255, 255], [255, 9]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut(kind: str) -> None:
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    for raw in (encoded(Image.fromarray(values), kind), Image.fromarray(values), values, values[..., None]):
        np.testing.assert_array_equal(shown(raw)[..., 0], [[0, 1], [128, 255]])
    wide = Image.fromarray(values.astype(np.int32))
    assert wide.mode == "I"
    np.testing.assert_array_equal(shown(wide)[..., 1], [[0, 1], [128, 255]])


def test_floats_are_read_from_0_to_1() -> None:
    values = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    for raw in (
        values,
        Image.fromarray(values),
        encoded(Image.fromarray(values), "TIFF"),
        torch.from_numpy(values).bfloat16(),
    ):
        np.testing.assert_array_equal(shown(raw)[..., 2], [[0, 64], [128, 255]])


def test_one_bit_is_black_and_white() -> None:
    values = np.array([[True, False], [False, True]])
    for raw in (values, Image.fromarray(values), encoded(Image.fromarray(values))):
        np.testing.assert_array_equal(shown(raw)[..., 0], [[255, 0], [0, 255]])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(photo: Image.Image, kind: str) -> None:
    image = photo.resize((48, 32)).convert("CMYK")
    got = shown(encoded(image, kind)).astype(int)
    assert np.abs(got - np.asarray(image.convert("RGB"))).mean() < 8


def test_a_pil_image_that_is_given_stays_as_it_is(photo: Image.Image) -> None:
    image = photo.convert("RGBA").resize((8, 8))
    before = image.tobytes()
    decode(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)


def test_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert Image.open(io.BytesIO(data)).n_frames == 3
        assert np.abs(shown(data)[0, 0].astype(int) - [255, 0, 0]).max() <= 2


def gif_frames(count: int) -> bytes:
    """A GIF of that many frames; all but the first are one empty 1 × 1 sub-picture."""
    first = encoded(Image.new("L", (4, 4)), "GIF")
    return first[:-1] + b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0" * (count - 1) + b"\x3b"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "APNG"])
def test_a_flood_of_frames_is_refused(kind: str) -> None:
    if kind == "GIF":
        many, few = gif_frames(1001), gif_frames(1000)
        assert Image.open(io.BytesIO(many)).n_frames == 1001
    else:
        frames = [Image.new("L", (2, 2), i % 256) for i in range(1001)]
        form = "TIFF" if kind == "TIFF" else "PNG"
        many = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        few = encoded(frames[0], form, save_all=True, append_images=frames[1:1000])
    with pytest.raises(SampleError) as caught:
        decode(many)
    assert str(caught.value) == "image bytes: more than 1000 frames, the most that a picture may have"
    assert min(decode(few).size) >= 2


def test_counting_a_million_frames_stops_early() -> None:
    data = gif_frames(2_000_000)
    started = time.perf_counter()
    with pytest.raises(SampleError, match="more than 1000 frames"):
        decode(data)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(("side", "megapixels"), [(20_000, "400.0"), (13_000, "169.0"), (9_000, "81.0")])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_by_their_header(side: int, megapixels: str) -> None:
    with pytest.raises(SampleError) as caught:
        decode(png_header(side, side))
    assert (
        str(caught.value)
        == f"image bytes: {megapixels} megapixels; at most 50 are decoded: make it smaller, or raise max_megapixels"
    )


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_our_error_where_warnings_are_errors() -> None:
    with pytest.raises(SampleError, match="image bytes: 169.0 megapixels; at most 50 are decoded: make it smaller, or"):
        decode(png_header(13_000, 13_000))


def test_a_pil_bomb_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_header(8000, 8000))
    with Image.open(file) as lazy, pytest.raises(SampleError) as caught:
        decode(lazy)
    assert (
        str(caught.value)
        == "PIL image: 64.0 megapixels; at most 50 are decoded: make it smaller, or raise max_megapixels"
    )
    with pytest.raises(SampleError, match="image array of shape .8000, 8000.: 64.0 megapixels"):
        decode(np.broadcast_to(np.uint8(0), (8000, 8000)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "image bytes: empty (0 bytes)"),
        (b"hello world, no image", f"image bytes: not an image, or its header is cut; read are {LISTED}"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", f"image bytes: not an image, or its header is cut; read are {LISTED}"),
        (np.zeros((1, 5), np.uint8), "image array of shape (1, 5): 5 × 1 pixels; at least 2 × 2 are needed"),
        (np.zeros((4, 4, 2), np.uint8), "image array of shape (4, 4, 2): wanted H×W, or H×W×C with 1, 3 or 4 channels"),
        (torch.zeros(2, 4, 4), "image tensor of shape (2, 4, 4): wanted H×W, or C×H×W with 1, 3 or 4 channels"),
        (np.zeros((4, 4), np.int64), "image array of shape (4, 4): type int64; allowed: bool, uint8, uint16, and floats in 0…1"),
        (np.full((4, 4), 16.0), "image array of shape (4, 4): floats from 16 to 16; wanted 0…1: divide by the largest value allowed"),
        (np.full((4, 4), np.nan), "image array of shape (4, 4): has values that are not finite (NaN or infinite)"),
        (Image.fromarray(np.full((2, 2), 70_000, np.int32)), "PIL image: 32-bit values 70000 to 70000; brightness is read on the scale 0 to 65535"),
        (Image.new("RGB", (1, 1)), "PIL image: 1 × 1 pixels; at least 2 × 2 are needed"),
        (7, "an image must be a path, bytes, a PIL image, a NumPy array, a tensor, or {'bytes': …, 'path': …}; got int"),
        ({"bytes": None, "path": None}, "an image given as a mapping needs 'bytes' or a 'path'; got 'bytes' (NoneType), 'path' (NoneType)"),
        ({"bytes": {"bytes": b""}}, "an image given as a mapping needs 'bytes' or a 'path'; got 'bytes' (dict)"),
        ("not/there.png", "image file 'not/there.png': does not exist"),
        ("nul\0.png", None),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_used_is_named(raw: Any, message: str | None) -> None:
    with pytest.raises(SampleError) as caught:
        decode(raw)
    if message is not None:
        assert str(caught.value) == message


def test_folders_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError) as caught:
        decode(tmp_path)
    assert str(caught.value) == f"image file {str(tmp_path)!r}: not a file"
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)
    with pytest.raises(SampleError) as caught:
        decode(huge)
    assert str(caught.value) == f"image file {str(huge)!r}: 65.0 MiB; at most 64 MiB are read"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_truncated_files_are_refused(photo: Image.Image, kind: str, tmp_path: Path) -> None:
    data = encoded(photo, kind)
    file = tmp_path / "cut"
    for share in (0.01, 0.5, 0.9):
        file.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SampleError, match="^image file '.*cut': (truncated|corrupt|not an image)"):
            decode(file)


def test_a_cut_jpeg_is_called_truncated(photo_path: Path) -> None:
    data = photo_path.read_bytes()
    with pytest.raises(SampleError) as caught:
        decode(data[: len(data) // 2])
    assert str(caught.value).startswith("image bytes: truncated (OSError: image file is truncated (")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_raises_nothing_but_sample_errors(photo: Image.Image) -> None:
    generator = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
        clean = np.frombuffer(encoded(photo.resize((32, 32)), kind), np.uint8)
        for _ in range(60):
            damaged = clean.copy()
            damaged[generator.integers(0, len(clean), 8)] = generator.integers(0, 256, 8)
            with contextlib.suppress(SampleError):
                assert decode(damaged.tobytes()).mode == "RGB"
