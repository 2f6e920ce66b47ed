"""A small model with a task for every route. Most of it is not trained; what it says is compared with what it says alone."""

from typing import Any

import mmkit

SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "text": {"adapter": {"use": "words", "vocab_size": 60}},
        "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 8]}, "adapter": "linear"},
        "audio": {"encoder": {"use": "log-mel", "n_mels": 16}, "adapter": "linear"},
        "words": {"encoder": {"use": "gru", "vocabulary": {"use": "characters"}, "embedding_dim": 8, "hidden_dim": 8}},
        "picture": {"adapter": {"use": "image-patches", "image_size": 16, "channels": 1}},
        "speech": {"adapter": {"use": "mel-frames", "n_mels": 16, "max_seconds": 0.5}},
    },
    "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "tasks": {
        "caption": {
            "input": "{image} Describe it.",
            "output": "{caption}",
            "columns": {"caption": "text"},
            "head": "generate",
        },
        "reply": {
            "input": "{question}",
            "output": "{answer}",
            "columns": {"question": "text", "answer": "text"},
            "head": {"use": "generate", "max_new_tokens": 12},
        },
        "hear": {"input": "{audio}", "output": "{heard}", "columns": {"heard": "text"}, "head": "generate"},
        "shape": {
            "input": "{image}",
            "output": "{shape}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["dot", "line"]},
        },
        "draw": {
            "input": "{word}",
            "output": "{picture}",
            "columns": {"word": "text"},
            "head": {"use": "flow", "dim": 16, "layers": 1, "heads": 2, "steps": 2},
        },
        "speak": {
            "input": "{word}",
            "output": "{speech}",
            "columns": {"word": "text"},
            "head": {"use": "flow", "dim": 16, "layers": 1, "heads": 2, "steps": 2},
        },
        "match": {
            "input": "{image} {words}",
            "reads": ["image.encoder", "words.encoder"],
            "head": {"use": "contrastive", "dim": 8},
        },
    },
}
TEXTS = ["a red dot on a blue line", "what is it", "describe it.", "one two three four five six seven eight"]


def small() -> mmkit.Model:
    """The model; the same at every call."""
    import torch

    torch.manual_seed(0)
    return mmkit.build(
        SPEC, fit={"text": TEXTS, "words": TEXTS, "speech": [{"array": _tone(), "sampling_rate": 16_000}]}
    ).eval()


def _tone() -> Any:
    import numpy as np

    return np.sin(np.arange(8000) / 20).astype(np.float32)
