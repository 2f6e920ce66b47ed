"""EnCodec (Défossez et al. 2022), Mimi (Défossez et al. 2024) and DAC (Kumar et al. 2023) of transformers as vocabularies."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedConfig

from mmkit import BuildContext, Codec, CodeLayout, PluginError
from mmkit_audio.decode import Limits
from mmkit_audio.hf_codec_files import HfCodec
from mmkit_audio.lengths import Lengths
from mmkit_audio.processor import AudioProcessor, Reading


class HfAudioCodes(Codec):
    """Waves at the codec's rate ⇄ codes of its residual codebooks. The network is frozen and runs on the CPU."""

    def __init__(
        self,
        codec: HfCodec,
        reading: Reading,
        codebooks: int | None,
        pattern: Literal["flat", "delay"],
        max_seconds: float,
    ) -> None:
        config: Any = codec.config
        self.codec = codec
        self.hop = _hop(config)
        self.frame_rate = config.sampling_rate / self.hop
        self.prepared = AudioProcessor(int(config.sampling_rate), Lengths(hop=self.hop), reading=reading)
        has = _codebooks(config)
        if codebooks is not None and codebooks > has:
            raise PluginError(f"codebooks {codebooks}: {config.model_type!r} has {has} here; give 1 to {has}")
        self.layout = CodeLayout(
            codes=int(config.codebook_size),
            codebooks=codebooks or has,
            longest_frames=math.ceil(max_seconds * self.frame_rate),
            shortest_frames=1,
            pattern=pattern,
        )

    @torch.no_grad()
    def quantize(self, raw: Any) -> Int[Tensor, "frames codebooks"]:
        """Codes of a sound in any form that the encoders of sound read.

        Raises:
            SampleError: it cannot be read, is empty, or too long.
        """
        wave: Float[Tensor, " samples"] = self.prepared(raw)["wave"]
        kind, network, count = self.codec.config.model_type, self.codec.network, self.layout.codebooks
        if kind == "dac":  # its own feature extractor fills frames up
            wave = torch.nn.functional.pad(wave, (0, -len(wave) % self.hop))
        if kind == "encodec":
            codes = network.encode(wave[None, None], bandwidth=network.config.target_bandwidths[-1]).audio_codes[0, 0]
        elif kind == "mimi":
            codes = network.encode(wave[None, None], num_quantizers=count).audio_codes[0]
        else:
            codes = network.encode(wave[None, None], n_quantizers=count).audio_codes[0]
        return codes[:count].T.long()

    @torch.no_grad()
    def restore(self, codes: Int[Tensor, "frames codebooks"]) -> dict[str, Any]:
        """``{"array": float32 samples, "sampling_rate": …}``."""
        wave = torch.zeros(0)
        if len(codes):
            network, rows = self.codec.network, codes.T[None]
            if self.codec.config.model_type == "encodec":
                wave = network.decode(rows[None], [None]).audio_values
            elif self.codec.config.model_type == "mimi":
                wave = network.decode(rows).audio_values
            else:
                wave = network.decode(audio_codes=rows).audio_values
        samples = wave.flatten().float().numpy()
        return {"array": np.ascontiguousarray(samples), "sampling_rate": self.prepared.sample_rate}

    def example(self) -> tuple[str, Any]:
        """A second of silence."""
        return self.prepared.example()

    def save_assets(self, folder: Path) -> None:
        """Write the codec's architecture and weights."""
        self.codec.save(folder)


def _hop(config: PreTrainedConfig) -> int:
    """Samples a frame."""
    if config.model_type == "mimi":
        return int(config.frame_size)
    ratios = config.downsampling_ratios if config.model_type == "dac" else config.upsampling_ratios
    return math.prod(ratios)


def _codebooks(config: PreTrainedConfig) -> int:
    return int(config.n_codebooks if config.model_type == "dac" else config.num_quantizers)


def build(
    context: BuildContext,
    *,
    raw_rate: int | None,
    resample: bool,
    max_seconds: float,
    max_mebibytes: int,
    path: Path | None,
    hub: str | None,
    config: dict[str, Any] | None,
    codebooks: int | None,
    pattern: Literal["flat", "delay"],
) -> HfAudioCodes:
    """The codec of a folder, the hub or a config; of the assets where it was saved before."""
    if context.assets is not None:
        codec = HfCodec.load(context.assets)
    else:
        codec = HfCodec.of(path if path is not None else hub, config)
        if context.load_weights:
            _ = codec.network
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    return HfAudioCodes(codec, reading, codebooks, pattern, max_seconds)
