"""Contrastive learning of two nodes: CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023) losses."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, Padded, PluginError, Ragged, SampleError, TaskHead
from mmkit_tasks.pooling import pool_items
from mmkit_tasks.retrieval import Recall

MAX_LOG_SCALE = math.log(100.0)


class Contrastive(TaskHead):
    """Brings both nodes of a sample together and those of different samples apart.

    An output column is not needed. With one, it is an identity key: samples with equal keys (two captions of one
    picture) are not negatives of each other. The loss sees the samples of one forward pass: accumulated passes
    are not negatives of each other.
    """

    reads_count = 2
    couples_samples = True
    embeds = True

    def __init__(
        self, dims: tuple[int, int], dim: int | None, how: str, sigmoid: bool, temperature: float, dropout: float
    ) -> None:
        super().__init__()
        self.how, self.sigmoid = how, sigmoid
        self.dropout = nn.Dropout(dropout)
        self.project_a = nn.Linear(dims[0], dim, bias=False) if dim else nn.Identity()
        self.project_b = nn.Linear(dims[1], dim, bias=False) if dim else nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if sigmoid else None

    def target(self, raw: Any) -> Int[Tensor, " 1"]:
        """A 64-bit hash of the key.

        Raises:
            SampleError: the key is neither text nor an integer.
        """
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            raise SampleError(f"the key of a contrastive task is text or an integer, got {type(raw).__name__}")
        digest = hashlib.blake2b(f"{type(raw).__name__}:{raw}".encode(), digest_size=8).digest()
        return torch.tensor([int.from_bytes(digest, "little", signed=True)])

    def embed(self, features: Sequence[Ragged]) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "n dim"]]:
        """Both nodes of every sample in the shared space, normalised, in float32.

        Raises:
            SampleError: a sample lacks one of the two.
        """
        for place, node in zip(("first", "second"), features, strict=True):
            for index, size in enumerate(() if isinstance(node, Padded) else node.sizes):
                if size == 0:
                    raise SampleError(
                        f"head 'contrastive': sample {index} of its batch has no features from the {place} node of "
                        "reads; both columns of every row must be there and not be empty"
                    )
        sides = zip(features, (self.project_a, self.project_b), strict=True)
        a, b = (project(self.dropout(pool_items(node, self.how))).float() for node, project in sides)
        return functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples."""
        if self.training and torch.is_grad_enabled():
            with torch.no_grad():  # as CLIP: the temperature never falls under 1/100
                self.log_scale.clamp_(max=MAX_LOG_SCALE)
        a, b = self.embed(features)
        with torch.autocast(a.device.type, enabled=False):  # in bfloat16 a logit near 100 would be rounded to 0.5
            logits = a @ b.T * self.log_scale.float().exp()
        same = _same(targets, len(a)).to(logits.device)
        if self.bias is not None:
            return Loss(self._pairwise(logits + self.bias.float(), same), len(a))
        logits = logits.masked_fill(same, float("-inf"))
        places = torch.arange(len(a), device=logits.device)
        rows = functional.cross_entropy(logits, places, reduction="sum")
        columns = functional.cross_entropy(logits.T, places, reduction="sum")
        return Loss((rows + columns) / 2, len(a))

    @staticmethod
    def _pairwise(logits: Float[Tensor, "n n"], same: Bool[Tensor, "n n"]) -> Float[Tensor, ""]:
        signs = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -functional.logsigmoid(signs * logits).masked_fill(same, 0.0).sum()

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """``{"a": […], "b": […]}``: the normalised embeddings of each sample's two nodes."""
        a, b = self.embed(features)
        return [{"a": x, "b": y} for x, y in zip(a.cpu().tolist(), b.cpu().tolist(), strict=True)]

    def embed_one(self, place: int, features: Ragged) -> Float[Tensor, "items dim"]:
        """The normalised embeddings of one of the two nodes.

        Raises:
            SampleError: an item is empty.
        """
        if not isinstance(features, Padded) and 0 in features.sizes:
            raise SampleError("there is nothing to embed: the value gives no features")
        project = (self.project_a, self.project_b)[place]
        return functional.normalize(project(self.dropout(pool_items(features, self.how))).float(), dim=-1)

    def answer_schema(self) -> Mapping[str, Any]:
        """Two lists of numbers."""
        numbers = {"type": "array", "items": {"type": "number"}}
        return {"type": "object", "properties": {"a": numbers, "b": numbers}, "required": ["a", "b"]}

    def outputs(self, features: Sequence[Ragged]) -> dict[str, Tensor | Ragged]:
        """``a`` and ``b``: Float["items dim"], the normalised embeddings of each sample's two nodes."""
        a, b = self.embed(features)
        return {"a": a, "b": b}

    def metrics(self) -> list[Metric]:
        """Recall at 1, 5 and 10 in both directions."""
        return [Recall()]


def _same(targets: Ragged, count: int) -> Bool[Tensor, "n n"]:
    """Off the diagonal: pairs with equal keys. Without keys there are none."""
    if targets.values.shape[0] == 0:
        return torch.zeros(count, count, dtype=torch.bool)
    equal = targets.values[:, None] == targets.values[None, :]
    return equal & ~torch.eye(count, dtype=torch.bool, device=equal.device)


def build(
    context: BuildContext, *, loss: str, dim: int | None, pool: str, temperature: float | None, dropout: float
) -> Contrastive:
    """A contrastive head over two nodes."""
    first, second = context.dims
    if dim is None and first != second:
        raise PluginError(
            f"head 'contrastive': dim: null projects nothing, but the nodes are {first} and {second} wide; set dim"
        )
    sigmoid = loss == "sigmoid"
    start = temperature or (0.1 if sigmoid else 0.07)
    return Contrastive((first, second), dim, pool, sigmoid, start, dropout)
