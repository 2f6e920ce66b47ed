"""transformers vision towers as encoders, compared with transformers."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from mmkit_image.config import HfVisionConfig
from mmkit_image.hf_vision import HfVision, build
from PIL import Image
from pydantic import ValidationError
from transformers import AutoModel, CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmkit import BuildContext, PluginError

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
TOWERS = {
    "clip_vision_model": {**SIZES, "intermediate_size": 48},
    "siglip_vision_model": {**SIZES, "intermediate_size": 48},
    "dinov2": {**SIZES, "mlp_ratio": 2},
    "dinov2_with_registers": {**SIZES, "mlp_ratio": 2, "num_register_tokens": 4},
    "vit": {**SIZES, "intermediate_size": 48},
}


def made(context: BuildContext | None = None, **options: Any) -> HfVision:
    torch.manual_seed(0)
    return build(context or BuildContext(), **HfVisionConfig(**options).model_dump())


def batch_of(encoder: HfVision, photos: list[Image.Image]) -> Any:
    processor = encoder.processor()
    return processor.collate([processor(photo) for photo in photos])


@pytest.fixture(params=sorted(TOWERS))
def tower(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny random tower in the hub's form."""
    torch.manual_seed(1)
    model = AutoModel.from_config(CONFIG_MAPPING[request.param](**TOWERS[request.param]))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(tmp_path / "tower")
    return tmp_path / "tower"


def test_features_are_those_of_transformers(tower: Path, photos: list[Image.Image]) -> None:
    reference = AutoModel.from_pretrained(tower).eval()
    encoder = made(path=tower).eval()
    batch = batch_of(encoder, photos)
    with torch.no_grad():
        wanted = reference(batch["pixels"], output_hidden_states=True)
        got = encoder(batch)
        assert got.sizes == [16] * 3 == [encoder.processor().num_features({})] * 3
        assert encoder.feature_dim == 32
        torch.testing.assert_close(got.values, wanted.last_hidden_state[:, -16:].flatten(0, 1))
        second = made(path=tower, layer=-2).eval()(batch)
        torch.testing.assert_close(second.values, wanted.hidden_states[-2][:, -16:].flatten(0, 1))
        pooled = made(path=tower, features="pooled").eval()(batch)
        torch.testing.assert_close(pooled.values, wanted.pooler_output)
        assert pooled.sizes == [1] * 3
        if wanted.last_hidden_state.shape[1] > 16:
            classed = made(path=tower, class_token=True).eval()(batch)
            assert classed.sizes == [17] * 3
            torch.testing.assert_close(classed.split()[1][0], wanted.last_hidden_state[1, 0])
            torch.testing.assert_close(classed.split()[1][1:], wanted.last_hidden_state[1, -16:])


def test_a_picture_is_the_same_alone_and_in_a_batch(tower: Path, photos: list[Image.Image]) -> None:
    encoder = made(path=tower).eval()
    together = encoder(batch_of(encoder, photos)).split()
    for photo, packed in zip(photos, together, strict=True):
        torch.testing.assert_close(encoder(batch_of(encoder, [photo])).values, packed, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_other_sizes_interpolate_the_positions(tower: Path, photos: list[Image.Image]) -> None:
    encoder = made(path=tower, image_size=48).eval()
    assert encoder(batch_of(encoder, photos)).sizes == [36] * 3


def test_empty_then_assigned_equals_the_original_without_its_folder(
    tower: Path, photos: list[Image.Image], tmp_path: Path
) -> None:
    encoder = made(path=tower, layer=-2).eval()
    folder = tmp_path / "assets"
    folder.mkdir()
    encoder.save_assets(folder)
    shutil.rmtree(tower)
    with init_empty_weights(include_buffers=False):
        again = made(BuildContext(assets=folder, load_weights=False), path=tower, layer=-2)
    assert all(p.is_meta for p in again.parameters())
    assert not any(b.is_meta for b in again.buffers())
    again.load_state_dict(encoder.state_dict(), assign=True)
    assert pickle.loads(pickle.dumps(again.processor())) == encoder.processor()
    batch = batch_of(encoder, photos)
    assert torch.equal(again.eval()(batch).values, encoder(batch).values)


@pytest.mark.parametrize("kind", sorted(TOWERS))
def test_an_architecture_from_a_mapping_learns(kind: str, photos: list[Image.Image]) -> None:
    encoder = made(config={"model_type": kind, **TOWERS[kind]}).train()
    values = encoder(batch_of(encoder, photos)).values
    (values * torch.randn_like(values)).sum().backward()
    with_gradient = [n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert any("patch_embed" in name for name in with_gradient)
    assert len(with_gradient) > 30


@pytest.mark.parametrize(("config", "model"), [(CLIPConfig, CLIPModel), (SiglipConfig, SiglipModel)])
def test_the_vision_part_of_a_two_tower_model_is_taken(
    config: Any, model: Any, photos: list[Image.Image], tmp_path: Path
) -> None:
    vision = {**SIZES, "intermediate_size": 48}
    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "vocab_size": 99,
    }
    whole = model(config(text_config=text, vision_config=vision)).eval()
    whole.save_pretrained(tmp_path)
    encoder = made(path=tmp_path, features="pooled").eval()
    assert sum(p.numel() for p in encoder.parameters()) < sum(p.numel() for p in whole.parameters())
    batch = batch_of(encoder, photos)
    wanted = whole.vision_model(batch["pixels"]).pooler_output
    torch.testing.assert_close(encoder(batch).values, wanted)


def test_pictures_are_prepared_as_the_folder_says(photos: list[Image.Image], tmp_path: Path) -> None:
    AutoModel.from_config(CONFIG_MAPPING["clip_vision_model"](**TOWERS["clip_vision_model"])).save_pretrained(tmp_path)
    reference = CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    reference.save_pretrained(tmp_path)
    assert (tmp_path / "preprocessor_config.json").is_file()
    processor = made(path=tmp_path).processor()
    assert (processor.image_size, processor.resize, processor.crop_pct) == (32, "crop", 0.8)
    for photo in photos:
        wanted = torch.as_tensor(np.asarray(reference(photo)["pixel_values"][0]))
        assert (processor(photo)["pixels"] - wanted).abs().mean() < 0.01
    other = made(path=tmp_path, resize="pad", mean=[0, 0, 0], image_size=16, interpolation="bilinear").processor()
    assert (other.image_size, other.resize, other.mean, other.interpolation) == (16, "pad", (0.0,) * 3, "bilinear")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"size": 48, "resample": 2}, {"image_size": 48, "resize": "squash", "interpolation": "bilinear"}),
        ({"size": {"height": 48, "width": 48}, "do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"size": {"shortest_edge": 48}}, {"image_size": 48, "resize": "crop", "crop_pct": 1.0}),
        (
            {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
            {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        ),
    ],
)
def test_forms_of_preprocessor_settings(said: dict[str, Any], wanted: dict[str, Any], tmp_path: Path) -> None:
    AutoModel.from_config(CONFIG_MAPPING["vit"](**TOWERS["vit"])).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    processor = made(path=tmp_path).processor()
    for name, value in wanted.items():
        assert getattr(processor, name) == (value if isinstance(value, str) else pytest.approx(value))


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    kind = CONFIG_MAPPING["vit"]
    AutoModel.from_config(kind(**TOWERS["vit"])).save_pretrained(tmp_path)
    kind(**{**TOWERS["vit"], "num_hidden_layers": 4}).save_pretrained(tmp_path)
    with pytest.raises(
        PluginError, match="do not fit 'vit': 16 of 72 keys missing .first: 'layers.3.*'., 0 unexpected"
    ):
        made(path=tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vitt"}, "config.model_type 'vitt' is unknown to transformers; did you mean 'vit'?"),
        ({"model_type": "vit", "hiden_size": 9}, "config.hiden_size: the architecture 'vit' has no such setting; did you mean 'hidden_size'?"),
    ],
)  # fmt: skip
def test_misspelt_architectures_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        made(config=config)
    assert str(caught.value) == message


def test_what_a_model_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        made(path=tmp_path)
    assert str(caught.value) == f"{str(tmp_path)!r} has no config.json; wanted a folder in the hub's form"
    siglip = {"model_type": "siglip_vision_model", **TOWERS["siglip_vision_model"]}
    with pytest.raises(PluginError) as caught:
        made(config=siglip, class_token=True)
    assert str(caught.value) == "class_token: true, but the model 'siglip_vision_model' has none; leave the option out"
    with pytest.raises(PluginError) as caught:
        made(config=siglip, layer=7)
    assert str(caught.value) == "layer 7: 'siglip_vision_model' has 3 layers; allowed: -4 to 3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give exactly one of path (a folder), hub (a name) and config (an architecture)"),
        ({"path": "a", "hub": "b"}, "give exactly one of path (a folder), hub (a name) and config (an architecture)"),
        ({"config": {}}, "config needs a model_type, for example clip_vision_model, siglip_vision_model, dinov2 or vit"),
        ({"hub": "b", "features": "pooled", "layer": -2}, "features: pooled is computed from the model's output: leave class_token and layer out"),
    ],
)  # fmt: skip
def test_settings_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HfVisionConfig(**options)
    assert caught.value.errors()[0]["msg"].removeprefix("Value error, ") == message
