"""Log-mel, convolutions that shorten it, and torchaudio's Conformer (Gulati et al. 2020), exact on packed clips."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmkit import Batch, BuildContext, Encoder, Padded, Processor, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.log_mel import mel_of, waves_of
from mmkit_audio.mel import LogMel
from mmkit_audio.packed_conformer import Layout, PackedConformerLayer, PaddedLayout, shortened, shortened_padded
from mmkit_audio.processor import AudioProcessor, Reading
from mmkit_audio.spec_augment import CHANCES, mask_bands, shift_bands
from mmkit_audio.torchaudio_models import conformer_class


@lru_cache(maxsize=64)
def sinusoids(rows: int, dim: int) -> Float[Tensor, "rows dim"]:
    """Positions as sines and cosines of wavelengths from 2π to 10000 · 2π (Vaswani et al. 2017, section 3.5)."""
    return sinusoids_at(torch.arange(rows), dim)


def sinusoids_at(places: Int[Tensor, " rows"], dim: int) -> Float[Tensor, "rows dim"]:
    """Of these places."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = places[:, None] * rates[None]
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
        blocks = [PackedConformerLayer(layer) for layer in self.conformer.conformer_layers]
        self.conformer.conformer_layers = nn.ModuleList(blocks)

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
        if isinstance(frames, Padded):
            return self._padded(frames)
        hidden, lengths = shortened(frames.to(dtype=self.input_norm.weight.dtype), self.shorten)
        hidden = self.input_norm(hidden)
        rows = Ragged(hidden, lengths)
        if self.positions:
            table = sinusoids(max(rows.sizes), hidden.shape[1]).to(hidden)
            hidden = hidden + table.index_select(0, rows.positions())
        hidden = self.dropout(hidden)
        layers = self.conformer.conformer_layers
        layout = Layout.of(lengths, max(layer.reach for layer in layers), hidden.device)
        for layer in layers:
            hidden = layer(hidden, layout)
        rows = rows.replace(hidden)
        if self.features == "tokens":
            return rows
        return Ragged(torch.stack([clip.mean(0) for clip in rows.split()]), torch.ones_like(lengths))

    def _padded(self, frames: Padded) -> Padded:
        """As ``forward``, in an exported graph."""
        rows = shortened_padded(frames, self.shorten)
        hidden = self.input_norm(rows.values)
        if self.positions:
            hidden = hidden + sinusoids_at(torch.arange(rows.longest, device=hidden.device), hidden.shape[2])
        layout = PaddedLayout(rows.mask)
        for layer in self.conformer.conformer_layers:
            hidden = layer(hidden, layout)
        rows = rows.replace(hidden)
        if self.features == "tokens":
            return rows
        sums = torch.where(rows.mask[..., None], hidden, 0.0).sum(1)
        return rows.equal((sums / rows.lengths[:, None])[:, None])

    def _augmented(self, frames: Ragged, chances: Float[Tensor, "items chances"]) -> Ragged:
        """The spectrograms, changed by the random numbers that each clip brings along."""
        if "shift" in self.augment:
            frames = shift_bands(frames, max(1, self.mel.n_mels // 10), chances[:, 0])
        return mask_bands(frames, chances[:, 1:]) if "mask" in self.augment else frames


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
