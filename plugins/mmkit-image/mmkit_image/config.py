"""Settings of the components. Imports no torch."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmkit import Config, LocalPath

Features = Literal["tokens", "pooled"]
Resize = Literal["squash", "crop", "pad"]
Interpolation = Literal["bicubic", "bilinear"]
Side = Annotated[int, Field(ge=2, le=4096)]
Stages = Annotated[list[Annotated[int, Field(gt=0, le=4096)]], Field(min_length=1, max_length=8)]
MAX_CODES = 2**18
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Deviation = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]

_RESIZE = "squash changes the sides' ratio, crop keeps the middle square, pad adds the mean colour around."
_MEAN = "Mean of red, green and blue that is subtracted, on the scale 0 to 1"
_STD = "Standard deviation of red, green and blue that is divided by"
_FAST = (
    "Let the JPEG decoder shrink large pictures by 2, 4 or 8, no smaller than they will be: up to several times as fast; "
    "pixels differ by a few levels of 255."
)
_SAID = "default: as preprocessor_config.json says"


class PictureConfig(Config):
    """What every encoder of pictures lets one say about its input."""

    max_megapixels: float = Field(
        50.0, gt=0, le=178, description="Largest picture; larger ones are refused before they are decoded."
    )


class TimmConfig(PictureConfig):
    """Settings of ``timm``."""

    model: str = Field(description="Name of the architecture in timm, for example efficientnet_lite0.")
    weights: LocalPath | None = Field(None, description="File of weights: safetensors, or torch (read without pickle).")
    match: Literal["name", "order"] = Field(
        "name", description="How a torch file's tensors find their place: by key, or in the file's order by shape."
    )
    pretrained: bool = Field(False, description="Fetch timm's own weights from the model hub.")
    image_size: Side | None = Field(None, description="Side of the square picture; default: that of the architecture.")
    features: Features = Field("tokens", description="tokens: one row a place of the map; pooled: one row a picture.")
    class_token: bool = Field(False, description="Keep a ViT's class token as the first row of the tokens.")
    out_index: int | None = Field(
        None, description="Stage (CNN) or block (ViT) to read, -1 is the last; later ones are removed. None: the end."
    )
    freeze_norm: bool = Field(
        True,
        description="While training, keep the running statistics that batch normalisation layers loaded; "
        "without loaded weights there are none, and they are learnt.",
    )
    resize: Resize = Field("squash", description=f"How a picture becomes square: {_RESIZE}")
    crop_pct: float = Field(1.0, gt=0, le=1, description="Share of the shorter side that crop keeps.")
    fast_decode: bool = Field(False, description=_FAST)
    mean: Channels | None = Field(None, description=f"{_MEAN}; default: that of the weights timm knows.")
    std: Deviation | None = Field(None, description=f"{_STD}; default: that of the weights timm knows.")

    @model_validator(mode="after")
    def _consistent(self) -> "TimmConfig":
        if self.weights is not None and self.pretrained:
            raise ValueError("weights and pretrained exclude each other: leave one of them out")
        if self.match == "order" and self.weights is None:
            raise ValueError("match: order says how to read weights, and there are none: name the file in weights")
        if self.class_token and (self.features != "tokens" or self.out_index is not None):
            raise ValueError("class_token: true needs features: tokens and no out_index")
        return self


class HfVisionConfig(PictureConfig):
    """Settings of ``hf-vision``; exactly one of ``path``, ``hub`` and ``config`` is given."""

    path: LocalPath | None = Field(None, description="Folder in the hub's form: config.json and safetensors weights.")
    hub: str | None = Field(None, description="Name on the model hub, fetched by transformers.")
    config: dict[str, Any] | None = Field(
        None, description="Architecture with its model_type, as in a config.json; random weights."
    )
    features: Features = Field("tokens", description="tokens: one row a patch; pooled: the model's own pooled row.")
    class_token: bool = Field(False, description="Keep the class token as the first row of the tokens.")
    layer: int = Field(
        -1,
        description="Hidden state to read: -1 the model's output, -2 the state before its last layer, 0 the embeddings.",
    )
    image_size: Side | None = Field(None, description="Side of the square picture; default: that of the model.")
    resize: Resize | None = Field(None, description=f"How a picture becomes square: {_RESIZE} {_SAID}, else squash.")
    interpolation: Interpolation | None = Field(None, description=f"Filter that resizes; {_SAID}, else bicubic.")
    fast_decode: bool = Field(False, description=_FAST)
    mean: Channels | None = Field(None, description=f"{_MEAN}; {_SAID}, else 0.5.")
    std: Deviation | None = Field(None, description=f"{_STD}; {_SAID}, else 0.5.")

    @model_validator(mode="after")
    def _consistent(self) -> "HfVisionConfig":
        if sum(source is not None for source in (self.path, self.hub, self.config)) != 1:
            raise ValueError("give exactly one of path (a folder), hub (a name) and config (an architecture)")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError(
                "config needs a model_type, for example clip_vision_model, siglip_vision_model, dinov2 or vit"
            )
        if self.features == "pooled" and (self.class_token or self.layer != -1):
            raise ValueError("features: pooled is computed from the model's output: leave class_token and layer out")
        return self


class FsqImageConfig(PictureConfig):
    """Settings of ``fsq-image``."""

    image_size: Side = Field(32, description="Side of the square picture.")
    in_channels: Literal[1, 3] = Field(3, description="3: colour; 1: brightness.")
    channels: Stages = Field([32, 64], description="Channels of each stage; every stage halves the side.")
    blocks: int = Field(1, ge=0, le=16, description="Residual blocks of each stage.")
    levels: list[Annotated[int, Field(ge=3, le=64)]] = Field(
        [8, 5, 5, 5],
        min_length=1,
        max_length=16,
        description="Levels of each number that a place is written as; their product is the number of codes.",
    )
    resize: Resize = Field("squash", description=f"How a picture becomes square: {_RESIZE}")
    fast_decode: bool = Field(False, description=_FAST)

    @model_validator(mode="after")
    def _consistent(self) -> "FsqImageConfig":
        part = 2 ** len(self.channels)
        if self.image_size % part:
            raise ValueError(
                f"image_size {self.image_size} cannot be halved {len(self.channels)} times: a multiple of {part}"
            )
        codes = math.prod(self.levels)
        if codes > MAX_CODES:
            raise ValueError(f"levels make {codes:,} codes; at most {MAX_CODES:,} are allowed")
        return self


class RebuildImageConfig(Config):
    """Settings of ``rebuild-image``."""

    channels: Stages = Field([64, 32], description="Channels of each stage; every stage doubles the side.")
    blocks: int = Field(1, ge=0, le=16, description="Residual blocks of each stage.")
    loss: Literal["mse", "mae"] = Field("mse", description="Mean of squared or of absolute errors of the pixels.")
    image_size: Side | None = Field(None, description="Side of the picture; default: that of the encoder it reads.")
    in_channels: Literal[1, 3] | None = Field(None, description="3: colour; 1: brightness; default: as the encoder.")

    @model_validator(mode="after")
    def _consistent(self) -> "RebuildImageConfig":
        part = 2 ** len(self.channels)
        if self.image_size is not None and self.image_size % part:
            raise ValueError(
                f"image_size {self.image_size} is no multiple of {part}, which {len(self.channels)} doublings make"
            )
        return self


class ImageCodesConfig(Config):
    """Settings of ``image-codes``."""

    codec: LocalPath = Field(
        description="Folder of a saved model with an encoder fsq-image and a head rebuild-image that reads it."
    )


class HfImageCodesConfig(PictureConfig):
    """Settings of ``hf-image-codes``; either ``path`` or ``hub`` is given."""

    path: LocalPath | None = Field(
        None, description="Folder in the hub's form of a picture tokenizer (Emu3, Janus), or of a model that has one."
    )
    hub: str | None = Field(
        None, description="Name on the model hub; of a whole model, only the tokenizer's files are fetched."
    )
    image_size: Side | None = Field(
        None, description=f"Side of the square picture; default: that of the model; {_SAID}; else 512."
    )
    resize: Resize | None = Field(None, description=f"How a picture becomes square: {_RESIZE} {_SAID}, else squash.")

    @model_validator(mode="after")
    def _consistent(self) -> "HfImageCodesConfig":
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either path (a folder) or hub (a name)")
        return self


class CnnConfig(PictureConfig):
    """Settings of ``cnn``."""

    image_size: Side = Field(64, description="Side of the square picture.")
    channels: list[Annotated[int, Field(gt=0)]] = Field(
        [32, 64, 128], min_length=1, max_length=8, description="Channels of each stage; every stage halves the side."
    )
    in_channels: Literal[1, 3] = Field(3, description="3: colour; 1: brightness.")
    norm: Literal["batch", "group"] = Field("batch", description="Normalisation: batch, or group for tiny batches.")
    residual: bool = Field(True, description="Add each block's input to its output.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the features.")
    features: Features = Field("tokens", description="tokens: one row a place of the last map; pooled: their mean.")
    positions: bool = Field(True, description="Add a learnt vector for its place to each token.")
    resize: Resize = Field("squash", description=f"How a picture becomes square: {_RESIZE}")
    fast_decode: bool = Field(False, description=_FAST)
    augment: list[Literal["flip", "shift"]] = Field(
        [],
        description="Changes while training: flip mirrors half of the pictures, shift moves each by up to a twelfth.",
    )
