"""Every head in a whole model: train, evaluate, save, load, predict."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mmkit

ROWS = [
    {"text": "one red cat", "word": "red cat", "number": 1.0, "tags": ["cat"], "key": "c"},
    {"text": "two blue dogs", "word": "blue dogs", "number": 2.0, "tags": ["dog"], "key": "d"},
    {"text": "three cats and dogs", "word": "cats dogs", "number": 3.0, "tags": ["cat", "dog"], "key": "e"},
    {"text": "four stones", "word": "stones", "number": 4.0, "tags": [], "key": "f"},
]
HEADS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "generate": ({"output": "{word}", "head": {"use": "generate", "max_new_tokens": 4}}, {"exact": 1.0, "chrf": 100.0}),
    "ctc": (
        {"output": "{word}", "head": {"use": "ctc", "rnn_layers": 1, "rnn_dim": 16}},
        {"wer": 0.0, "cer": 0.0},
    ),
    "regress": (
        {"output": "{number}", "head": {"use": "regress", "mean": 2.5, "std": 1.1, "pool": "last"}},
        {"mae": 0.0, "rmse": 0.0, "pearson": 1.0},
    ),
    "tags": (
        {"output": "{tags}", "head": {"use": "classify", "labels": ["cat", "dog"], "multi_label": True}},
        {"accuracy": 1.0, "f1": 1.0, "auroc": 1.0},
    ),
    "contrastive": (
        {"output": "{key}", "reads": ["backbone", "second"], "head": {"use": "contrastive", "dim": 8}},
        {"recall@1_a2b": 1.0, "recall@1_b2a": 1.0},
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_head_fits_its_rows_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    task, expected = HEADS[name]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    source = {"task": "it", "path": str(tmp_path / "rows.jsonl")}
    lstm = {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16}
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 40}}},
        "backbone": lstm,
        "nodes": {
            "second": {"backbone": lstm, "reads": [{"node": "backbone", "adapter": {"use": "mlp", "hidden": 8}}]}
        },
        "tasks": {"it": {"input": "{text}", **task}},
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 120, "batch_size": 4, "lr": 0.02}]},
    }
    if name != "contrastive":
        del spec["nodes"]
    model = mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    metrics = mmkit.evaluate(model)["it"].metrics
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=0.1)
    again = mmkit.load(tmp_path / "model", verify=True)
    rows = [{"text": row["text"]} for row in ROWS]
    together = model.predict("it", rows)
    assert again.predict("it", rows) == together
    if name in ("generate", "ctc"):
        assert [model.predict("it", row) for row in rows] == together


def test_listing_the_plugin_imports_no_torch() -> None:
    code = (
        "import sys, mmkit_tasks.plugin as p, mmkit_tasks.config, mmkit_tasks.adapter_config; "
        "print(sorted(c.name for c in p.mmkit_components()), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names = ["classify", "codebook-use", "contrastive", "ctc", "flow", "generate", "judged", "linear", "mlp", "pool"]
    names += ["regress", "resampler", "stack"]
    assert out.strip() == f"{names} False"
