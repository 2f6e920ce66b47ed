"""The reference load of the engine's benchmarks: one language model, mixed lengths, 0–2 pictures a sample.

A Llama of 25 million parameters (8 layers, width 384, vocabulary 16k, tied) reads precomputed picture features and a
prompt and learns the answer. Texts are log-normal from 16 to 512 ids (median 90), the first half of each is the
prompt; every picture is 49 features of width 384. Eight samples hold about 1,400 tokens; padded, half are padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmkit import Batch, BuildContext, Component, Encoder, Item, Model, Processor, Ragged, VocabularyAdapter, build
from mmkit.discovery.loader import discover
from mmkit.model.batch import PackedBatch, pack
from mmkit.registry.registry import PluginReport, Registry

WIDTH, ROWS, PICTURE = 384, 16_384, 49
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": ROWS,
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


class Ids(VocabularyAdapter):
    """Ids as they are."""

    begin_id, end_id = 1, 2

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, raw: Any) -> list[int]:
        """The list itself."""
        return list(raw)

    def decode(self, ids: Sequence[int]) -> list[int]:
        """The list itself."""
        return list(ids)


class Pictures(Processor):
    """All pictures of a sample as one item: Float["pictures 49 width"] → Float["features width"]."""

    def __call__(self, raw: Any) -> Item:
        """Pictures end to end."""
        return {"features": raw.flatten(0, 1)}

    def num_features(self, item: Item) -> int:
        """49 a picture."""
        return item["features"].shape[0]

    def collate(self, items: Sequence[Item]) -> Batch:
        """Packed."""
        return {"features": Ragged.of([item["features"] for item in items])}


class Features(Encoder):
    """Features that are known already."""

    feature_dim = WIDTH

    def processor(self) -> Processor:
        """Those of ``Pictures``."""
        return Pictures()

    def forward(self, batch: Batch) -> Ragged:
        """As they are."""
        features = batch["features"]
        assert isinstance(features, Ragged)
        return features


def build_features(context: BuildContext) -> Features:
    """Builder of the component."""
    return Features()


def build_ids(context: BuildContext) -> Ids:
    """Builder of the component."""
    return Ids(ROWS)


def registry() -> Registry:
    """What is installed, and this module's two components."""
    here = {"config": "mmkit:Config", "plugin": "reference"}
    features = Component("encoder", "features", "Known features.", f"{__name__}:build_features", **here)
    ids = Component("vocabulary", "ids", "Known ids.", f"{__name__}:build_ids", **here)
    return Registry([*discover().reports, PluginReport("reference", "mmkit", "0", "loaded", (features, ids))])


def spec(backbone: dict[str, Any] | None = None, **head: Any) -> dict[str, Any]:
    """The load's model, over another backbone if one is given."""
    written = {"input": "{pictures}{prompt}", "output": "{answer}", "head": {"use": "generate", **head}}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "ids"}}, "pictures": {"encoder": {"use": "features"}}},
        "backbone": backbone or {"use": "causal-lm", "config": LLAMA},
        "tasks": {"write": {**written, "columns": {"prompt": "text", "answer": "text"}}},
    }


def model(backbone: dict[str, Any] | None = None, **head: Any) -> Model:
    """The load's model, in training mode."""
    return build(spec(backbone, **head), registry=registry()).train()


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of data: ``pictures`` Float["pictures 49 width"], ``prompt`` and ``answer`` (lists of ids)."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randn(count, generator=generator).mul(0.867).exp().mul(90.5).clamp(16, 512).long()
    pictures = torch.randint(0, 3, (count,), generator=generator)
    found = []
    for length, shown in zip(lengths.tolist(), pictures.tolist(), strict=True):
        ids = torch.randint(3, ROWS, (length,), generator=generator).tolist()
        features = torch.randn(shown, PICTURE, WIDTH, generator=generator)
        found.append({"pictures": features, "prompt": ids[: length // 2], "answer": ids[length // 2 :]})
    return found


def batches(built: Model, count: int, size: int = 8, seed: int = 0) -> list[PackedBatch]:
    """Packed batches of prepared rows."""
    prepare, processors = built.preparer(), built.processors()
    samples = [prepare("write", row) for row in rows(count * size, seed)]
    return [pack(samples[at : at + size], processors, ["write"]) for at in range(0, len(samples), size)]


@dataclass(frozen=True)
class Work:
    """What a batch asks of the matrix products: tokens read (streams and teacher-forced targets), and targets."""

    tokens: int
    targets: int

    @classmethod
    def of(cls, batch: PackedBatch) -> "Work":
        """Count a batch."""
        targets = sum(sum(target.sizes) for target in batch.targets.values())
        return cls(int(batch.stream_lengths.sum()) + targets, targets)

    def flop(self, built: Model) -> int:
        """6 for every parameter and token (forward and backward, attention left out): the blocks at all tokens, the
        output layer at targets only."""
        blocks = sum(p.numel() for p in built.parameters() if p.dim() == 2) - ROWS * WIDTH
        return 6 * (blocks * self.tokens + ROWS * WIDTH * self.targets)


def sgemm_rate(dtype: torch.dtype = torch.float32, rounds: int = 5) -> float:
    """FLOP/s of a product with the shape of the load's widest layer, the best of some."""
    from time import process_time as perf_counter

    left, right = torch.randn(1408, WIDTH, dtype=dtype), torch.randn(4 * WIDTH, WIDTH, dtype=dtype)
    best = float("inf")
    for _ in range(rounds):
        started = perf_counter()
        functional.linear(left, right)
        best = min(best, perf_counter() - started)
    return 2.0 * left.numel() * right.shape[0] / best


def parameters(built: Model) -> list[Tensor]:
    """What trains."""
    return [p for p in built.parameters() if p.requires_grad]
