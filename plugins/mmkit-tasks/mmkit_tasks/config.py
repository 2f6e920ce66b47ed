"""Settings of the heads. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config

TextMetricName = Literal["bleu", "chrf", "rouge", "wer", "cer", "exact"]
PoolName = Literal["mean", "max", "last", "first"]


class GenerateConfig(Config):
    """Settings of ``generate``."""

    max_length: int | None = Field(None, gt=1, description="Most ids of a target, end id included.")
    truncate: bool = Field(
        False, description="Cut longer targets (without an end id) instead of refusing the row; needs max_length."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all ids.")
    input_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="How often training leaves the columns out of the prompt; guidance needs it, 0.1 is usual.",
    )
    max_new_tokens: int | None = Field(
        None, gt=0, description="Most ids that are generated; default: 64, or as many as a value of the codec can have."
    )
    beams: int = Field(1, gt=0, description="Width of the beam search; 1 decodes greedily or samples.")
    temperature: float = Field(0.0, ge=0, description="Sampling temperature; 0 takes the likeliest id.")
    top_k: int | None = Field(None, gt=0, description="Sample among the k likeliest ids.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Sample among the likeliest ids of this joint probability."
    )
    length_penalty: float = Field(1.0, description="Beam scores are divided by length to this power.")
    guidance: float = Field(
        1.0,
        ge=0,
        description="Above 1 follows the columns of the prompt more closely than the model does (classifier-free guidance).",
    )
    seed: int = Field(0, description="Seed of sampling.")
    metrics: list[TextMetricName] | None = Field(
        None, description="Metrics of evaluation; default: bleu, chrf and exact where the output is text."
    )
    bleu_tokenize: Literal["13a", "intl", "char", "zh", "none"] = Field(
        "13a", description="BLEU's tokenizer (sacrebleu)."
    )

    @model_validator(mode="after")
    def _decoding(self) -> "GenerateConfig":
        if self.truncate and self.max_length is None:
            raise ValueError("truncate needs max_length")
        if self.beams > 1 and self.temperature:
            raise ValueError("beams > 1 and temperature > 0 exclude each other: beam search does not sample")
        if self.guidance != 1 and not self.input_dropout:
            raise ValueError("guidance needs input_dropout, so that the model learns the prompt without its columns")
        if self.beams > 1 and self.guidance != 1:
            raise ValueError("beams > 1 and guidance exclude each other")
        return self


class ClassifyConfig(Config):
    """Settings of ``classify``."""

    labels: list[str | int] = Field(min_length=2, description="Every label that the data may have.")
    pool: PoolName = Field("mean", description="How an item's rows become one.")
    binary: bool = Field(False, description="One sigmoid for two labels, instead of a softmax.")
    multi_label: bool = Field(
        False, description='Any number of labels a sample: the column is a list of labels, or one string "a|b".'
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the last layer.")
    class_weights: list[float] | None = Field(
        None, description="Weight of each label's targets in the loss, in the order of labels."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all labels (softmax).")
    threshold: float = Field(0.5, gt=0, lt=1, description="A label is given above this probability (sigmoids).")

    @model_validator(mode="after")
    def _fits(self) -> "ClassifyConfig":
        if self.binary and len(self.labels) != 2:
            raise ValueError(f"binary needs two labels, got {len(self.labels)}")
        if len({str(label) for label in self.labels}) != len(self.labels):
            raise ValueError("a label is listed twice")
        if self.binary and self.multi_label:
            raise ValueError("binary and multi_label exclude each other: multi_label is one sigmoid a label")
        if self.multi_label and any("|" in str(label) for label in self.labels):
            raise ValueError('multi_label: a label has "|", which separates labels')
        if self.class_weights is not None and len(self.class_weights) != len(self.labels):
            raise ValueError(f"class_weights has {len(self.class_weights)} numbers for {len(self.labels)} labels")
        if self.class_weights is not None and min(self.class_weights) < 0:
            raise ValueError("class_weights has a negative number")
        if self.label_smoothing and (self.binary or self.multi_label):
            raise ValueError("label_smoothing is for the softmax, not for binary or multi_label")
        return self


class RegressConfig(Config):
    """Settings of ``regress``."""

    dims: int = Field(1, gt=0, description="Numbers of a target; the column is a number, or a list of this length.")
    pool: PoolName = Field("mean", description="How an item's rows become one.")
    loss: Literal["mse", "mae", "huber"] = Field("mse", description="Loss between normalised prediction and target.")
    huber_delta: float = Field(1.0, gt=0, description="Where the Huber loss turns from square to linear.")
    mean: float | list[float] = Field(0.0, description="Subtracted from targets (one number, or one a dimension).")
    std: float | list[float] = Field(1.0, description="Divides targets (one number, or one a dimension).")
    bounds: tuple[float, float] | None = Field(
        None, description="Lowest and highest legal target; predictions are clamped to it."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the last layer.")

    @model_validator(mode="after")
    def _fits(self) -> "RegressConfig":
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, list) and len(value) != self.dims:
                raise ValueError(f"{name} has {len(value)} numbers for dims = {self.dims}")
        if min(self.std if isinstance(self.std, list) else [self.std]) <= 0:
            raise ValueError("std must be greater than 0")
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds are [lowest, highest], got {list(self.bounds)}")
        return self


class CtcConfig(Config):
    """Settings of ``ctc``."""

    blank: Literal["last", "first"] = Field("last", description="Place of the blank beside the vocabulary's ids.")
    projection: int | None = Field(None, gt=0, description="Width of a linear layer with GELU before everything else.")
    rnn: Literal["gru", "lstm"] = Field("gru", description="Kind of the recurrent layers.")
    rnn_layers: int = Field(0, ge=0, description="Recurrent layers, reading in both directions; 0 for none.")
    rnn_dim: int = Field(256, gt=0, description="Width of each direction's state.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout between recurrent layers and before the last layer.")
    zero_infinity: bool = Field(
        False, description="Leave samples whose target does not fit their input out of the loss, instead of stopping."
    )
    beams: int = Field(1, gt=0, description="Width of the prefix beam search; 1 decodes greedily.")
    metrics: list[TextMetricName] = Field(["wer", "cer"], description="Metrics of evaluation.")


class ContrastiveConfig(Config):
    """Settings of ``contrastive``."""

    loss: Literal["infonce", "sigmoid"] = Field("infonce", description="Softmax (CLIP) or pairwise sigmoid (SigLIP).")
    dim: int | None = Field(
        256, gt=0, description="Width of the shared space; null projects nothing (both nodes then have one width)."
    )
    pool: PoolName = Field("mean", description="How an item's rows become one, at both nodes.")
    temperature: float | None = Field(
        None, ge=0.01, description="Temperature at the start; default 0.07 (infonce), 0.1 (sigmoid). It is learned."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the projections.")
