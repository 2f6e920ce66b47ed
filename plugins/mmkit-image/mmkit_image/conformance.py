"""What the conformance kit tries the encoders and metrics on: pictures made here, of every kind that is decoded."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from mmkit.testing import Case
from mmkit_image.timm_encoder import create

_VIT = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def _pixels(height: int, width: int, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows, columns, colours = np.indices((height, width, channels))
    return ((rows * 7 + columns * 3 + colours * 90) % 256).astype(np.uint8)


def _png(height: int = 40, width: int = 30, channels: int = 3) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_pixels(height, width, channels)).save(buffer, "PNG")
    return buffer.getvalue()


def _raws(folder: Path) -> Sequence[Any]:
    """An array, an encoded picture with alpha, a file, a picture of Pillow."""
    path = folder / "picture.png"
    path.write_bytes(_png(24, 50))
    return [_pixels(33, 20), _png(28, 28, 4), str(path), Image.fromarray(_pixels(64, 48))]


def _bad(folder: Path) -> Sequence[Any]:
    """Empty, cut off, no picture, too small, a bomb, a file that is not there, a wrong type."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    return [b"", _png()[:60], b"not a picture at all", _pixels(1, 1), bomb.getvalue(), str(folder / "none.png"), 3.5]


def cnn() -> list[Case]:
    """From scratch."""
    return [Case({"image_size": 16, "channels": [8, 8]}, raws=_raws, bad=_bad)]


_FSQ = {"image_size": 16, "channels": [8, 8], "levels": [5, 5, 5]}
_REBUILD = {"channels": [8, 8]}
_TOKENIZER = {
    "mmkit": 1,
    "modalities": {"image": {"encoder": {"use": "image/fsq-image", **_FSQ}}},
    "tasks": {"rebuild": {"input": "{image}", "output": "{image}", "head": {"use": "image/rebuild-image", **_REBUILD}}},
}


_ROUNDED = {
    "runs_in_bfloat16": "a number near the border between two levels is rounded to either; codes are made in float32"
}


def fsq_image() -> list[Case]:
    """A grid of 4 × 4."""
    return [Case(_FSQ, raws=_raws, bad=_bad, waive=_ROUNDED)]


def rebuild_image() -> list[Case]:
    """Beside the encoder whose input it rebuilds; and alone, told the size."""
    rows = [{"image": _pixels(16, 16)}, {"image": _pixels(20, 30)}, {"image": _pixels(9, 40)}]
    alone = {**_REBUILD, "image_size": 16, "in_channels": 3}
    return [
        Case(alone, raws=_raws, bad=_bad, spec=_TOKENIZER, rows=rows, features=16),
        Case({**alone, "loss": "mae"}, raws=_raws, bad=_bad, spec=_TOKENIZER, rows=rows, features=16, name="mae"),
    ]


def image_codes() -> list[Case]:
    """A tokenizer with random weights."""

    def saved(folder: Path) -> dict[str, Any]:
        import mmkit

        if not (folder / "codec").is_dir():
            mmkit.build(_TOKENIZER).save(folder / "codec")
        return {"codec": folder / "codec"}

    return [Case(saved, raws=_raws, bad=_bad, same=_alike)]


def _alike(got: Any, wanted: Any) -> bool:
    """Codes lose something, random weights most of it: a picture is given for a picture."""
    return isinstance(got, Image.Image) and got.size == (16, 16)


_JANUS: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "latent_channels": 32}


def hf_image_codes() -> list[Case]:
    """Small tokenizers with random weights."""

    def janus(folder: Path) -> dict[str, Any]:
        from transformers import JanusVQVAE, JanusVQVAEConfig

        config = JanusVQVAEConfig(**_JANUS, num_patches=8, num_embeddings=64)
        return _saved(JanusVQVAE(config), folder / "janus")

    def emu3(folder: Path) -> dict[str, Any]:
        from transformers import Emu3VQVAE, Emu3VQVAEConfig

        sizes = {**_JANUS, "latent_channels": 4, "attn_resolutions": [1], "hidden_size": 32}
        config = Emu3VQVAEConfig(**sizes, temporal_downsample_factor=2, codebook_size=64)
        return {**_saved(Emu3VQVAE(config), folder / "emu3"), "image_size": 16}

    common: dict[str, Any] = {"raws": _raws, "bad": _bad, "same": _alike}
    return [Case(janus, **common), Case(emu3, name="emu3", **common)]


def _saved(model: Any, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        model.save_pretrained(folder)
    return {"path": folder}


def timm() -> list[Case]:
    """A stage of a ResNet, and a pooled row."""
    return [
        Case({"model": "resnet18", "image_size": 32, "out_index": 2}, raws=_raws, bad=_bad),
        Case({"model": "test_vit", "image_size": 32, "features": "pooled"}, raws=_raws, bad=_bad, name="pooled"),
    ]


def hf_vision() -> list[Case]:
    """A small ViT."""
    return [Case({"config": {**_VIT, "image_size": 32, "patch_size": 16}}, raws=_raws, bad=_bad)]


def image_patches() -> list[Case]:
    """Colour, and brightness."""
    colour = [Image.fromarray(_pixels(16 * step, 16 * step)[::step, ::step]) for step in (1, 2, 3)]
    grey = [one.convert("L") for one in colour]
    return [
        Case({"image_size": 16, "patch": 8}, raws=colour, bad=_bad, same=_near),
        Case({"image_size": 16, "channels": 1}, raws=grey, bad=_bad, same=_near, name="grey"),
    ]


def _near(one: Any, other: Any) -> bool:
    """The same size, mode and pixels."""
    return (
        isinstance(one, Image.Image)
        and one.mode == other.mode
        and bool(np.array_equal(np.asarray(one), np.asarray(other)))
    )


def _pairs(folder: Path) -> Sequence[Any]:
    """Predicted pictures, and references in several forms, some of another size."""
    path = folder / "reference.png"
    path.write_bytes(_png(40, 40))
    grey = [Image.new("RGB", (24, 20), (level, 90, 200 - level)) for level in (20, 120, 180)]
    return [(grey[0], _pixels(20, 24)), (grey[1], _png(30, 30)), (grey[2], path), (Image.new("L", (8, 8)), grey[0])]


def image_quality() -> list[Case]:
    """Plain pictures against patterns."""
    return [Case(raws=_pairs)]


def frechet_distance() -> list[Case]:
    """An encoder of timm, with weights as they come."""

    def options(folder: Path) -> dict[str, Any]:
        save_file(create("test_vit", None, False).state_dict(), folder / "weights.safetensors")
        return {"timm": "test_vit", "weights": "weights.safetensors"}

    return [Case(options, raws=_pairs)]
