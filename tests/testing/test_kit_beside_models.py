"""The kit on sources, metrics and callbacks: sound ones are gold, and each fault is found by the check that is there for it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.discovery.loader import discover
from mmkit.testing.check import MINIMUM
from mmkit.testing.runner import Outcome, conform

PLUGIN = '''
from mmkit import Component, Config, hookimpl
from pydantic import Field

class Options(Config):
    """Options."""

    number: int = Field(3, description="How many.")

def _component(kind, cases=""):
    return Component(kind, f"a-{kind}", f"A {kind}.", f"plug_beside_code:{kind}", "plug_beside:Options", cases=cases)

@hookimpl
def mmkit_components():
    return [_component("source"), _component("metric", "plug_beside_code:pairs"), _component("callback")]
'''
CODE = '''
from transformers import TrainerCallback
from mmkit.testing import Case

class Squares:
    """Numbers and their squares."""

    def __init__(self, number):
        self.number, self.at = number, 0

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        return {"n": index, "square": index**2}

class Mean:
    """Mean difference."""

    def __init__(self):
        self.sum, self.count = 0, 0

    def update(self, predictions, references):
        self.sum += sum(p - r for p, r in zip(predictions, references))
        self.count += len(predictions)

    def compute(self):
        return {"mean": self.sum / self.count}

class Watch(TrainerCallback):
    """Watches."""

def source(context, number):
    return Squares(number)

def metric(context, number):
    return Mean()

def callback(context, number):
    return Watch()

def pairs():
    return [Case(raws=[(1, 2), (3, 3), (8, 2)])]
'''
FAULTS = {
    "rows_have_the_same_columns": (
        "source",
        {'{"n": index, "square": index**2}': '{"n": 1} if index else {}'},
        "row 2 has columns ['n'], the first []",
    ),
    "rows_come_again": (
        "source",
        {'return {"n": index,': 'self.at += 1; return {"n": self.at,'},
        "the second reading gives other rows",
    ),
    "source_travels_to_workers": (
        "source",
        {"= number, 0": "= number, open('/dev/null')"},
        "TypeError: cannot pickle",
    ),
    "figures_are_named_numbers": ("metric", {'{"mean": self': '{"mean": None and self'}, "mean is None"),
    "figures_do_not_depend_on_batches": (
        "metric",
        {"self.sum += sum(p - r for": "self.sum = sum(p - r for"},
        "mean: 2.0, at once 1.6666666666666667",
    ),
    "builds_what_it_declares": (
        "callback",
        {"class Watch(TrainerCallback)": "class Watch(object)"},
        "the builder gave a Watch, wanted a TrainerCallback",
    ),
}


@pytest.fixture
def write(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write_code(code: str) -> None:
        site = install("beside", PLUGIN)
        (site / "plug_beside_code.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, sys.path)]))

    return write_code


def failures(kind: str) -> list[Outcome]:
    (score,) = conform("mmkit-beside", f"a-{kind}")
    return [outcome for outcome in score.outcomes if outcome.status == "failed"]


@pytest.mark.parametrize("kind", ["source", "metric", "callback"])
def test_a_sound_one_is_gold(write: Callable[[str], None], kind: str) -> None:
    write(CODE)
    (score,) = conform("mmkit-beside", f"a-{kind}")
    assert [(o.check.name, o.text) for o in score.outcomes if o.status == "failed"] == []
    assert score.level == "gold"
    assert score.count("passed") >= MINIMUM[kind]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(write: Callable[[str], None], name: str) -> None:
    kind, changes, text = FAULTS[name]
    code = CODE
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    write(code)
    assert discover().components
    found = {outcome.check.name: outcome.text for outcome in failures(kind)}
    assert text in found[name]
