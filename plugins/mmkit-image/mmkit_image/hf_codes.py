"""The picture tokenizers of transformers (Emu3, Janus) as vocabularies."""

from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from mmkit import BuildContext, Codec, CodeLayout, PluginError
from mmkit_image.grid_picture import padded, unfinished
from mmkit_image.hf_codec_files import tokenizer, tokenizer_config, tokenizer_weights
from mmkit_image.hf_files import preprocessor_settings
from mmkit_image.processor import ImageProcessor

_SIDE = 512
"""Of pictures where neither the spec nor the model says it: the least that Emu3 was made for."""


class HfImageCodes(Codec):
    """A vector-quantising picture tokenizer; one code for every place of a square grid. Runs on the CPU, in float32.

    Args:
        source: where the weights are read from, in every process that uses them.
        tensors: the weights, where they have been read.
    """

    grid: tuple[int, int]

    def __init__(
        self, source: Path | str, config: PreTrainedConfig, processor: ImageProcessor, tensors: dict[str, Tensor] | None
    ) -> None:
        self.source, self.config, self.processor = source, config, processor
        kind: Any = config
        self.janus = config.model_type == "janus_vqgan"
        side = processor.image_size // 2 ** (len(kind.channel_multiplier) - 1)
        self.grid = (side, side)
        codes = int(kind.num_embeddings if self.janus else kind.codebook_size)
        self.layout = CodeLayout(codes, 1, side * side, side * side)
        self._tensors = tensors
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": None, "_model": None}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights."""
        if self._tensors is None:
            self._tensors = tokenizer_weights(self.source)
        return self._tensors

    @property
    def model(self) -> Any:
        """The tokenizer, made when it is first needed in a process."""
        if self._model is None:
            self._model = tokenizer(self.config, self.tensors, repr(str(self.source)))
        return self._model

    def quantize(self, raw: Any) -> Int[Tensor, "frames 1"]:
        """The code of every place, row by row.

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        pixels = self.processor(raw)["pixels"][None]
        options = {} if self.janus else {"image_sizes": torch.tensor([pixels.shape[-2:]])}
        with torch.no_grad():
            tokens = self.model.encode(pixels, return_dict=True, **options).image_tokens
        return (tokens if self.janus else tokens[0]).reshape(-1, 1)

    def restore(self, codes: Int[Tensor, "frames 1"]) -> Image.Image:
        """The picture; grey where codes are missing.

        Raises:
            MmkitError: more codes than the grid has places.
        """
        numbers = padded(codes, self.grid)
        with torch.no_grad():
            made: Float[Tensor, "1 3 side side"] = self.model.decode(
                numbers[None] if self.janus else numbers.reshape(1, *self.grid)
            )
        return unfinished(self.processor.pictures(made.reshape(1, *made.shape[-3:]))[0], self.grid, len(codes))

    def save_assets(self, folder: Path) -> None:
        """Architecture, weights and the settings of the processor, in the hub's form."""
        self.config.save_pretrained(folder)
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, folder / "model.safetensors")
        self.processor.save(folder)


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    path: Path | None,
    hub: str | None,
    image_size: int | None,
    resize: Literal["squash", "crop", "pad"] | None,
) -> HfImageCodes:
    """The tokenizer of a folder or of the hub."""
    source: Path | str | None = context.assets or path or hub
    if source is None:
        raise PluginError("hf-image-codes: give path (a folder) or hub (a name)")
    config = tokenizer_config(source)
    tensors = tokenizer_weights(source) if context.load_weights or context.assets is not None else None
    if context.assets is not None:
        return HfImageCodes(source, config, ImageProcessor.load(context.assets), tensors)
    said = preprocessor_settings(source)
    side = _side(config, image_size, said.get("image_size"))
    processor = ImageProcessor(
        side,
        tuple(said.get("mean") or (0.5,) * 3),
        tuple(said.get("std") or (0.5,) * 3),
        resize or said.get("resize") or "squash",
        said.get("crop_pct", 1.0),
        said.get("interpolation") or "bicubic",
        max_megapixels=max_megapixels,
    )
    made = HfImageCodes(source, config, processor, tensors)
    if tensors is not None:
        tokenizer(config, tensors, repr(str(source)))
    return made


def _side(config: Any, given: int | None, said: int | None) -> int:
    """The side of the pictures.

    Raises:
        PluginError: the tokenizer cannot take it.
    """
    scale = 2 ** (len(config.channel_multiplier) - 1)
    patches = getattr(config, "num_patches", None)
    if patches is not None:
        fixed = int(patches) * scale
        if given not in (None, fixed):
            raise PluginError(
                f"image_size {given}: the tokenizer {config.model_type!r} draws {fixed} × {fixed} only; leave it out"
            )
        return fixed
    side = given or said or _SIDE
    if side % scale:
        raise PluginError(f"image_size {side}: the tokenizer {config.model_type!r} needs a multiple of {scale}")
    return side
