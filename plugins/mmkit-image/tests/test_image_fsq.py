"""Finite scalar quantisation, and the encoder that ends in it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.config import FsqImageConfig
from mmkit_image.fsq import Fsq
from mmkit_image.fsq_image import FsqImage, build
from PIL import Image
from pydantic import ValidationError

from mmkit import BuildContext

LEVELS = ([8, 5, 5, 5], [8, 6, 5], [3], [7, 4])


def made(**options: Any) -> FsqImage:
    torch.manual_seed(0)
    fields = {"image_size": 16, "channels": [8, 8], "levels": [8, 6, 5], **options}
    return build(BuildContext(), **FsqImageConfig(**fields).model_dump())


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_has_a_number_and_values_of_its_own(levels: list[int]) -> None:
    fsq = Fsq(levels)
    numbers = torch.arange(fsq.codes)
    values = fsq.values(numbers)
    assert fsq.codes == math.prod(levels) == len(values.unique(dim=0))
    assert values.abs().max() <= 1
    assert torch.equal(fsq.numbers(values), numbers)


@pytest.mark.parametrize("levels", LEVELS)
def test_quantising_is_the_papers_arithmetic(levels: list[int]) -> None:
    z = torch.randn(500, len(levels), dtype=torch.float64) * 2
    counts = np.array(levels)
    half = (counts - 1) * (1 - 1e-3) / 2
    offset = np.where(counts % 2 == 1, 0.0, 0.5)
    wanted = np.round(np.tanh(z.numpy() + np.arctanh(offset / half)) * half - offset) / (counts // 2)
    np.testing.assert_allclose(Fsq(levels)(z).numpy(), wanted)


@pytest.mark.parametrize("levels", LEVELS)
def test_quantising_reaches_every_code(levels: list[int]) -> None:
    fsq = Fsq(levels)
    z = torch.randn(200_000, len(levels)) * 1.5
    assert len(fsq.numbers(fsq(z)).unique()) == fsq.codes


def test_gradient_passes_the_rounding_and_not_the_bound() -> None:
    fsq, z = Fsq([5]), torch.tensor([[0.3], [-1.2]], requires_grad=True)
    fsq(z).sum().backward()
    half = 4 * (1 - 1e-3) / 2
    wanted = (1 - torch.tanh(z.detach()) ** 2) * half / 2
    assert z.grad is not None
    torch.testing.assert_close(z.grad, wanted)


def test_features_are_codes_of_a_grid_from_the_top_left(photos: list[Image.Image]) -> None:
    encoder = made(image_size=32).eval()
    processor = encoder.processor()
    items = [processor(photo) for photo in photos]
    features = encoder(processor.collate(items))
    assert features.sizes == [processor.num_features(item) for item in items] == [64] * 3
    assert features.values.shape[1] == encoder.feature_dim == 3
    numbers = encoder.fsq.numbers(features.values.detach())
    torch.testing.assert_close(encoder.fsq.values(numbers), features.values.detach())
    pixels = torch.rand(1, 3, 32, 32, requires_grad=True)
    encoder({"pixels": pixels}).values[7].sum().backward()  # of eight columns the last, in the first row
    assert pixels.grad is not None
    row, column = divmod(int(torch.nn.functional.avg_pool2d(pixels.grad.abs().sum(1), 4).argmax()), 8)
    assert row <= 1
    assert column >= 6


def test_picture_has_the_same_codes_alone_and_in_a_training_batch(photos: list[Image.Image]) -> None:
    encoder = made().train()
    processor = encoder.processor()
    together = encoder(processor.collate([processor(photo) for photo in photos])).split()
    for photo, rows in zip(photos, together, strict=True):
        assert torch.equal(encoder.eval()(processor.collate([processor(photo)])).values, rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30, "channels": [8, 8]}, "image_size 30 cannot be halved 2 times: a multiple of 4"),
        ({"levels": [64, 64, 65]}, "Input should be less than or equal to 64"),
        ({"levels": [64, 64, 64, 3]}, "levels make 786,432 codes; at most 262,144 are allowed"),
        ({"levels": [2, 5]}, "Input should be greater than or equal to 3"),
    ],
)
def test_settings_that_make_no_codes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FsqImageConfig(**options)
