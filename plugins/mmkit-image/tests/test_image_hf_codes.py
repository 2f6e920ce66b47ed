"""The picture tokenizers of transformers, small and with random weights, in the hub's form."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_image.config import HfImageCodesConfig
from mmkit_image.hf_codes import HfImageCodes, build
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from transformers import (
    ChameleonVQVAE,
    ChameleonVQVAEConfig,
    Emu3VQVAE,
    Emu3VQVAEConfig,
    JanusVQVAE,
    JanusVQVAEConfig,
    ViTConfig,
)

from mmkit import BuildContext, PluginError

SIZES: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1}


@pytest.fixture(scope="module")
def janus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("janus")
    JanusVQVAE(JanusVQVAEConfig(**SIZES, latent_channels=32, num_patches=8, num_embeddings=64)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def emu3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("emu3")
    more = {"attn_resolutions": [1], "hidden_size": 32, "temporal_downsample_factor": 2, "codebook_size": 64}
    Emu3VQVAE(Emu3VQVAEConfig(**SIZES, **more)).save_pretrained(folder)
    return folder


def made(context: BuildContext | None = None, **options: Any) -> HfImageCodes:
    return build(context or BuildContext(), **HfImageCodesConfig(**options).model_dump())


def pixels(photo: Image.Image) -> torch.Tensor:
    return made_processor(photo)[None]


def made_processor(photo: Image.Image) -> torch.Tensor:
    from mmkit_image.processor import ImageProcessor

    return ImageProcessor(16, (0.5,) * 3, (0.5,) * 3)(photo)["pixels"]


def as_picture(values: torch.Tensor) -> Any:
    return ((values[0] / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def test_janus_has_the_ids_and_the_pictures_of_transformers(janus: Path, photos: list[Image.Image]) -> None:
    codec, model = made(path=janus), JanusVQVAE.from_pretrained(janus).eval()
    assert (codec.grid, codec.layout.codes, codec.size, codec.longest) == ((8, 8), 64, 66, 65)
    for photo in photos:
        with torch.no_grad():
            tokens = model.encode(pixels(photo), return_dict=True).image_tokens
            drawn = model.decode(tokens[None])
        ids = codec.encode(photo)
        assert ids == tokens.tolist()
        np.testing.assert_array_equal(np.array(codec.decode(ids)), as_picture(drawn))


def test_emu3_has_the_ids_and_the_pictures_of_transformers(emu3: Path, photos: list[Image.Image]) -> None:
    codec, model = made(path=emu3, image_size=16), Emu3VQVAE.from_pretrained(emu3).eval()
    assert (codec.grid, codec.layout.codes) == ((8, 8), 64)
    for photo in photos:
        with torch.no_grad():
            (tokens,) = model.encode(pixels(photo), torch.tensor([[16, 16]]), return_dict=True).image_tokens
            drawn = model.decode(tokens[None])
        ids = codec.encode(photo)
        assert ids == tokens.flatten().tolist()
        np.testing.assert_array_equal(np.array(codec.decode(ids)), as_picture(drawn))


def test_tokenizer_is_taken_out_of_a_whole_model(janus: Path, photo: Image.Image, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    config = json.loads((janus / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "janus", "vq_config": config}))
    tensors = {f"model.vqmodel.{name}": tensor for name, tensor in load_file(janus / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"not read at all")
    places = dict.fromkeys(tensors, "model-00001-of-00002.safetensors")
    places["model.language_model.norm.weight"] = "model-00002-of-00002.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert made(path=tmp_path).encode(photo) == made(path=janus).encode(photo)


def test_preparation_is_that_of_the_folder(emu3: Path, tmp_path: Path) -> None:
    for file in emu3.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = {
        "image_mean": [0.4, 0.4, 0.4],
        "image_std": [0.2, 0.3, 0.4],
        "size": {"height": 24, "width": 24},
        "resample": 2,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    processor = made(path=tmp_path).processor
    assert (processor.image_size, processor.mean, processor.std) == (24, (0.4, 0.4, 0.4), (0.2, 0.3, 0.4))
    assert processor.interpolation == "bilinear"
    assert made(BuildContext(load_weights=False), path=emu3).grid == (256, 256)


@pytest.mark.parametrize("name", ["janus", "emu3"])
def test_saved_codec_and_one_in_a_worker_need_not_the_folder(
    name: str, photo: Image.Image, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    codec = made(path=request.getfixturevalue(name), image_size=16)
    wanted = codec.encode(photo)
    data = pickle.dumps(codec)
    assert len(data) < 10_000
    assert pickle.loads(data).encode(photo) == wanted
    codec.save_assets(tmp_path)
    again = made(BuildContext(assets=tmp_path, load_weights=False), path=tmp_path / "none", image_size=16)
    assert again.encode(photo) == wanted
    assert again.decode(wanted[:20]) == codec.decode(wanted[:20])


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(PluginError) as caught:
        made(path=path, **options)
    return str(caught.value)


def test_tokenizer_that_cannot_draw_is_refused(tmp_path: Path) -> None:
    ChameleonVQVAE(ChameleonVQVAEConfig(**SIZES, latent_channels=32, embed_dim=8, num_embeddings=16)).save_pretrained(
        tmp_path
    )
    assert refused(tmp_path) == (
        f"{str(tmp_path)!r}: transformers has no decoder for 'chameleon_vqgan' (ChameleonVQVAE only encodes), and a codec "
        "draws too; with a decoder: emu3_vqgan, janus_vqgan"
    )
    assert not hasattr(ChameleonVQVAE, "decode")


def test_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    message = f"{str(tmp_path)!r} has no config.json; wanted is a picture tokenizer in the hub's form"
    assert refused(tmp_path) == message
    ViTConfig().save_pretrained(tmp_path)
    message = f"{str(tmp_path)!r}: 'vit' is no picture tokenizer; known are emu3_vqgan, janus_vqgan"
    assert refused(tmp_path) == message


def test_weights_that_are_missing_or_of_another_model_are_refused(janus: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((janus / "config.json").read_bytes())
    assert refused(tmp_path) == f"{str(tmp_path)!r} has no model.safetensors; only safetensors files are read"
    save_file({"encoder.conv_in.bias": torch.zeros(32)}, tmp_path / "model.safetensors")
    assert refused(tmp_path).startswith(f"the weights of {str(tmp_path)!r} do not fit 'janus_vqgan': ")
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x02pickle")
    assert refused(tmp_path).startswith(f"{str(tmp_path / 'model.safetensors')!r} is not a readable safetensors file (")


def test_side_that_the_tokenizer_does_not_take_is_refused(janus: Path, emu3: Path) -> None:
    message = "image_size 32: the tokenizer 'janus_vqgan' draws 16 × 16 only; leave it out"
    assert refused(janus, image_size=32) == message
    assert refused(emu3, image_size=15) == "image_size 15: the tokenizer 'emu3_vqgan' needs a multiple of 2"


def test_one_source_is_given() -> None:
    for options in ({}, {"path": "a", "hub": "b"}):
        with pytest.raises(ValidationError, match=r"give either path \(a folder\) or hub \(a name\)"):
            HfImageCodesConfig(**options)
