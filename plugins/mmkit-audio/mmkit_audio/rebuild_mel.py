"""Rebuild: rows of an encoder → the log-mel frames of the sound that was encoded, and a sound of them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, PluginError, Ragged, TaskHead
from mmkit_audio.frame_distance import FrameDistance
from mmkit_audio.griffin_lim import sound_of
from mmkit_audio.mel_networks import RowsToFrames
from mmkit_audio.mel_processor import MelProcessor


class RebuildMel(TaskHead):
    """A network that gives ``stride`` log-mel frames a row; sounds by Griffin-Lim."""

    def __init__(self, prepared: MelProcessor, network: RowsToFrames, loss_name: str, iterations: int) -> None:
        super().__init__()
        self.prepared, self.network = prepared, network
        self.loss_name, self.iterations = loss_name, iterations

    def target(self, raw: Any) -> Float[Tensor, " numbers"]:
        """The sound's log-mel frames, one after another.

        Raises:
            SampleError: not a sound that can be read.
        """
        return self.prepared.frames(raw).flatten()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over frames, of the mean over bands.

        Raises:
            PluginError: the rows are not those of so many frames; the encoder's settings are others.
        """
        frames = self.network(features[0])
        counts = [size // self.prepared.n_mels for size in targets.sizes]
        self._check(features[0].sizes, counts)
        starts = [sum(frames.sizes[:place]) for place in range(len(counts))]
        kept = torch.cat([torch.arange(s, s + count) for s, count in zip(starts, counts, strict=True)])
        got = frames.values.index_select(0, kept.to(frames.device)).float()
        wanted = targets.values.float().view(-1, self.prepared.n_mels)
        distance = functional.l1_loss if self.loss_name == "mae" else functional.mse_loss
        return Loss(distance(got, wanted, reduction="none").mean(-1).sum(), len(wanted))

    def _check(self, rows: Sequence[int], frames: Sequence[int]) -> None:
        stride = self.network.stride
        for given, wanted in zip(rows, frames, strict=True):
            if not stride * (given - 1) < wanted <= stride * given:
                raise PluginError(
                    f"rebuild-mel: by its settings a sound has {wanted} log-mel frames, but the node it reads gives {given} "
                    f"rows of {stride} frames each; sample_rate, hop_ms and stride have to be those of the encoder"
                )

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """A sound of each sample, ``{"array": Float["samples"], "sampling_rate": …}``."""
        return [self.sound(frames) for frames in self.network(features[0]).split()]

    def sound(self, frames: Float[Tensor, "frames n_mels"]) -> dict[str, Any]:
        """Of log-mel frames."""
        wave = sound_of(self.prepared.mel, frames, self.iterations)
        return {"array": wave.numpy(), "sampling_rate": self.prepared.sample_rate}

    def metrics(self) -> list[Metric]:
        """Log-mel distance."""
        return [FrameDistance(self.prepared)]


def build(
    context: BuildContext,
    *,
    dim: int,
    layers: int,
    kernel: int,
    sample_rate: int | None,
    n_mels: int | None,
    window_ms: float | None,
    hop_ms: float | None,
    stride: int | None,
    loss: str,
    iterations: int,
) -> RebuildMel:
    """A decoder over the node it reads, which says what the spectrogram is."""
    given = {"sample_rate": sample_rate, "n_mels": n_mels, "window_ms": window_ms, "hop_ms": hop_ms, "stride": stride}
    prepared = _spectrogram(next((p for p in context.processors if isinstance(p, MelProcessor)), None), given)
    network = RowsToFrames(context.dims[0], prepared.n_mels, prepared.stride, dim, layers, kernel)
    return RebuildMel(prepared, network, loss, iterations)


def _spectrogram(read: MelProcessor | None, given: dict[str, Any]) -> MelProcessor:
    """The encoder's, which the options must not contradict; without one, that of the options.

    Raises:
        PluginError: they contradict, or are not complete.
    """
    said = {name: value for name, value in given.items() if value is not None}
    if read is None:
        if missing := [name for name in given if name not in said]:
            raise PluginError(
                f"rebuild-mel does not know the spectrogram: {', '.join(missing)} not given, and it does not read fsq-audio; "
                "let it read that encoder, or give them"
            )
        return MelProcessor.of(**said)
    has = read.settings
    for name, value in said.items():
        if MelProcessor.of(**{**has, name: value}, reading=read.reading) != read:
            raise PluginError(
                f"rebuild-mel: {name} is {value:g}, of the encoder that it reads {has[name]:g}; leave it out of the head"
            )
    return read
