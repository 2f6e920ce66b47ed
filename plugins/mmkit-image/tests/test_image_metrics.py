"""Metrics of generated pictures, against torchmetrics and closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.config import CnnConfig
from mmkit_image.frechet_distance import FrechetDistance, build, frechet
from mmkit_image.image_quality import ImageQuality
from mmkit_image.metric_config import FrechetConfig
from PIL import Image
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.image.fid import _compute_fid

import mmkit


def noisy(image: Image.Image, level: float, seed: int = 0) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float64)
    pixels += np.random.default_rng(seed).normal(0, level, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255


def test_psnr_and_ssim_are_those_of_torchmetrics(photos: list[Image.Image]) -> None:
    predicted = [noisy(image, 5 * (number + 1), number) for number, image in enumerate(photos)]
    metric = ImageQuality()
    metric.update(predicted, photos)
    figures = metric.compute()
    psnr, ssim = PeakSignalNoiseRatio(data_range=1.0), StructuralSimilarityIndexMeasure(data_range=1.0)
    pairs = [(tensor(a), tensor(b)) for a, b in zip(predicted, photos, strict=True)]
    assert figures["psnr"] == pytest.approx(np.mean([float(psnr(a, b)) for a, b in pairs]), abs=1e-4)
    assert figures["ssim"] == pytest.approx(np.mean([float(ssim(a, b)) for a, b in pairs]), abs=1e-4)


def test_equal_pictures_count_100_decibels_whatever_their_form(photo_path: Path, photo: Image.Image) -> None:
    metric = ImageQuality()
    metric.update([photo, photo], [photo_path, np.asarray(photo)])
    assert metric.compute() == {"psnr": 100.0, "ssim": pytest.approx(1.0)}
    assert ImageQuality().compute() == {}


def test_references_are_brought_to_the_size_of_predictions(photo: Image.Image) -> None:
    small = photo.resize((64, 64), Image.Resampling.BICUBIC)
    metric = ImageQuality()
    metric.update([small], [photo])
    assert metric.compute() == {"psnr": 100.0, "ssim": pytest.approx(1.0)}
    tiny = ImageQuality()
    tiny.update([small.resize((10, 40))], [photo])
    assert set(tiny.compute()) == {"psnr"}


def test_what_is_no_picture_is_said(photo: Image.Image) -> None:
    for pair, message in (
        (("a cat", photo), "metric 'image-quality' compares pictures, but of a prediction: image file 'a cat': does not exist"),
        ((photo, b""), "metric 'image-quality' compares pictures, but of a reference: image bytes: empty (0 bytes)"),
    ):  # fmt: skip
        with pytest.raises(mmkit.PluginError) as caught:
            ImageQuality().update([pair[0]], [pair[1]])
        assert str(caught.value) == message


def test_the_distance_of_gaussians_is_that_of_the_closed_form() -> None:
    """Of independent dimensions: Σ (m₁ − m₂)² + (s₁ − s₂)²."""
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn(500, 6, generator=draw, dtype=torch.float64)
    centred = sample - sample.mean(0)
    values, vectors = torch.linalg.eigh(centred.T.cov())
    white = centred @ vectors / values.sqrt()
    scales, means = torch.tensor([0.1, 1, 2, 3, 4, 5.0]), torch.arange(6.0)
    wanted = float((means.square() + (scales - 1).square()).sum())
    assert frechet(white, white * scales + means) == pytest.approx(wanted, rel=1e-6)
    assert frechet(sample, sample) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [400, 12])
def test_the_distance_is_that_of_torchmetrics(count: int) -> None:
    """Of fewer pictures than dimensions, too, where covariances have no inverse."""
    draw = torch.Generator().manual_seed(1)
    mix = torch.randn(16, 16, generator=draw, dtype=torch.float64)
    one = torch.randn(count, 16, generator=draw, dtype=torch.float64) @ mix
    other = torch.randn(count + 3, 16, generator=draw, dtype=torch.float64) + 0.5
    means, covariances = [x.mean(0) for x in (one, other)], [x.T.cov() for x in (one, other)]
    wanted = float(_compute_fid(means[0], covariances[0], means[1], covariances[1]))
    assert frechet(one, other) == pytest.approx(wanted, rel=1e-5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model with an encoder of pictures."""
    encoder = {"use": "cnn", "image_size": 32, "channels": [8, 16]}
    head = {"use": "classify", "labels": ["a", "b"]}
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"encoder": encoder}},
        "tasks": {"see": {"input": "{image}", "output": "{label}", "reads": "image.encoder", "head": head}},
    }
    torch.manual_seed(0)
    return mmkit.build(spec).save(tmp_path / "judge")


def made(**options: Any) -> FrechetDistance:
    config = FrechetConfig(**options)
    return build(mmkit.BuildContext(), **{name: getattr(config, name) for name in FrechetConfig.model_fields})


def test_more_noise_is_further_away(saved: Path, photo: Image.Image) -> None:
    crops = [photo.crop((x, x, x + 96, x + 96)) for x in range(0, 320, 20)]
    distances = []
    for level in (0, 20, 60):
        metric = made(model=saved, batch_size=5)
        for image in crops:  # alone or together
            metric.update([noisy(image, level)], [image])
        distances.append(metric.compute()["frechet_distance"])
        whole = made(model=saved)
        whole.update([noisy(image, level) for image in crops], crops)
        assert whole.compute()["frechet_distance"] == pytest.approx(distances[-1], rel=1e-3, abs=1e-6)
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]
    single = made(model=saved)
    single.update(crops[:1], crops[:1])
    assert single.compute() == {}


def test_the_features_are_those_of_the_saved_encoder(saved: Path, photos: list[Image.Image]) -> None:
    metric, again = made(model=saved), made(model=saved)
    assert metric.encoder is again.encoder
    encoder: Any = mmkit.load(saved).eval().nodes()["image.encoder"]
    processor = encoder.processor()
    with torch.no_grad():
        wanted = [encoder(processor.collate([processor(image)])).values.mean(0) for image in photos]
    assert torch.allclose(metric._features(photos), torch.stack(wanted), atol=1e-5)
    assert CnnConfig().channels != [8, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give exactly one of model (a saved model), path (a folder) and timm (a name with weights)"),
        ({"model": "a", "path": "b"}, "give exactly one of model (a saved model), path (a folder) and timm"),
        (
            {"timm": "resnet18"},
            "timm and weights go together: the name of the architecture, and the file of its weights",
        ),
    ],
)
def test_the_encoder_is_one(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="Value error") as caught:
        FrechetConfig(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_an_encoder_that_is_not_there_is_said(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        made(model=saved, node="imag.encoder")
    assert str(caught.value) == (
        f"metric 'frechet-distance': the model in {saved} has no encoder 'imag.encoder': did you mean 'image.encoder'?"
    )
    with pytest.raises(mmkit.CheckpointError, match="is not a saved mmkit model"):
        made(model=tmp_path / "none")
