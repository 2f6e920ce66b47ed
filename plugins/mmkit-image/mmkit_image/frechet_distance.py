"""How far generated pictures as a whole are from real ones (Heusel et al. 2017), in the features of a local encoder."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import BuildContext, Encoder, PluginError, load
from mmkit_image.config import HfVisionConfig, TimmConfig
from mmkit_image.hf_vision import build as build_hf_vision
from mmkit_image.image_quality import picture
from mmkit_image.timm_encoder import build as build_timm

Features = Float[Tensor, "pictures dim"]


class FrechetDistance:
    """``frechet_distance``: between two Gaussians, fitted to the features of predictions and of references; 0 for equal ones.

    A picture's features are the mean of its encoder's rows. The figure is FID only with the Inception network that FID is
    defined with: compare figures of one encoder, and of as many pictures, since few pictures make it larger.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        self.encoder, self.batch_size = encoder, batch_size
        self.predicted: list[Features] = []
        self.referred: list[Features] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch of pictures in any form.

        Raises:
            PluginError: a value is no picture.
        """
        self.predicted.append(self._features([picture("frechet-distance", one, "prediction") for one in predictions]))
        self.referred.append(self._features([picture("frechet-distance", one, "reference") for one in references]))

    @torch.no_grad()
    def _features(self, pictures: Sequence[Any]) -> Features:
        processor = self.encoder.processor()
        device = next(self.encoder.parameters()).device
        rows = [torch.zeros(0, self.encoder.feature_dim)]
        for start in range(0, len(pictures), self.batch_size):
            batch = processor.collate([processor(one) for one in pictures[start : start + self.batch_size]])
            moved = {name: value if name.endswith("lengths") else value.to(device) for name, value in batch.items()}
            with torch.autocast(device.type, enabled=False):
                features = self.encoder(moved)
            rows.append(torch.stack([item.float().mean(0).cpu() for item in features.split()]))
        return torch.cat(rows)

    def compute(self) -> dict[str, float]:
        """The figure; empty where there are not two pictures at least."""
        predicted, referred = (
            torch.cat(self.predicted or [torch.zeros(0)]),
            torch.cat(self.referred or [torch.zeros(0)]),
        )
        if len(predicted) < 2:
            return {}
        return {"frechet_distance": frechet(predicted, referred)}


def frechet(one: Float[Tensor, "one dim"], other: Float[Tensor, "other dim"]) -> float:
    """|m₁ − m₂|² + tr(S₁ + S₂ − 2 (S₁ S₂)^½) of two samples' means and covariances (Dowson & Landau 1982).

    tr (S₁ S₂)^½ is taken as the sum of the roots of the eigenvalues of S₁^½ S₂ S₁^½, which is symmetric.
    """
    one, other = one.double(), other.double()
    first, second = (torch.atleast_2d(sample.T.cov()) for sample in (one, other))
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    distance = (one.mean(0) - other.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross
    return max(0.0, float(distance))


@lru_cache(maxsize=2)
def _of_model(folder: Path, node: str, device: str, written: int) -> Encoder:
    nodes: Mapping[str, Any] = load(folder, device=device).eval().nodes()
    encoders = {name: module for name, module in nodes.items() if isinstance(module, Encoder)}
    if node not in encoders:
        close = get_close_matches(node, encoders, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(encoders) or 'none'}"
        raise PluginError(f"metric 'frechet-distance': the model in {folder} has no encoder {node!r}: {hint}")
    return encoders[node]


def build(
    context: BuildContext,
    *,
    model: Path | None,
    node: str,
    path: Path | None,
    timm: str | None,
    weights: Path | None,
    batch_size: int,
) -> FrechetDistance:
    """With an encoder from local files, on a GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder: Encoder
    if model is not None:
        manifest = model / "manifest.json"
        written = manifest.stat().st_mtime_ns if manifest.is_file() else 0
        encoder = _of_model(model, node, device, written)
    elif path is not None:
        encoder = build_hf_vision(BuildContext(), **vars(HfVisionConfig(path=path)))
    else:
        encoder = build_timm(BuildContext(), **vars(TimmConfig(model=str(timm), weights=weights, features="pooled")))
    return FrechetDistance(encoder.to(device).eval(), batch_size)
