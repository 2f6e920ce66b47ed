"""A component that does not keep its promise is named, before its rows are laid into the stream."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

CODE = """
import torch
from torch import nn
from mmkit import *

class Numbers(Processor):
    strings_are_paths = False
    def __init__(self, fault):
        self.fault = fault
    def __call__(self, raw):
        if self.fault == "crash":
            raise ZeroDivisionError("oh no")
        return {"values": torch.tensor(raw, dtype=torch.float32)[:, None]}
    def num_features(self, item):
        return len(item["values"]) + {"more": 1, "fewer": -1}.get(self.fault, 0)
    def collate(self, items):
        return {"values": Ragged.of([item["values"] for item in items])}

class Ecg(Encoder):
    feature_dim = 1
    def __init__(self, fault):
        super().__init__()
        self.fault = fault
    def processor(self):
        return Numbers(self.fault)
    def forward(self, batch):
        rows = batch["values"]
        if self.fault == "lost":
            return rows.select(range(len(rows) - 1))
        if self.fault == "wide":
            return rows.replace(rows.values.expand(-1, 3))
        if self.fault == "flat":
            return rows.replace(rows.values[:, 0])
        if self.fault == "swapped" and len(rows) > 1:
            return rows.select([1, 0, *range(2, len(rows))])
        return rows

class Half(SoftAdapter):
    def __init__(self, out_dim, fault):
        super().__init__()
        self.out_dim, self.fault, self.layer = out_dim, fault, nn.Linear(1, out_dim)
    def num_tokens(self, num_features):
        if self.fault == "crash":
            raise KeyError("tokens")
        return num_features + (1 if self.fault == "more" else 0)
    def forward(self, features):
        tokens = features.replace(self.layer(features.values))
        return Ragged(tokens.values[:-1], tokens.lengths - torch.eye(len(tokens), dtype=torch.int64)[-1]) if self.fault == "fewer" else tokens

class Short(Backbone):
    def __init__(self, rows, fault):
        super().__init__()
        self.token_dim = self.hidden_dim = 4
        self.fault, self.table = fault, nn.Embedding(max(rows, 1), 4)
    def embed(self, ids):
        return self.table(ids)
    def forward(self, prompt, target=None):
        if self.fault == "wide":
            return prompt.replace(prompt.values.repeat(1, 2))
        return Ragged(prompt.values[1:], prompt.lengths - torch.eye(len(prompt), dtype=torch.int64)[0])

class Odd(TaskHead):
    def __init__(self, fault):
        super().__init__()
    def target(self, raw):
        raise IndexError("label")
    def loss(self, features, targets):
        return Loss(features[0].values.sum(), len(targets))
    def predict(self, features):
        return [0 for _ in range(len(features[0]))]
    def metrics(self):
        return []

class FaultConfig(Config):
    fault: str = ""

def ecg(context, *, fault):
    if fault == "unbuildable":
        raise ArithmeticError("cannot be")
    return nn.Linear(1, 1) if fault == "another" else Ecg(fault)

def half(context, *, fault):
    return Half(context.out_dim, fault)

def short(context, *, fault):
    return Short(context.vocabulary_size, fault)

def odd(context, *, fault):
    return Odd(fault)

@hookimpl
def mmkit_components():
    kinds = {"ecg": "encoder", "half": "adapter", "short": "backbone", "odd": "head"}
    return [Component(kind, name, "For tests.", f"plug_liar:{name}", "plug_liar:FaultConfig", modality="ecg") for name, kind in kinds.items()]
"""
ROWS = [{"ecg": [0.1, 0.2, 0.3], "label": "x"}, {"ecg": [0.4, 0.5], "label": "y"}]


@pytest.fixture
def spec(install: Callable[..., Path], write_rows: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    install("liar", CODE)
    source = {"task": "beat", "path": str(write_rows(ROWS))}

    def make(**faults: str) -> dict[str, Any]:
        def use(name: str, key: str) -> dict[str, Any]:
            return {"use": f"liar/{name}", "fault": faults.get(key, "")}

        backbone = {"use": "lstm", "embedding_dim": 4, "hidden_dim": 4}
        return {
            "mmkit": 1,
            "modalities": {"ecg": {"encoder": use("ecg", "encoder"), "adapter": use("half", "adapter")}},
            "backbone": use("short", "backbone") if "backbone" in faults else backbone,
            "tasks": {
                "beat": {
                    "input": "{ecg}",
                    "output": "{label}",
                    "head": use("odd", "head") if "head" in faults else {"use": "classify", "labels": ["x", "y"]},
                }
            },
            "data": {"train": [source], "test": [source]},
            "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 2}]},
        }

    return make


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(mmkit.PluginError) as caught:
        call()
    return str(caught.value)


LIES = [
    ({"encoder": "more"}, "liar/ecg breaks its contract: item 0 was promised 4 features and has 3"),
    ({"encoder": "fewer"}, "liar/ecg breaks its contract: item 0 was promised 2 features and has 3"),
    ({"encoder": "lost"}, "liar/ecg breaks its contract: it was given 2 items and returned 1"),
    ({"encoder": "swapped"}, "liar/ecg breaks its contract: item 0 was promised 3 features and has 2"),
    ({"encoder": "wide"}, "liar/ecg breaks its contract: its features have the shape [5, 3], promised was a width of 1"),
    ({"encoder": "flat"}, "liar/ecg breaks its contract: its features have the shape [5], promised was a width of 1"),
    ({"adapter": "more"}, "liar/half breaks its contract: item 0 was promised 4 tokens and has 3"),
    ({"adapter": "fewer"}, "liar/half breaks its contract: item 1 was promised 2 tokens and has 1"),
    ({"backbone": "lost"}, "liar/short breaks its contract: item 0 was promised 3 states and has 2"),
    ({"backbone": "wide"}, "liar/short breaks its contract: its states have the shape [5, 8], promised was a width of 4"),
]  # fmt: skip


@pytest.mark.parametrize(("faults", "message"), LIES, ids=[str(faults) for faults, _ in LIES])
def test_a_broken_promise_names_the_component(
    spec: Any, train: Any, tmp_path: Path, faults: dict[str, str], message: str
) -> None:
    given = spec(**faults)
    model = mmkit.build(given)
    assert refusal(lambda: model.predict("beat", ROWS)) == message
    assert refusal(lambda: mmkit.evaluate(model)) == message
    assert not (tmp_path / "model").exists()


def test_a_broken_promise_stops_training_and_nothing_is_saved(spec: Any, train: Any, tmp_path: Path) -> None:
    said = refusal(lambda: train(spec(encoder="lost")))
    assert said == "liar/ecg breaks its contract: it was given 2 items and returned 1"
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_kept_promises_are_no_fault(spec: Any, train: Any) -> None:
    assert len(mmkit.evaluate(train(spec()))["beat"].predictions) == 2


def test_a_component_that_crashes_on_a_row_is_named_with_the_column(spec: Any) -> None:
    def said(**faults: str) -> str:
        model = mmkit.build(spec(**faults))
        return refusal(lambda: model.predict("beat", ROWS))

    column = "failed on column 'ecg'"
    assert said(encoder="crash") == f"liar/ecg with liar/half {column}: ZeroDivisionError: oh no"
    assert said(adapter="crash") == f"liar/ecg with liar/half {column}: KeyError: 'tokens'"


def test_a_component_that_crashes_on_a_row_stops_the_run_with_the_address(
    spec: Any, train: Any, tmp_path: Path
) -> None:
    said = refusal(lambda: train(spec(head="x")))
    path, reason = tmp_path / "rows.jsonl", "liar/odd failed on column 'label': IndexError: label"
    assert said in [f"{path}:{row}: {reason}" for row in (1, 2)]


def test_a_builder_that_fails_or_builds_another_thing_is_named(spec: Any) -> None:
    said = refusal(lambda: mmkit.build(spec(encoder="unbuildable")))
    assert said == "liar/ecg at modalities.ecg.encoder could not be built: ArithmeticError: cannot be"
    said = refusal(lambda: mmkit.check(spec(encoder="another")))
    assert said == "liar/ecg: builder gave a Linear, wanted a mmkit.Encoder"
