"""A plugin whose processor is random in every way that processors are: torch, NumPy and Python."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mmkit import Batch, BuildContext, Component, Config, Encoder, Item, Processor, Ragged, SampleError


class NoisyProcessor(Processor):
    """Numbers → the same numbers with noise."""

    strings_are_paths = False

    def __call__(self, raw: Any) -> Item:
        if not isinstance(raw, list):
            raise SampleError(f"a sensor gives a list, got {type(raw).__name__}")
        values = torch.tensor(raw, dtype=torch.float32)
        noise = torch.rand(len(raw)) + torch.from_numpy(np.random.rand(len(raw))).float() + random.random()
        return {"values": (values + noise)[:, None]}

    def num_features(self, item: Item) -> int:
        return len(item["values"])

    def collate(self, items: Sequence[Item]) -> Batch:
        return {"values": Ragged.of([item["values"] for item in items])}


class SensorEncoder(Encoder):
    """One row a number."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.feature_dim = dim
        self.linear = nn.Linear(1, dim)

    def processor(self) -> Processor:
        return NoisyProcessor()

    def forward(self, batch: Batch) -> Ragged:
        values = batch["values"]
        assert isinstance(values, Ragged)
        return values.replace(self.linear(values.values))


class SensorConfig(Config):
    """Width."""

    dim: int = 8


def build(context: BuildContext, *, dim: int) -> SensorEncoder:
    return SensorEncoder(dim)


COMPONENT = Component(
    "encoder", "noisy-sensor", "A test.", "noisy_sensor:build", "noisy_sensor:SensorConfig", "sensor", plugin="noisy"
)
