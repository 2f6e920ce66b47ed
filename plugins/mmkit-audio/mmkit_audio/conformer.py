"""Log-mel, convolutions that shorten it, and torchaudio's Conformer (Gulati et al. 2020), exact on packed clips."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mmkit import Batch, BuildContext, Encoder, Processor, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.log_mel import mel_of, waves_of
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import AudioProcessor, Reading
from mmkit_audio.spec_augment import CHANCES, mask_bands, shift_bands
from mmkit_audio.torchaudio_models import conformer_class


def padding_mask(lengths: Int[Tensor, " items"], longest: int) -> Bool[Tensor, "items longest"]:
    """True at the real rows of a padded batch (CPU)."""
    return torch.arange(longest)[None] < lengths[:, None]


class RealFrames:
    """Which frames of the padded batch in hand are real; set once a forward, read by the layers that must know."""

    mask: Bool[Tensor, "items frames"] | None = None


class MaskedConv1d(nn.Conv1d):
    """A convolution that sees silence, not padding, beyond a clip's end."""

    def __init__(self, like: nn.Conv1d, real: RealFrames) -> None:
        shape = (like.in_channels, like.out_channels, like.kernel_size[0], like.stride[0], int(like.padding[0]))
        super().__init__(*shape, groups=like.groups, bias=like.bias is not None)
        self.load_state_dict(like.state_dict(), assign=True)
        self.real = real

    def forward(self, x: Float[Tensor, "items channels frames"]) -> Float[Tensor, "items out shorter"]:
        """Padded frames count as zeros."""
        mask = self.real.mask
        return super().forward(x if mask is None else x * mask[:, None].to(x.dtype))


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation whose statistics leave padded frames out."""

    def __init__(self, like: nn.BatchNorm1d, real: RealFrames) -> None:
        super().__init__(like.num_features, like.eps, like.momentum)
        self.load_state_dict(like.state_dict(), assign=True)
        self.real = real

    def forward(self, x: Float[Tensor, "items channels frames"]) -> Float[Tensor, "items channels frames"]:
        """Padded frames pass unchanged."""
        mask = self.real.mask
        if mask is None:
            return super().forward(x)
        rows = x.transpose(1, 2)
        normal = super().forward(rows[mask])
        return rows.masked_scatter(mask[..., None], normal.to(rows.dtype)).transpose(1, 2)


@lru_cache(maxsize=64)
def sinusoids(rows: int, dim: int) -> Float[Tensor, "rows dim"]:
    """Positions as sines and cosines of wavelengths from 2π to 10000 · 2π (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = torch.arange(rows)[:, None] * rates[None]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]


class ConformerEncoder(Encoder):
    """Log-mel → convolutions of stride 2 → Conformer blocks."""

    def __init__(
        self,
        mel: LogMel,
        prepared: AudioProcessor,
        dim: int,
        layers: int,
        heads: int,
        ffn_dim: int,
        kernel: int,
        dropout: float,
        stride: int,
        features: Literal["tokens", "pooled"] = "tokens",
        positions: bool = True,
        augment: Sequence[Literal["mask", "shift"]] = (),
    ) -> None:
        super().__init__()
        self.positions = positions
        self.mel, self.prepared, self.features, self.augment = mel, prepared, features, tuple(augment)
        self.feature_dim = dim
        halvings = stride.bit_length() - 1
        widths = [mel.n_mels, *[dim] * max(1, halvings)]
        strides = [2] * halvings or [1]
        self.shorten = nn.ModuleList(
            nn.Conv1d(into, out, 3, stride=by, padding=1)
            for into, out, by in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.input_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.conformer = conformer_class()(dim, heads, ffn_dim, layers, kernel, dropout)
        self.real = RealFrames()
        for layer in self.conformer.conformer_layers:
            parts = layer.conv_module.sequential
            for index, part in enumerate(parts):
                if isinstance(part, nn.Conv1d) and part.kernel_size[0] > 1:
                    parts[index] = MaskedConv1d(part, self.real)
                elif isinstance(part, nn.BatchNorm1d):
                    parts[index] = MaskedBatchNorm1d(part, self.real)

    def processor(self) -> Processor:
        """Decodes, mixes, resamples."""
        return self.prepared

    def forward(self, batch: Batch) -> Ragged:
        """Float["rows dim"]; ``stride`` windows a row, rounded up; or one row a clip."""
        frames = self.mel(waves_of(batch))
        if self.training and "chances" in batch:
            chances = batch["chances"]
            assert isinstance(chances, Tensor)
            frames = self._augmented(frames, chances)
        padded = frames.to(dtype=self.input_norm.weight.dtype).to_padded()[0]
        hidden, lengths, mask = self._shorten(padded.transpose(1, 2), frames.lengths)
        hidden = self.input_norm(hidden.transpose(1, 2))
        if self.positions:
            hidden = hidden + sinusoids(hidden.shape[1], hidden.shape[2]).to(hidden)
        hidden = self.dropout(hidden)
        self.real.mask = mask
        try:
            hidden = self.conformer(hidden, lengths.to(hidden.device))[0]
        finally:
            self.real.mask = None
        rows = Ragged.from_padded(hidden, lengths)
        if self.features == "tokens":
            return rows
        return Ragged(torch.stack([clip.mean(0) for clip in rows.split()]), torch.ones_like(rows.lengths))

    def _augmented(self, frames: Ragged, chances: Float[Tensor, "items chances"]) -> Ragged:
        """The spectrograms, changed by the random numbers that each clip brings along."""
        if "shift" in self.augment:
            frames = shift_bands(frames, max(1, self.mel.n_mels // 10), chances[:, 0])
        return mask_bands(frames, chances[:, 1:]) if "mask" in self.augment else frames

    def _shorten(
        self, x: Float[Tensor, "items mels frames"], lengths: Int[Tensor, " items"]
    ) -> tuple[Float[Tensor, "items dim rows"], Int[Tensor, " items"], Bool[Tensor, "items rows"]]:
        """Shorter maps, their lengths and real rows; each convolution sees zeros beyond a clip's end, as it would alone."""
        mask = padding_mask(lengths, x.shape[2]).to(x.device)
        for convolution in self.shorten:
            assert isinstance(convolution, nn.Conv1d)
            x = nn.functional.gelu(convolution(x))
            lengths = -(-lengths // convolution.stride[0])
            mask = padding_mask(lengths, x.shape[2]).to(x.device)
            x = x * mask[:, None].to(x.dtype)
        return x, lengths, mask


def build(
    context: BuildContext,
    *,
    raw_rate: int | None,
    resample: bool,
    max_seconds: float,
    max_mebibytes: int,
    sample_rate: int,
    n_mels: int,
    window_ms: float,
    hop_ms: float,
    dim: int,
    layers: int,
    heads: int,
    ffn_dim: int | None,
    kernel: int,
    dropout: float,
    stride: int,
    features: Literal["tokens", "pooled"],
    positions: bool,
    augment: list[Literal["mask", "shift"]],
) -> ConformerEncoder:
    """Fresh weights."""
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    pooled, chances = features == "pooled", CHANCES if augment else 0
    mel, processor = mel_of(reading, sample_rate, n_mels, window_ms, hop_ms, stride, pooled, chances)
    return ConformerEncoder(
        mel, processor, dim, layers, heads, ffn_dim or 4 * dim, kernel, dropout, stride, features, positions, augment
    )
