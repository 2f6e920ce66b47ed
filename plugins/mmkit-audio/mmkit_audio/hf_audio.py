"""Audio encoders of transformers: Whisper (log-mel in), and wav2vec 2.0, HuBERT and their kin (waves in)."""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mmkit import Batch, BuildContext, Encoder, Padded, PluginError, Processor, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.hf_files import empty_model, load_config, load_model, preprocessor_settings
from mmkit_audio.lengths import Lengths
from mmkit_audio.log_mel import waves_of
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import AudioProcessor, Reading

CHUNK_SECONDS = 30
WHISPER_RATE, WHISPER_WINDOW, WHISPER_HOP = 16_000, 400, 160


class HfAudio(Encoder):
    """Pieces of one length (silence included) go through the model together, so a clip's features never depend on
    the other clips of a batch.

    Args:
        window: samples; every piece is filled with silence to a multiple; 0: to nothing.
        layer: -1 is the model's output; any other an index into its hidden states.

    Raises:
        PluginError: there is no such layer.
    """

    def __init__(self, model: nn.Module, prepared: AudioProcessor, layer: int = -1, window: int = 0) -> None:
        super().__init__()
        self.model: Any = model
        self.prepared, self.layer, self.window = prepared, layer, window
        config: Any = self.model.config
        self.feature_dim = int(config.hidden_size)
        depth = int(config.num_hidden_layers)
        if not -depth - 1 <= layer <= depth:
            raise PluginError(
                f"layer {layer}: {config.model_type!r} has {depth} layers; allowed: {-depth - 1} to {depth}"
            )

    def processor(self) -> Processor:
        """Decodes, mixes, resamples, normalises."""
        return self.prepared

    def forward(self, batch: Batch) -> Ragged:
        """Float["rows feature_dim"]; rows of silence that was only filled in are left out."""
        waves = waves_of(batch)
        if isinstance(waves, Padded):
            return self._padded(waves)
        if torch.compiler.is_exporting():
            return self._padded(Padded(waves.values[None], None))
        chunk = self.prepared.lengths.chunk
        pieces = [(n, piece) for n, wave in enumerate(waves.split()) for piece in wave.split(chunk or wave.shape[0])]
        rows = [self.prepared.lengths(piece.shape[0]) for _, piece in pieces]
        groups: dict[int, list[int]] = {}
        for index, (_, piece) in enumerate(pieces):
            groups.setdefault(self._filled(piece.shape[0]), []).append(index)
        features: dict[int, Tensor] = {}
        for size, members in groups.items():
            stacked = torch.stack(
                [nn.functional.pad(p, (0, size - p.shape[0])) for _, p in (pieces[i] for i in members)]
            )
            given = self.encode(stacked)
            features.update({index: given[at, : rows[index]] for at, index in enumerate(members)})
        lengths = torch.zeros(len(waves), dtype=torch.int64)
        for (owner, _), count in zip(pieces, rows, strict=True):
            lengths[owner] += count
        return Ragged(torch.cat([features[index] for index in range(len(pieces))]), lengths)

    def _padded(self, waves: Padded) -> Padded:
        """As ``forward``, in an exported graph, of waves of up to one piece.

        Raises:
            TypeError: clips may have several lengths, and only those of one go through the model together; ``split`` says so.
        """
        lengths, samples = self.prepared.lengths, waves.longest
        whole = self.window > 0 and self.window == lengths.chunk
        if not whole and not waves.full:
            waves.split()
        size = samples
        if self.window:
            size = self.window if whole else (samples + self.window - 1) // self.window * self.window
        given = self.encode(nn.functional.pad(waves.to_padded()[0], (0, size - samples)))
        return Padded(given, None if not self.window else lengths.padded(waves.lengths))

    def _filled(self, samples: int) -> int:
        return -(-samples // self.window) * self.window if self.window else samples

    @abstractmethod
    def encode(self, waves: Float[Tensor, "items samples"]) -> Float[Tensor, "items rows feature_dim"]:
        """Features of clips of one length."""

    def save_assets(self, folder: Path) -> None:
        """Write the architecture and the processor's settings."""
        self.model.config.save_pretrained(folder)
        self.prepared.save(folder)


class WhisperAudio(HfAudio):
    """The encoder of Whisper, also on less than its 30 seconds: the positions after the clip's end are left out."""

    def __init__(self, model: nn.Module, prepared: AudioProcessor, layer: int = -1, window: int = 0) -> None:
        super().__init__(model, prepared, layer, window)
        self.mel = LogMel(WHISPER_RATE, int(self.model.config.num_mel_bins), WHISPER_WINDOW, WHISPER_HOP)

    def encode(self, waves: Float[Tensor, "items samples"]) -> Float[Tensor, "items rows feature_dim"]:
        """``WhisperEncoder.forward`` without its check of the length; two frames of 10 ms a row."""
        model, items = self.model, waves.shape[0]
        mel = self.mel(Ragged.equal(waves))
        frames = mel.values.reshape(items, -1, self.mel.n_mels).transpose(1, 2).to(model.conv1.weight.dtype)
        hidden = nn.functional.gelu(model.conv2(nn.functional.gelu(model.conv1(frames)))).transpose(1, 2)
        hidden = hidden + model.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=model.dropout, training=self.training)
        depth = len(model.layers)
        wanted = self.layer % (depth + 1)
        for layer in model.layers[:wanted]:
            given = layer(hidden, None)
            hidden = given if isinstance(given, Tensor) else given[0]
        return model.layer_norm(hidden) if self.layer in (-1, depth) else hidden


class WaveAudio(HfAudio):
    """wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022) and their kin."""

    def encode(self, waves: Float[Tensor, "items samples"]) -> Float[Tensor, "items rows feature_dim"]:
        """The model's output, or one of its hidden states."""
        waves = waves.to(next(self.model.parameters()).dtype)
        if self.layer == -1:
            return self.model(waves).last_hidden_state
        return self.model(waves, output_hidden_states=True).hidden_states[self.layer]


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
    sample_rate: int | None,
    layer: int,
    window: float | None,
    silence: str,
) -> HfAudio:
    """The architecture of a folder, the hub or a config; weights of the first two."""
    source = path if path is not None else hub
    made = load_config(context.assets or source, config)
    model = load_model(source, made) if source is not None and context.load_weights else empty_model(made)
    whisper = made.model_type == "whisper"
    if context.assets is not None:
        prepared = AudioProcessor.load(context.assets)
    else:
        said = preprocessor_settings(source)
        rate = _rate(sample_rate, said.get("sampling_rate"), whisper)
        lengths = _lengths(made, rate)
        if silence == "keep" and not whisper:
            raise PluginError(f"silence: keep is for whisper, not for {made.model_type!r}; leave silence out")
        lengths = replace(lengths, filled=silence == "keep")
        reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
        normalize = not whisper and bool(said.get("do_normalize", True))
        prepared = AudioProcessor(rate, lengths, _least(whisper, lengths), normalize, reading)
    window = CHUNK_SECONDS if window is None and whisper else window
    samples = round((window or 0) * prepared.sample_rate)
    return (WhisperAudio if whisper else WaveAudio)(model, prepared, layer, samples)


def _rate(given: int | None, said: Any, whisper: bool) -> int:
    """The rate of the weights.

    Raises:
        PluginError: the spec says another one than the weights.
    """
    known = WHISPER_RATE if whisper else said if isinstance(said, int) else None
    if given is not None and known is not None and given != known:
        raise PluginError(
            f"sample_rate {given}: the weights were trained at {known} samples a second; leave sample_rate out, "
            "clips are resampled"
        )
    return given or known or 16_000


def _lengths(config: PreTrainedConfig, rate: int) -> Lengths:
    if config.model_type == "whisper":
        return Lengths(hop=WHISPER_HOP, stride=2, chunk=CHUNK_SECONDS * rate)
    convolutions = list(zip(config.conv_kernel, config.conv_stride, strict=True))
    if getattr(config, "add_adapter", False):
        convolutions += [(1, config.adapter_stride)] * config.num_adapter_layers
    return Lengths(convolutions=tuple((int(kernel), int(stride)) for kernel, stride in convolutions))


def _least(whisper: bool, lengths: Lengths) -> int:
    return WHISPER_WINDOW if whisper else lengths.least
