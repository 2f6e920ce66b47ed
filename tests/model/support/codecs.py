"""A plugin with codecs of small pictures and sounds, which are plain lists; what they are trained on, and how."""

from typing import Any

import torch

import mmkit
from mmkit.model.batch import PackedBatch, pack

CODE = """
import torch
from mmkit import *

class Empty(Config):
    pass

class Sound(Config):
    pattern: str = "flat"
    damaged: bool = False

class Tiles(Codec):
    layout, grid = CodeLayout(8, 1, 6, 6), (2, 3)
    def quantize(self, raw):
        return torch.tensor(raw)[:, None]
    def restore(self, codes):
        return codes[:, 0].tolist()

class Tones(Codec):
    frame_rate = 4.0
    def __init__(self, pattern, damaged):
        self.layout, self.damaged = CodeLayout(8, 2, 6, 0, pattern), damaged
    def quantize(self, raw):
        if not raw:
            raise SampleError("the sound is empty")
        return torch.tensor(raw) + self.damaged * 8
    def restore(self, codes):
        return [tuple(frame) for frame in codes.tolist()]

class Wild(VocabularyAdapter):
    size, begin_id, end_id = 5, 3, 4
    def encode(self, raw):
        return [7]
    def decode(self, ids):
        return list(ids)

def tiles(context): return Tiles()
def tones(context, pattern, damaged): return Tones(pattern, damaged)
def wild(context): return Wild()

@hookimpl
def mmkit_components():
    return [
        Component("vocabulary", name, "x", f"plug_codecs:{name}", f"plug_codecs:{config}", modality=name)
        for name, config in (("tiles", "Empty"), ("tones", "Sound"), ("wild", "Empty"))
    ]
"""
PICTURES = {"red": [0, 1, 2, 3, 4, 5], "blue": [7, 7, 6, 6, 5, 5], "dark": [0] * 6}
SOUNDS = {"red": [(1, 2), (3, 4)], "blue": [(5, 5)], "dark": [(0, 7), (1, 6), (2, 5), (3, 4), (4, 3), (5, 2)]}
ROWS = [{"text": name, "picture": PICTURES[name], "sound": SOUNDS[name]} for name in PICTURES]


def batch_of(model: mmkit.Model, tasks: list[str], rows: list[dict[str, Any]] = ROWS) -> PackedBatch:
    """All rows of all tasks, packed."""
    prepare = model.preparer()
    return pack([prepare(task, row) for task in tasks for row in rows], {}, tasks)


def learnt(model: mmkit.Model, tasks: list[str], steps: int = 150, rows: list[dict[str, Any]] = ROWS) -> mmkit.Model:
    """The model after some steps on these rows."""
    batch, optimizer = batch_of(model, tasks, rows), torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    return model.eval()
