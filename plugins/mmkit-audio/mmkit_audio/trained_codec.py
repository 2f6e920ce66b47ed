"""A trained mel codec as something to keep: its settings as plain values, its weights as safetensors bytes."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load, save
from torch import Tensor, nn

import mmkit
from mmkit import Model, PluginError, Ragged
from mmkit_audio.codec_config import FsqAudioConfig, RebuildMelConfig
from mmkit_audio.fsq import Fsq, Split
from mmkit_audio.fsq_audio import FsqAudio
from mmkit_audio.mel_networks import FramesToRows, RowsToFrames
from mmkit_audio.mel_processor import MelProcessor
from mmkit_audio.rebuild_mel import RebuildMel

_SETTINGS, _WEIGHTS = "codec.json", "codec.safetensors"


@dataclass(frozen=True)
class CodecSettings:
    """What the networks are made of.

    Attributes:
        mel: sample_rate, n_mels, window_ms, hop_ms and stride. encoder, decoder: dim, layers and kernel.
    """

    mel: dict[str, Any]
    levels: list[int]
    codebooks: int
    encoder: dict[str, int]
    decoder: dict[str, int]
    split: Split = "residual"

    @classmethod
    def of(cls, encoder: FsqAudioConfig, head: RebuildMelConfig) -> "CodecSettings":
        """By the options of a spec."""
        mel = {name: getattr(encoder, name) for name in ("sample_rate", "n_mels", "window_ms", "hop_ms", "stride")}
        first, second = ({name: getattr(one, name) for name in ("dim", "layers", "kernel")} for one in (encoder, head))
        return cls(mel, encoder.levels, encoder.codebooks, first, second, encoder.split)

    @property
    def spectrogram(self) -> MelProcessor:
        """The front end."""
        return MelProcessor.of(**self.mel)


class CodecNetwork(nn.Module):
    """Log-mel frames ⇄ codes."""

    def __init__(self, settings: CodecSettings) -> None:
        super().__init__()
        n_mels, stride = settings.mel["n_mels"], settings.mel["stride"]
        self.quantizer = Fsq(settings.levels, settings.codebooks, settings.split)
        self.encoder = FramesToRows(n_mels, stride, out_dim=self.quantizer.width, **settings.encoder)
        self.decoder = RowsToFrames(self.quantizer.quantised, n_mels, stride, **settings.decoder)

    @torch.no_grad()
    def numbers(self, frames: Float[Tensor, "frames n_mels"]) -> Int[Tensor, "rows codebooks"]:
        """Codes of the frames of a clip."""
        return self.quantizer.numbers(self.quantizer(self.encoder(Ragged.sized(frames, [len(frames)])).values))

    @torch.no_grad()
    def frames(self, codes: Int[Tensor, "rows codebooks"]) -> Float[Tensor, "frames n_mels"]:
        """Frames of the codes of a clip."""
        return self.decoder(Ragged.sized(self.quantizer.rows(codes), [len(codes)])).values


@dataclass
class TrainedCodec:
    """The codec of a folder, whose weights are read when they are first needed.

    Attributes:
        folder: of the saved model. task: the one whose head restores. given: the weights, where they are here already.
    """

    settings: CodecSettings
    folder: Path | None = None
    task: str = ""
    given: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, folder: Path, task: str | None) -> "TrainedCodec":
        """Of a model that ``mmkit train`` saved.

        Raises:
            PluginError: there is none, or it is no mel codec.
        """
        file = folder / "spec.json"
        if not file.is_file():
            raise PluginError(
                f"codec {str(folder)!r} is no saved model: it has no spec.json; train one with fsq-audio and rebuild-mel, "
                "and give the folder that mmkit train wrote"
            )
        try:
            spec = json.loads(file.read_text("utf-8"))
            name, encoder, head = _parts(spec, folder, task)
            settings = CodecSettings.of(FsqAudioConfig(**encoder), RebuildMelConfig(**head))
        except (ValueError, KeyError, TypeError) as error:
            raise PluginError(f"{str(file)!r} cannot be read: {error}") from None
        return cls(settings, folder, name)

    @cached_property
    def network(self) -> CodecNetwork:
        """Frozen, in evaluation mode."""
        with torch.device("meta"):  # no memory, and no random number drawn
            made = CodecNetwork(self.settings)
        made.load_state_dict(load(self.weights()), assign=True)
        return made.eval().requires_grad_(False)

    def weights(self) -> bytes:
        """As safetensors."""
        if not self.given:
            assert self.folder is not None
            self.given = save(_state(mmkit.load(self.folder), self.task))
        return self.given

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "folder": None, "task": self.task, "given": self.weights()}

    def save(self, folder: Path) -> None:
        """Write settings and weights."""
        (folder / _SETTINGS).write_text(json.dumps(asdict(self.settings), indent=1), "utf-8")
        (folder / _WEIGHTS).write_bytes(self.weights())

    @classmethod
    def load(cls, folder: Path) -> "TrainedCodec":
        """Read what ``save`` wrote."""
        settings = CodecSettings(**json.loads((folder / _SETTINGS).read_text("utf-8")))
        return cls(settings, given=(folder / _WEIGHTS).read_bytes())


def _parts(spec: dict[str, Any], folder: Path, task: str | None) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The task that rebuilds, the options of the encoder, the options of the head."""
    found = [name for name, one in spec["tasks"].items() if _short(one["head"]["use"]) == "rebuild-mel"]
    if (task is not None and task not in found) or not found:
        raise PluginError(
            f"codec {str(folder)!r} has no task {f'{task!r} ' if task else ''}with the head rebuild-mel; such tasks: "
            f"{', '.join(found) or 'none'}"
        )
    if task is None and len(found) > 1:
        raise PluginError(
            f"codec {str(folder)!r} has several tasks with rebuild-mel; name one as task: {', '.join(found)}"
        )
    name = task or found[0]
    encoders = {
        modality: one["encoder"]
        for modality, one in spec["modalities"].items()
        if one.get("encoder") and _short(one["encoder"]["use"]) == "fsq-audio"
    }
    if len(encoders) != 1:
        raise PluginError(f"codec {str(folder)!r} has {len(encoders)} encoders fsq-audio, wanted is one")
    (encoder,) = encoders.values()
    return name, _options(encoder), _options(spec["tasks"][name]["head"])


def _state(model: Model, task: str) -> dict[str, Tensor]:
    """Weights of both networks in a trained model, under the names of ``CodecNetwork``."""
    nodes = model.nodes()
    (encoder,) = (node for node in nodes.values() if isinstance(node, FsqAudio))
    head = nodes[f"{task}.head"]
    assert isinstance(head, RebuildMel)
    named = {"encoder": encoder.network, "decoder": head.network}
    return {
        f"{part}.{name}": tensor.float().contiguous()
        for part, network in named.items()
        for name, tensor in network.state_dict().items()
    }


def _short(use: str) -> str:
    return use.rpartition("/")[2]


def _options(use: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in use.items() if name != "use"}
