"""image-patches: the order of the pixels, and the way back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.config import ImagePatchesConfig
from mmkit_image.patches import ImagePatches, build
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional

import mmkit
from mmkit import BuildContext


def adapter(**options: Any) -> ImagePatches:
    settings = ImagePatchesConfig(**options)
    return build(BuildContext(), **{name: getattr(settings, name) for name in ImagePatchesConfig.model_fields})


def test_patches_are_those_of_unfold(photo: Image.Image) -> None:
    made = adapter(image_size=24, patch=6)
    got = made.encode(photo)
    assert (made.length, made.dim) == (16, 108) == tuple(got.shape)
    assert -1 <= float(got.min()) < 0 < float(got.max()) <= 1
    pixels = made.processor(photo)["pixels"]
    wanted = functional.unfold(pixels[None], 6, stride=6)[0].T.unflatten(1, (3, 36)).transpose(1, 2).flatten(1)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("patch", [1, 4, 20])
def test_every_pixel_comes_back(channels: int, mode: str, patch: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    made = adapter(image_size=20, patch=patch, channels=channels)
    back = made.decode(made.encode(picture))
    assert back.mode == mode
    assert np.array_equal(back, picture)


def test_numbers_beyond_the_scale_are_black_and_white() -> None:
    made = adapter(image_size=4, patch=2, channels=1)
    assert np.asarray(made.decode(torch.full((4, 4), -9.0))).tolist() == [[0] * 4] * 4
    assert np.asarray(made.decode(torch.full((4, 4), 9.0))).tolist() == [[255] * 4] * 4


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mmkit.SampleError, match=r"does not exist$"):
        adapter().encode(str(tmp_path / "none.png"))
    with pytest.raises(ValidationError, match="image_size = 28 is not divisible by patch = 5"):
        ImagePatchesConfig(image_size=28, patch=5)


def test_it_is_costed_by_check() -> None:
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"adapter": {"use": "image-patches", "image_size": 28}}, "text": {"adapter": "words"}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"draw": {"input": "{text}", "output": "{image}", "head": {"use": "flow", "dim": 16}}},
    }
    row = next(row for row in mmkit.check(spec) if row.node == "image.adapter")
    assert (row.component, row.tokens, row.item) == ("image/image-patches", 49, "picture of 28 × 28 pixels")
