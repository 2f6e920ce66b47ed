"""The head that rebuilds pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.config import RebuildImageConfig
from mmkit_image.picture_scores import PictureScores
from mmkit_image.processor import ImageProcessor
from mmkit_image.rebuild_image import RebuildImage, build
from PIL import Image

import mmkit
from mmkit import BuildContext, PluginError, Ragged

HALF = (0.5, 0.5, 0.5)


def made(rows: int = 16, **options: Any) -> RebuildImage:
    torch.manual_seed(0)
    processor = ImageProcessor(16, HALF, HALF).with_rows(rows)
    context = BuildContext(dims=(3,), processors=(processor,))
    return build(context, **RebuildImageConfig(**{"channels": [8, 8], **options}).model_dump())


def spec(encoder: dict[str, Any] | None = None, **head: Any) -> dict[str, Any]:
    fsq = {"use": "fsq-image", "image_size": 16, "channels": [8, 16], "levels": [8, 6, 5]}
    task = {"input": "{image}", "output": "{image}", "head": {"use": "rebuild-image", "channels": [16, 8], **head}}
    return {"mmkit": 1, "modalities": {"image": {"encoder": encoder or fsq}}, "tasks": {"rebuild": task}}


@pytest.mark.parametrize(("loss", "power"), [("mse", 2), ("mae", 1)])
def test_loss_is_the_mean_error_of_a_picture_summed_over_pictures(loss: str, power: int) -> None:
    head = made(loss=loss)
    features = Ragged(torch.rand(32, 3), torch.tensor([16, 16]))
    targets = torch.stack([head.target(np.full((20, 20, 3), level, np.uint8)) for level in (0, 200)])
    got = head.loss([features], Ragged(targets.flatten(), torch.tensor([768, 768])))
    wanted = (head.pixels(features).flatten(1) - targets).abs().pow(power).mean(1).sum()
    assert got.count == 2
    torch.testing.assert_close(got.total, wanted)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_target_drawn_is_the_picture(photo: Image.Image, channels: int, mode: str) -> None:
    processor = ImageProcessor(16, (0.5,) * channels, (0.5,) * channels).with_rows(16)
    context = BuildContext(dims=(3,), processors=(processor,))
    head = build(context, **RebuildImageConfig(channels=[8, 8]).model_dump())
    (drawn,) = head.prepared.pictures(head.target(photo).reshape(1, channels, 16, 16))
    assert (drawn.mode, drawn.size) == (mode, (16, 16))
    assert torch.equal(head.target(drawn), head.target(photo))


def test_whole_tokenizer_learns_a_picture_and_says_how_near_it_comes(photo_path: Path, tmp_path: Path) -> None:
    model = mmkit.build(spec())
    row = {"image": str(photo_path)}
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    from mmkit.model.batch import pack

    batch = pack([model.preparer()("rebuild", row)], model.processors())
    losses = []
    for _ in range(60):
        loss = model(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    drawn = model.predict("rebuild", row)
    scores = PictureScores(model.processors()["image"])
    scores.update([drawn], [photo_path])
    assert scores.compute()["psnr"] > 15
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict("rebuild", row) == drawn


def test_output_file_is_looked_for_in_the_data_folder_only(photo_path: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(photo_path.read_bytes())
    model = mmkit.build(spec())
    prepare = model.preparer(tmp_path)
    sample = prepare("rebuild", {"image": "picture.jpg"})
    assert sample.reference == tmp_path / "picture.jpg"
    with pytest.raises(mmkit.SampleError, match=r"^column 'image': '\.\./other\.jpg' leaves the data folder "):
        prepare("rebuild", {"image": "../other.jpg"})


def test_scores_are_means_of_torchmetrics_over_pictures(photos: list[Image.Image]) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    processor = ImageProcessor(24, HALF, HALF)
    changed = [photo.resize((24, 24)).rotate(90) for photo in photos]
    scores = PictureScores(processor)
    scores.update(changed[:1], photos[:1])
    scores.update(changed[1:], photos[1:])
    psnr, ssim = [], []
    for got, photo in zip(changed, photos, strict=True):
        pair = [
            torch.from_numpy(np.array(one)).permute(2, 0, 1)[None].double() / 255
            for one in (got, Image.fromarray(_square(processor, photo)))
        ]
        psnr.append(float(peak_signal_noise_ratio(*pair, data_range=1.0)))
        value = structural_similarity_index_measure(*pair, data_range=1.0)
        assert isinstance(value, torch.Tensor)
        ssim.append(float(value))
    assert scores.compute() == pytest.approx({"psnr": np.mean(psnr), "ssim": np.mean(ssim)}, rel=1e-5)


def _square(processor: ImageProcessor, photo: Image.Image) -> Any:
    plain = processor.plain(processor(photo)["pixels"][None])[0]
    return (plain * 255).round().byte().permute(1, 2, 0).numpy()


def test_scores_of_equal_pictures_are_finite_and_of_no_pictures_none(photo: Image.Image) -> None:
    scores = PictureScores(ImageProcessor(24, HALF, HALF))
    assert scores.compute() == {}
    scores.update([], [])
    same = Image.fromarray(_square(scores.processor, photo))
    scores.update([same], [photo])
    assert scores.compute() == pytest.approx({"psnr": 100.0, "ssim": 1.0})


def test_scores_refuse_a_picture_of_another_size(photo: Image.Image) -> None:
    message = "^a picture of 512 × 600 pixels cannot be compared with one of 24 × 24$"
    with pytest.raises(PluginError, match=message):
        PictureScores(ImageProcessor(24, HALF, HALF)).update([photo], [photo])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (64, {}, "gives 64 rows for a picture of 16 × 16; give 1 of them"),
        (1, {}, "gives 1 rows for a picture of 16 × 16; give 4 of them"),
        (17, {}, "gives 17 rows for a picture of 16 × 16; it needs a square grid of 1/2, 1/4 … of the side"),
    ],
)
def test_grid_that_the_channels_do_not_double_to_the_side_is_refused(
    rows: int, options: dict[str, Any], message: str
) -> None:
    start = "^head 'rebuild-image': channels has 2 entries, each doubles the side, and the encoder "
    with pytest.raises(PluginError, match=f"{start}{message}$"):
        made(rows, **options)


def test_size_that_the_encoder_does_not_have_is_refused() -> None:
    message = "^head 'rebuild-image': image_size is 32, and 16 in the encoder that it reads; leave it out$"
    with pytest.raises(PluginError, match=message):
        made(image_size=32)


def test_head_that_reads_no_encoder_asks_for_the_size() -> None:
    message = (
        "^head 'rebuild-image' reads no encoder of pictures, and so does not know their size: let it read one, for "
        r"example reads: image\.encoder, or give image_size and in_channels$"
    )
    with pytest.raises(PluginError, match=message):
        build(BuildContext(dims=(3,)), **RebuildImageConfig().model_dump())


def test_several_pictures_in_one_sample_are_refused() -> None:
    message = (
        "^head 'rebuild-image' makes a picture of 16 rows, a sample has 32; it has to read the encoder of one picture, "
        "without a class token or pooling$"
    )
    with pytest.raises(PluginError, match=message):
        made().predict([Ragged(torch.rand(32, 3), torch.tensor([32]))])
