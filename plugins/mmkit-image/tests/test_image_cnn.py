"""The small convolutional network."""

import pickle
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from mmkit_image.cnn import Cnn, build, flip, shift
from mmkit_image.config import CnnConfig
from PIL import Image

from mmkit import BuildContext


def made(context: BuildContext | None = None, **options: Any) -> Cnn:
    torch.manual_seed(0)
    fields = {"image_size": 30, "channels": [8, 12, 20], **options}
    return build(context or BuildContext(), **CnnConfig(**fields).model_dump())


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("features", ["tokens", "pooled"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_same_alone_and_in_a_batch(
    photos: list[Image.Image], norm: str, residual: bool, features: str, channels: int
) -> None:
    encoder = made(norm=norm, residual=residual, features=features, in_channels=channels)
    processor = encoder.processor()
    items = [processor(photo) for photo in photos]
    encoder(processor.collate(items))  # moves the running statistics off their start
    encoder.eval()
    together = encoder(processor.collate(items))
    assert together.sizes == [processor.num_features(item) for item in items] == [16 if features == "tokens" else 1] * 3
    assert together.values.shape[1] == encoder.feature_dim == 20
    for item, packed in zip(items, together.split(), strict=True):
        torch.testing.assert_close(encoder(processor.collate([item])).values, packed, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together.split()[0], together.split()[1], atol=1e-4)


def test_tokens_are_rows_of_the_map_from_the_top_left() -> None:
    encoder = made(image_size=32, positions=False).eval()
    pixels = torch.zeros(1, 3, 32, 32)
    rows = encoder({"pixels": pixels}).values
    pixels[:, :, :2, 30:] = 3.0  # the top right corner
    changed = (encoder({"pixels": pixels}).values - rows).abs().sum(1)
    assert changed.argmax() == 3
    assert changed[12] == 0  # the bottom left corner sees none of it


def test_pooled_is_the_mean_of_the_tokens(photos: list[Image.Image]) -> None:
    tokens, pooled = made(positions=False).eval(), made(features="pooled").eval()
    batch = tokens.processor().collate([tokens.processor()(photos[0])])
    torch.testing.assert_close(pooled(batch).values[0], tokens(batch).values.mean(0))


@pytest.mark.parametrize("features", ["tokens", "pooled"])
def test_every_weight_gets_a_gradient(photos: list[Image.Image], features: str) -> None:
    encoder = made(features=features)
    processor = encoder.processor()
    values = encoder(processor.collate([processor(photo) for photo in photos])).values
    (values * torch.randn_like(values)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_shift_moves_each_picture_and_repeats_its_edge() -> None:
    torch.manual_seed(0)
    pixels = torch.arange(400, dtype=torch.float32).reshape(1, 1, 20, 20).expand(64, 2, 20, 20)
    moved = shift(pixels, 2, torch.rand(64, 2))
    seen = set()
    for picture in moved:
        offset = picture[0, 10, 10] - pixels[0, 0, 10, 10]
        down, right = divmod(int(offset) + 10, 20)
        right -= 10
        assert max(abs(down), abs(right)) <= 2
        rows = (torch.arange(20) + down).clamp(0, 19)
        columns = (torch.arange(20) + right).clamp(0, 19)
        assert torch.equal(picture, pixels[0][:, rows][:, :, columns])
        seen.add((down, right))
    assert len(seen) > 10


def test_flip_mirrors_half_by_chance() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(200, 1, 4, 4)
    chances = torch.rand(200)
    for before, after, chance in zip(pixels, flip(pixels, chances), chances, strict=True):
        assert torch.equal(after, before.flip(2) if chance < 0.5 else before)


def test_augmentation_happens_only_in_training(photos: list[Image.Image]) -> None:
    encoder = made(augment=["flip", "shift"], norm="group")
    processor = encoder.processor()
    one, other = (processor.collate([processor(photos[0])]) for _ in range(2))
    assert torch.equal(one["pixels"], other["pixels"])
    assert not torch.equal(encoder(one).values, encoder(other).values)
    encoder.eval()
    assert torch.equal(encoder(one).values, encoder(other).values)
    assert torch.equal(encoder(one).values, made(norm="group").eval()(one).values)


def test_augmentation_comes_with_the_picture_and_not_from_its_batch(photos: list[Image.Image]) -> None:
    encoder = made(augment=["flip", "shift"], norm="group")
    processor = encoder.processor()
    items = [processor(photo) for photo in photos]
    together = encoder(processor.collate(items)).split()
    torch.rand(7)
    for item, rows in zip(items, together, strict=True):
        torch.testing.assert_close(encoder(processor.collate([item])).values, rows, atol=1e-5, rtol=1e-5)


def test_dropout_happens_only_in_training(photos: list[Image.Image]) -> None:
    encoder = made(dropout=0.5)
    batch = encoder.processor().collate([encoder.processor()(photo) for photo in photos])
    assert (encoder(batch).values == 0).float().mean() > 0.3
    assert torch.equal(encoder.eval()(batch).values, encoder(batch).values)


def test_empty_then_assigned_equals_the_original(photos: list[Image.Image]) -> None:
    encoder = made().eval()
    with init_empty_weights(include_buffers=False):
        empty = made(BuildContext(load_weights=False))
    assert empty.processor() == encoder.processor()
    empty.load_state_dict(encoder.state_dict(), assign=True)
    batch = encoder.processor().collate([encoder.processor()(photo) for photo in photos])
    assert torch.equal(empty.eval()(batch).values, encoder(batch).values)


def test_its_processor_pickles() -> None:
    processor = made(in_channels=1).processor()
    assert pickle.loads(pickle.dumps(processor)) == processor
    assert processor.mean == (0.5,)
