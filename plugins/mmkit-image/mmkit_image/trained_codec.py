"""The folder of a trained picture tokenizer → its settings and its weights. No pickle is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor

from mmkit import BuildContext, PluginError
from mmkit_image.config import FsqImageConfig, RebuildImageConfig
from mmkit_image.fsq_image import FsqImage
from mmkit_image.fsq_image import build as build_encoder
from mmkit_image.rebuild_image import RebuildImage
from mmkit_image.rebuild_image import build as build_decoder
from mmkit_image.weights import by_name, read_weights

ENCODER, HEAD = "fsq-image", "rebuild-image"
SETTINGS, WEIGHTS = "codec.json", "codec.safetensors"
_WANTED = f"wanted is the folder of a saved model with an encoder {ENCODER} and a head {HEAD} that reads it"


@dataclass(frozen=True)
class Trained:
    """What a tokenizer is made from, as plain values.

    Attributes:
        encoder, decoder: options of ``fsq-image`` and ``rebuild-image``.
        weights: a safetensors file of both, under ``encoder.`` and ``decoder.``.
    """

    encoder: Mapping[str, Any]
    decoder: Mapping[str, Any]
    weights: bytes

    @classmethod
    def of_model(cls, folder: Path) -> "Trained":
        """From the folder of a saved model.

        Raises:
            PluginError: it is none, or has not exactly one encoder and head of a tokenizer.
        """
        where = f"codec {str(folder)!r}"
        if not folder.is_dir():
            raise PluginError(f"{where}: no such folder; {_WANTED}")
        for name in ("spec.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise PluginError(f"{where} has no {name}; {_WANTED}")
        spec = _json(folder / "spec.json", where)
        modality, encoder = _only(ENCODER, spec, "modalities", "encoder", where)
        task, head = _only(HEAD, spec, "tasks", "head", where)
        parts = {**_starts("encoders", modality, "encoder."), **_starts("heads", task, "decoder.")}
        tensors = {}
        for name, tensor in read_weights(folder / "model.safetensors").items():
            start = next((prefix for prefix in parts if name.startswith(prefix)), None)
            if start is not None:
                tensors[parts[start] + name.removeprefix(start)] = tensor.float().contiguous()
        return cls(encoder, head, save(tensors)).checked(where)

    @classmethod
    def of_assets(cls, folder: Path) -> "Trained":
        """From what ``write`` wrote.

        Raises:
            PluginError: a file is missing or damaged.
        """
        where = f"the saved codec {str(folder)!r}"
        for name in (SETTINGS, WEIGHTS):
            if not (folder / name).is_file():
                raise PluginError(f"{where} has no {name}; was a file removed?")
        settings = _json(folder / SETTINGS, where)
        encoder, decoder = settings.get("encoder"), settings.get("decoder")
        if not isinstance(encoder, dict) or not isinstance(decoder, dict):
            raise PluginError(f"{where}: {SETTINGS} has no options of an encoder and a decoder; was it changed?")
        return cls(encoder, decoder, (folder / WEIGHTS).read_bytes()).checked(where)

    def write(self, folder: Path) -> None:
        """Settings as JSON, weights as safetensors."""
        text = json.dumps({"encoder": self.encoder, "decoder": self.decoder}, indent=1)
        (folder / SETTINGS).write_text(text, "utf-8")
        (folder / WEIGHTS).write_bytes(self.weights)

    def checked(self, where: str) -> "Trained":
        """This, if its weights fit its settings.

        Raises:
            PluginError: they do not, or an option is wrong.
        """
        parts = self._parts(where)
        wanted = {
            f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
        }
        try:
            by_name(self._tensors(where), wanted, ())
        except ValueError as error:
            raise PluginError(f"{where}: its weights do not fit its spec: {error}") from None
        return self

    def network(self) -> "tuple[FsqImage, RebuildImage]":
        """The frozen encoder and decoder, on the CPU."""
        parts, tensors = self._parts("the codec"), self._tensors("the codec")
        for part, module in parts.items():
            own = {
                name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")
            }
            module.load_state_dict(own, assign=True)
            module.eval().requires_grad_(False)
        encoder, decoder = parts["encoder"], parts["decoder"]
        assert isinstance(encoder, FsqImage)
        assert isinstance(decoder, RebuildImage)
        return encoder, decoder

    def _parts(self, where: str) -> "dict[str, FsqImage | RebuildImage]":
        try:
            given = FsqImageConfig.model_validate(self.encoder).model_dump()
            options = RebuildImageConfig.model_validate(self.decoder).model_dump()
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise PluginError(f"{where}: an option of it is refused: {place}: {first['msg']}") from None
        with torch.device("meta"):  # no memory, and no random number drawn
            encoder = build_encoder(BuildContext(load_weights=False), **given)
            read = BuildContext(load_weights=False, dims=(encoder.feature_dim,), processors=(encoder.processor(),))
            return {"encoder": encoder, "decoder": build_decoder(read, **options)}

    def _tensors(self, where: str) -> dict[str, Tensor]:
        try:
            return load(self.weights)
        except Exception as error:
            raise PluginError(f"{where}: its weights cannot be read ({type(error).__name__}: {error})") from None


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PluginError(f"{where}: {path.name} cannot be read ({type(error).__name__}: {error})") from None
    return value if isinstance(value, dict) else {}


def _only(use: str, spec: Mapping[str, Any], section: str, kind: str, where: str) -> tuple[str, dict[str, Any]]:
    """Name and options of the one component of this name."""
    named = {name: (given or {}).get(kind) or {} for name, given in (spec.get(section) or {}).items()}
    found = [(name, options) for name, options in named.items() if str(options.get("use")).rpartition("/")[2] == use]
    if len(found) != 1:
        others = ", ".join(sorted(str(options["use"]) for options in named.values() if options.get("use"))) or "none"
        count = f"{len(found)} of them" if found else f"no {kind} {use}"
        raise PluginError(f"{where} has {count} (it has: {others}); {_WANTED}")
    name, options = found[0]
    return name, {option: value for option, value in options.items() if option != "use"}


def _starts(section: str, node: str, part: str) -> dict[str, str]:
    """How the names of a node's weights may begin in a saved model (with a stroke, where torch keeps the name to itself)."""
    return {f"{section}.{node}.": part, f"{section}.{node}/.": part}
