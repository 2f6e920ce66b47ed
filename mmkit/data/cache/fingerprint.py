"""What tells one encoder's features, or one codec's ids, from another's: everything that can change a single bit of them."""

import hashlib
import inspect
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import xxhash
from packaging.requirements import InvalidRequirement, Requirement

from mmkit.discovery.loader import discover
from mmkit.interfaces import Encoder, HasAssets
from mmkit.model.model import Model
from mmkit.wiring.graph import Placed

FORMAT = 1


def facts_of(model: Model, modality: str, precision: str) -> dict[str, Any]:
    """Everything that decides an encoder's features, beside the content of the raw value: see ``facts``."""
    placed = model.plan.modalities[modality].encoder
    assert placed is not None
    encoder = model.parts.encoders[modality]
    kinds = (type(encoder), type(encoder.processor()))
    return facts(placed, encoder, kinds, model.device.type, precision, _weights(encoder))


def facts_of_codec(model: Model, modality: str) -> dict[str, Any]:
    """The same of a codec's ids; its weights are among its assets."""
    placed, codec = model.plan.modalities[modality].vocabulary, model.vocabularies[modality]
    assert placed is not None
    return facts(placed, codec, (type(codec),), "cpu", "fp32")


def facts(
    placed: Placed, component: object, kinds: Sequence[type], device: str, precision: str, weights: str = ""
) -> dict[str, Any]:
    """What can change a single bit of what a component makes of a content.

    Component, version, config; files it would save beside its weights (the processor's settings, a vocabulary); a
    digest of the weights and buffers with their types; its source files and the versions of what its plugin requires,
    since an upgrade changes results as well; device, precision and byte order.
    """
    report = next((r for r in discover().reports if r.name == placed.component.plugin), None)
    return {
        "format": FORMAT,
        "component": placed.component.full_name,
        "version": report.version if report else "?",
        "config": placed.config.model_dump(mode="json"),
        "assets": _assets(component),
        "weights": weights,
        "code": _code(kinds),
        "requires": _requires(report.distribution if report else ""),
        "torch": torch.__version__,
        "device": device,
        "precision": precision,
        "matmul": torch.get_float32_matmul_precision(),
        "byteorder": sys.byteorder,
    }


def fingerprint(facts: dict[str, Any]) -> str:
    """SHA-256 of the facts, hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _weights(encoder: Encoder) -> str:
    """XXH3-128 over names, types, shapes and numbers of all parameters and buffers."""
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        if raw.shape[0]:
            digest.update(raw.numpy().data)
    return digest.hexdigest()


def _assets(component: object) -> dict[str, str]:
    if not isinstance(component, HasAssets):
        return {}
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where) / "assets"
        folder.mkdir()
        component.save_assets(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _code(kinds: Sequence[type]) -> str:
    """SHA-256 of the Python files beside those of these classes."""
    folders = set()
    for kind in kinds:
        try:
            folders.add(Path(inspect.getfile(kind)).parent)
        except (TypeError, OSError):
            continue
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _requires(distribution: str) -> dict[str, str]:
    """Installed versions of what a distribution requires."""
    try:
        lines = metadata.requires(distribution) or [] if distribution else []
    except metadata.PackageNotFoundError:
        return {}
    versions = {}
    for line in lines:
        try:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                versions[requirement.name] = metadata.version(requirement.name)
        except (InvalidRequirement, metadata.PackageNotFoundError):
            continue
    return versions
