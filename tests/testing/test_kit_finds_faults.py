"""A sound component is gold, and each fault is found by the check that is there for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.errors import MmkitError, PluginError
from mmkit.registry.component import Component
from mmkit.testing.beside import SUBJECTS
from mmkit.testing.check import MINIMUM
from mmkit.testing.runner import Outcome, Score, conform, trials

Pulse = Callable[..., Component]
FORWARD = "return rows.replace(self.layer(rows.values))"
FAULTS = {
    "alone_is_packed": {FORWARD: "return rows.replace(self.layer(rows.values - rows.values.mean()))"},
    "order_does_not_matter": {FORWARD: "v = self.layer(rows.values); return rows.replace(v.cumsum(0))"},
    "promised_rows_are_given": {'return item["rows"].shape[0]': 'return item["rows"].shape[0] + 1'},
    "one_output_an_item": {"self.feature_dim = dim": "self.feature_dim = dim + 1"},
    "foreign_values_are_refused": {"if not isinstance(raw, list) or": "if"},
    "bad_values_are_refused": {"or not all(isinstance(value, float) for value in raw)": ""},
    "options_are_documented": {', description="Width of a row."': ""},
    "code_is_documented": {'    """One layer a row."""\n': ""},
    "config_refuses_unknown_keys": {
        '    """Options of ``pulse``."""': '    """O."""\n    model_config = {"extra": "ignore"}'
    },
    "config_is_frozen": {'    """Options of ``pulse``."""': '    """O."""\n    model_config = {"frozen": False}'},
    "found_without_torch": {"from pydantic import Field": "import torch\nfrom pydantic import Field"},
    "summary_is_one_line": {"A pulse in patches of four.": " "},
    "builder_takes_the_options": {"def build(context, *, dim)": "def build(context, dim=8, **more)"},
    "gradients_reach_every_weight": {"self.layer = ": "self.idle = nn.Linear(2, 2); self.layer = "},
    "is_deterministic": {FORWARD: "return rows.replace(nn.functional.dropout(self.layer(rows.values)))"},
    "same_seed_gives_same_weights": {
        "self.layer = nn.Linear(4, dim)": "self.layer = nn.Linear(4, dim); "
        "nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(torch.seed() % 1000))"
    },
    "tensors_are_registered": {
        "self.layer = ": "self.scale = torch.ones(4); self.layer = ",
        "self.layer(rows.values)": "self.layer(rows.values * self.scale)",
    },
    "weights_round_trip": {
        "self.layer = ": "self.scale = float(torch.rand(())); self.layer = ",
        "self.layer(rows.values)": "self.layer(rows.values * self.scale)",
        "def build(context, *, dim):": "def build(context, *, dim):\n    if not context.load_weights: torch.rand(3)",
    },
    "moves_to_float64": {FORWARD: "return rows.replace(self.layer(rows.values).float())"},
    "chance_is_declared": {"rows = torch.tensor(raw)": "rows = torch.tensor(raw) + torch.rand(())"},
    "raw_values_stay_as_they_are": {"rows = torch.tensor(raw)": "rows = torch.tensor(raw); raw.append(0.0)"},
    "example_is_shown": {"def example(self)": "def no_example(self)"},
    "processor_travels": {"return PulseProcessor()": "p = PulseProcessor(); p.layer = self.layer; return p"},
    "memory_does_not_grow": {
        "rows = torch.tensor(raw)": "KEPT.append(bytearray(b'x' * 1_000_000)); rows = torch.tensor(raw)"
    },
    "compiles_whole": {FORWARD: "v = self.layer(rows.values); return rows.replace(v if v.sum() > 0 else v * 2)"},
    "threads_do_not_matter": {FORWARD: "return rows.replace(self.layer(rows.values) * torch.get_num_threads())"},
    "items_are_tensors": {".view(-1, 4)}": '.view(-1, 4), "length": len(raw)}'},
}


def outcomes(component: Component, folder: Path, only: tuple[str, ...] = ()) -> dict[str, Outcome]:
    """What came of the checks, by name."""
    subjects = {}
    found = {}
    for trial in trials([component]):
        if only and trial.check.name not in only:
            continue
        subject = subjects.setdefault(trial.case.name, SUBJECTS[component.kind](component, trial.case, folder))
        found[trial.check.name] = trial.run(subject)
    return found


def test_a_sound_component_is_gold(pulse: Pulse, tmp_path: Path) -> None:
    pulse()
    (score,) = conform("mmkit-pulse")
    assert [(o.check.name, o.text) for o in score.outcomes if o.status == "failed"] == []
    assert score.level == "gold"
    assert score.count("passed") >= MINIMUM["encoder"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_check(pulse: Pulse, tmp_path: Path, name: str) -> None:
    found = outcomes(pulse(FAULTS[name]), tmp_path, (name,))
    assert found[name].status == "failed", name
    assert found[name].text


def test_a_failure_says_what_is_wrong(pulse: Pulse, tmp_path: Path) -> None:
    found = outcomes(pulse(FAULTS["promised_rows_are_given"]), tmp_path, ("promised_rows_are_given",))
    assert found["promised_rows_are_given"].text == "promised were [2, 6, 3] rows, given are [1, 5, 2]"


def test_a_level_needs_all_lower_ones_and_enough_checks(pulse: Pulse, tmp_path: Path) -> None:
    pulse(FAULTS["options_are_documented"])
    (score,) = conform("pulse", "pulse")
    assert score.level == "bronze"
    few = Score(score.component, score.kind, score.outcomes[:5])
    assert (few.enough, few.level) == (False, "")


def test_a_waiver_has_a_name_and_a_reason(pulse: Pulse, tmp_path: Path) -> None:
    reason = "the kit's own tests want it so"
    waived = pulse({'bad=([], ["a"], "0.5")': f'bad=([],), waive={{"alone_is_packed": "{reason}"}}'})
    found = outcomes(waived, tmp_path, ("alone_is_packed",))["alone_is_packed"]
    assert (found.status, found.text) == ("waived", reason)


@pytest.mark.parametrize(
    ("waive", "message"),
    [
        (
            '{"alone_is_pakced": "it is like this"}',
            "pulse/pulse waives 'alone_is_pakced': did you mean 'alone_is_packed'?",
        ),
        ('{"alone_is_packed": "no"}', "pulse/pulse waives 'alone_is_packed' without a reason: got 'no'"),
    ],
)
def test_a_wrong_waiver_is_refused(pulse: Pulse, waive: str, message: str) -> None:
    component = pulse({'bad=([], ["a"], "0.5")': f"waive={waive}"})
    with pytest.raises(PluginError) as caught:
        trials([component])
    assert str(caught.value) == message


def test_names_that_are_not_there_are_told(pulse: Pulse) -> None:
    pulse()
    with pytest.raises(PluginError) as caught:
        list(conform("mmkit-puls"))
    assert str(caught.value) == "no plugin 'mmkit-puls' is installed: did you mean 'mmkit-pulse'?"
    with pytest.raises(MmkitError) as missing:
        list(conform("pulse", "puls"))
    assert str(missing.value) == "plugin 'pulse' has no component 'puls': did you mean 'pulse'?"
