"""Picture → square tensor, compared with the processors that timm and transformers use."""

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from mmkit_image.decode import decode
from mmkit_image.processor import ImageProcessor
from PIL import Image
from timm.data import create_transform
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels(processor: ImageProcessor, raw: Any) -> torch.Tensor:
    return processor(raw)["pixels"]


@pytest.mark.parametrize("crop_pct", [1.0, 0.875])
def test_crop_gives_what_timm_gives(photo: Image.Image, crop_pct: float) -> None:
    processor = ImageProcessor(60, MEAN, STD, "crop", crop_pct)
    reference = create_transform(
        (3, 60, 60), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=crop_pct, crop_mode="center"
    )
    for size in [(480, 480), (500, 250), (250, 500), (480, 320)]:
        part = photo.crop((0, 0, *size))
        assert (pixels(processor, part) - reference(part)).abs().mean() < 0.01


def test_crop_gives_what_transformers_gives(photos: list[Image.Image]) -> None:
    processor = ImageProcessor(32, MEAN, STD, "crop", 32 / 40)
    reference = CLIPImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, image_mean=list(MEAN), image_std=list(STD)
    )
    for photo in photos:
        wanted = torch.as_tensor(np.asarray(reference(photo)["pixel_values"][0]))
        assert (pixels(processor, photo) - wanted).abs().mean() < 0.01


def test_squash_resizes_both_sides(photo: Image.Image) -> None:
    got = pixels(ImageProcessor(20, MEAN, STD), photo)
    wanted = torch.from_numpy(np.array(photo.resize((20, 20), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    levels = (got * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None] - wanted) * 255
    assert levels.abs().max() < 1.001
    assert (levels.abs() > 0.001).float().mean() < 0.01


def test_pad_keeps_the_ratio_and_adds_the_mean() -> None:
    got = pixels(ImageProcessor(16, MEAN, STD, "pad"), Image.new("RGB", (40, 20), "white"))
    assert (got[:, :4] == 0).all()
    assert (got[:, 12:] == 0).all()
    torch.testing.assert_close(
        got[:, 4:12], ((1 - torch.tensor(MEAN)) / torch.tensor(STD))[:, None, None].expand(3, 8, 16)
    )


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(2, 60_000), (60_000, 2), (2, 2), (3, 5)])
def test_extreme_sides_need_no_memory(resize: Literal["squash", "crop", "pad"], size: tuple[int, int]) -> None:
    got = pixels(ImageProcessor(24, (0.0,) * 3, (1.0,) * 3, resize), Image.new("RGB", size, "white"))
    assert got.shape == (3, 24, 24)
    assert got.max() == 1


def test_one_channel_is_brightness(photo: Image.Image) -> None:
    got = pixels(ImageProcessor(20, (0.5,), (0.5,)), photo)
    wanted = np.array(photo.convert("L").resize((20, 20), Image.Resampling.BICUBIC))
    torch.testing.assert_close(got[0], torch.from_numpy(wanted) / 127.5 - 1)


def test_processor_pickles_saves_and_collates(photos: list[Image.Image], tmp_path: Path) -> None:
    processor = ImageProcessor(16, MEAN, STD, "crop", 0.9, "bilinear", rows=5)
    assert pickle.loads(pickle.dumps(processor)) == processor
    processor.save(tmp_path)
    assert ImageProcessor.load(tmp_path) == processor
    items = [processor(photo) for photo in photos]
    assert [processor.num_features(item) for item in items] == [5, 5, 5]
    batch = processor.collate(items)["pixels"]
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (3, 3, 16, 16)
    assert torch.equal(batch[1], items[1]["pixels"])


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_fast_decoding_shrinks_no_further_than_the_result_and_looks_the_same(
    photo: Image.Image, resize: Literal["squash", "crop", "pad"], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95, exif=exif)
    exact = ImageProcessor(56, MEAN, STD, resize)
    fast = replace(exact, fast_decode=True)
    assert decode(file.getvalue(), fit=fast._sides).size in [(64, 75), (75, 64)]
    difference = (pixels(fast, file.getvalue()) - pixels(exact, file.getvalue())) * torch.tensor(STD)[:, None, None]
    assert 0 < difference.abs().mean() < 3 / 255
    assert torch.equal(pixels(fast, photo), pixels(exact, photo))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_fast_decoding_of_other_modes(photo: Image.Image, mode: str) -> None:
    file = io.BytesIO()
    photo.convert(mode).save(file, "JPEG", quality=95)
    assert pixels(ImageProcessor(32, MEAN, STD, fast_decode=True), file.getvalue()).shape == (3, 32, 32)
