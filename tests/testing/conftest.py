"""A small plugin that is gold, and ways to break it in one respect."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.discovery.loader import discover
from mmkit.registry.component import Component
from mmkit.testing.worker import renew

PLUGIN = """
from mmkit import Component, hookimpl

@hookimpl
def mmkit_components():
    return [Component(kind="encoder", name="pulse", summary="A pulse in patches of four.", modality="pulse",
                      builder="plug_pulse_encoder:build", config="plug_pulse_config:PulseConfig",
                      cases="plug_pulse_encoder:cases")]
"""
CONFIG = '''
from pydantic import Field
from mmkit import Config

class PulseConfig(Config):
    """Options of ``pulse``."""

    dim: int = Field(8, gt=0, description="Width of a row.")
'''
ENCODER = '''
import torch
from torch import nn
from mmkit import Encoder, Processor, Ragged, SampleError
from mmkit.testing import Case

KEPT = []

class PulseProcessor(Processor):
    """Numbers, four a row."""

    strings_are_paths = False
    deterministic = True

    def __call__(self, raw):
        if not isinstance(raw, list) or not raw or not all(isinstance(value, float) for value in raw):
            raise SampleError(f"wanted a list of numbers, got {type(raw).__name__}")
        rows = torch.tensor(raw)
        return {"rows": nn.functional.pad(rows, (0, -len(raw) % 4)).view(-1, 4)}

    def example(self):
        return "pulse of eight numbers", [0.5] * 8

    def num_features(self, item):
        return item["rows"].shape[0]

    def collate(self, items):
        return {"rows": Ragged.of([item["rows"] for item in items])}


class Pulse(Encoder):
    """One layer a row."""

    def __init__(self, dim):
        super().__init__()
        self.feature_dim = dim
        self.layer = nn.Linear(4, dim)

    def processor(self):
        return PulseProcessor()

    def forward(self, batch):
        rows = batch["rows"]
        return rows.replace(self.layer(rows.values))


def build(context, *, dim):
    return Pulse(dim)


def cases():
    raws = ([0.5, 1.0, -1.0], [float(n) for n in range(17)], [0.25] * 8)
    return [Case(raws=raws, bad=([], ["a"], "0.5"))]
'''


@pytest.fixture
def pulse(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Component]:
    """Installs the plugin, each ``before → after`` replaced in its code; gives its component."""

    def make(changes: dict[str, str] | None = None) -> Component:
        parts = {"pulse": PLUGIN, "config": CONFIG, "encoder": ENCODER}
        for before, after in (changes or {}).items():
            assert any(before in code for code in parts.values()), before
            parts = {name: code.replace(before, after) for name, code in parts.items()}
        site = install("pulse", parts["pulse"])
        (site / "plug_pulse_config.py").write_text(parts["config"])
        (site / "plug_pulse_encoder.py").write_text(parts["encoder"])
        renew()  # the worker may have modules of another test's plugin
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
        return discover().find(("encoder",), "pulse")

    return make
