"""Audio codecs of transformers: their architecture and their weights, read when they are first needed."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig

from mmkit import PluginError
from mmkit_audio.hf_files import read_config

KINDS = ("encodec", "mimi", "dac")
_WEIGHTS = "codec.safetensors"


@dataclass
class HfCodec:
    """A codec's network, frozen.

    Attributes:
        source: folder or hub name of the weights; None: random ones, always the same.
        saved: folder that ``save`` wrote, instead of a source. state: its weights.
    """

    config: PreTrainedConfig
    source: Path | str | None = None
    saved: Path | None = None
    state: dict[str, Tensor] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, source: Path | str | None, config: dict[str, Any] | None) -> "HfCodec":
        """Of a folder, a hub name or an architecture.

        Raises:
            PluginError: it is none that codes can be made with.
        """
        made = read_config(source, config, KINDS, "audio codec", "hf-audio-codes")
        if getattr(made, "chunk_length_s", None) is not None or getattr(made, "normalize", False):
            raise PluginError(
                f"{str(source or made.model_type)!r} cuts sounds in chunks and scales each, which its codes do not say; use "
                "a codec that does not, as facebook/encodec_24khz"
            )
        if getattr(made, "audio_channels", 1) != 1:
            raise PluginError(f"{str(source or made.model_type)!r} codes {made.audio_channels} channels, wanted is one")
        return cls(made, source)

    @cached_property
    def network(self) -> Any:
        """In evaluation mode, float32.

        Raises:
            PluginError: the weights cannot be read.
        """
        if self.source is not None:
            return _pretrained(self.source, self.config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = AutoModel.from_config(self.config)
        if self.state is not None:
            made.load_state_dict(self.state)
        return made.eval().requires_grad_(False)

    def __getstate__(self) -> dict[str, Any]:
        """Where the weights are, if a data worker can read them there; else the weights."""
        gone = self.saved is not None and not (self.saved / _WEIGHTS).is_file()
        state = save(self.state) if gone and self.state is not None else None
        return {"config": self.config, "source": self.source, "saved": None if gone else self.saved, "state": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        given, saved = state["state"], state["saved"]
        tensors = load(given) if given is not None else load_file(saved / _WEIGHTS) if saved is not None else None
        self.__dict__.update({**state, "state": tensors})

    def save(self, folder: Path) -> None:
        """Write architecture and weights, these under the names of the network as it is built."""
        self.config.save_pretrained(folder)
        state = self.network.state_dict()
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / _WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "HfCodec":
        """Read what ``save`` wrote; the folder is not needed afterwards."""
        made = read_config(folder, None, KINDS, "audio codec", "hf-audio-codes")
        return cls(made, saved=folder, state=load_file(folder / _WEIGHTS))


def _pretrained(source: Path | str, config: PreTrainedConfig) -> Any:
    try:
        made, report = AutoModel.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        lines = str(error).splitlines() or [""]
        raise PluginError(
            f"the weights of {str(source)!r} cannot be read ({type(error).__name__}: {lines[0]})"
        ) from None
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise PluginError(
            f"the weights of {str(source)!r} do not fit {config.model_type!r}: {len(missing)} keys missing (first: "
            f"{missing[0]!r}), {len(report['unexpected_keys'])} unexpected"
        )
    return made.eval().requires_grad_(False)
