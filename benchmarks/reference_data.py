"""The reference load: its rows, its model as a spec and as configurations of transformers, and what its products cost."""

import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from benchmarks.reference_plugin import PICTURES, PLACES, WIDTH

LAYERS, HEADS, BATCH, SIDE = 8, 6, 8, 112


def llama(vocabulary: int) -> dict[str, Any]:
    """25 million parameters with a vocabulary of 16k."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def clip() -> dict[str, Any]:
    """A small tower: pictures of 112 × 112 in 49 patches, 6 layers of width 192 (2.8 million parameters)."""
    shape = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 3}
    return {**shape, "image_size": SIDE, "patch_size": 16}


@dataclass(frozen=True)
class Load:
    """Rows with 0 to 2 pictures, a prompt and an answer of equal length on average.

    Attributes:
        median: of the log-normal text length, 16 to ``longest``. encoder: pictures pass a real tower, else their
            features are known.
    """

    folder: Path
    median: int = 90
    vocabulary: int = 16_384
    encoder: bool = False
    count: int = 1600

    @property
    def longest(self) -> int:
        """512 at the median of 90."""
        return self.median * 512 // 90

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """``pictures`` (numbers), ``prompt`` and ``answer`` (ids)."""
        draw = random.Random(0)
        made = []
        for _ in range(self.count):
            length = min(self.longest, max(16, round(self.median * draw.lognormvariate(0.0, 0.87))))
            ids = [draw.randrange(3, self.vocabulary) for _ in range(length)]
            shown = [draw.randrange(PICTURES) for _ in range(draw.randrange(3))]
            made.append({"pictures": shown, "prompt": ids[: length // 2], "answer": ids[length // 2 :]})
        return made

    def tokens(self, row: dict[str, Any]) -> int:
        """Useful tokens: places of pictures, ids of prompt and answer, and the end."""
        return PLACES * len(row["pictures"]) + len(row["prompt"]) + len(row["answer"]) + 1

    def write(self) -> None:
        """The rows: in one file, or for pictures that are files in one for each number of pictures."""
        if not self.encoder:
            _write(self.folder / "rows.jsonl", self.rows)
            return
        for shown in range(3):
            chosen = [row for row in self.rows if len(row["pictures"]) == shown]
            files = [{f"p{at}": f"{n}.png" for at, n in enumerate(row["pictures"])} for row in chosen]
            _write(self.folder / f"{shown}.jsonl", [{**row, **named} for row, named in zip(chosen, files, strict=True)])
        for number in range(PICTURES):
            pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.folder / f"{number}.png")

    def spec(self, steps: int, **train: Any) -> dict[str, Any]:
        """One task; with files one for each number of pictures, which decode together."""
        parts = self._towers() if self.encoder else self._known()
        stage = {"name": "all", "steps": steps, "batch_size": BATCH}
        return {
            "mmkit": 1,
            "modalities": {"text": {"adapter": {"use": "ids", "size": self.vocabulary}}, "pictures": parts[0]},
            "backbone": {"use": "causal-lm", "config": {"model_type": "llama", **llama(self.vocabulary)}},
            "tasks": parts[1],
            "data": {"train": parts[2]},
            "train": {"stages": [stage], "log_every": 1, "trackers": [], "cache": "never", **train},
        }

    def _known(self) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        task = _task("{pictures}{prompt}")
        return {"encoder": "known-features"}, {"write": task}, [_source("write", self.folder / "rows.jsonl")]

    def _towers(self) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        tower = {"use": "hf-vision", "config": {"model_type": "clip_vision_model", **clip()}}
        tasks = {}
        for shown in range(3):
            columns = [f"p{at}" for at in range(shown)]
            template = "".join(f"{{{column}}}" for column in columns) + "{prompt}"
            tasks[f"write{shown}"] = _task(template, **dict.fromkeys(columns, "pictures"))
        sources = [_source(f"write{shown}", self.folder / f"{shown}.jsonl") for shown in range(3)]
        return {"encoder": tower, "adapter": "mlp"}, tasks, sources

    def flop(self) -> tuple[float, float]:
        """Of the products of a step, for a useful token of the average row: 6 a parameter and token (the issue's floor),
        and with the output layer at targets only, which is all that must be computed. Attention is left out."""
        tokens = sum(map(self.tokens, self.rows))
        targets = sum(len(row["answer"]) + 1 for row in self.rows)
        places = sum(PLACES * len(row["pictures"]) for row in self.rows)
        blocks = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * 4 * WIDTH)
        tower = 6 * 12 * 192 * 192 + 192 * WIDTH + WIDTH * WIDTH + 16 * 16 * 3 * 192 if self.encoder else 0
        pictures, table = tower * places / tokens, self.vocabulary * WIDTH
        return 6.0 * (blocks + table + pictures), 6.0 * (blocks + table * targets / tokens + pictures)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _task(template: str, **columns: str) -> dict[str, Any]:
    named = {"prompt": "text", "answer": "text", **columns}
    return {"input": template, "output": "{answer}", "head": "generate", "columns": named}


def _source(task: str, path: Path) -> dict[str, Any]:
    return {"task": task, "path": str(path)}


def product(dtype: torch.dtype = torch.float32) -> tuple[Any, float]:
    """A product with the shape of the load's widest layer, and its FLOP."""
    left, right = torch.randn(1408, WIDTH, dtype=dtype), torch.randn(4 * WIDTH, WIDTH, dtype=dtype)
    return lambda: functional.linear(left, right), 2.0 * left.numel() * right.shape[0]
