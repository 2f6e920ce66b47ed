"""The ``tune`` section: its form, its paths, and the specs that it would try."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import mmkit
from mmkit.errors import SpecError
from mmkit.spec.load import Source, read_source
from mmkit.spec.paths import get, parse_path, put
from mmkit.spec.schema import Spec
from mmkit.spec.tune import Range, Tune

LR = "train.stages[0].lr"
Problems = Callable[..., list[str]]


def test_a_mapping_of_paths_is_short_for_the_space(mood: dict[str, Any]) -> None:
    space = {LR: {"log_uniform": ["1e-4", "1e-2"]}}  # YAML reads 1e-4 as a word
    short, long = (Spec.model_validate({**mood, "tune": given}).tune for given in (space, {"space": space}))
    assert short == long
    assert short == Tune(space={LR: Range(log_uniform=(1e-4, 1e-2))})
    assert Spec.model_validate(Spec.model_validate({**mood, "tune": space}).model_dump(mode="json")).tune == short


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (LR, ("train", "stages", 0, "lr")),
        ('train.stages[1].lr["image.*"]', ("train", "stages", 1, "lr", "image.*")),
        ("modalities.text.adapter", ("modalities", "text", "adapter")),
    ],
)
def test_paths_are_read(path: str, location: tuple[str | int, ...]) -> None:
    assert parse_path(path) == location


@pytest.mark.parametrize("path", ["", "train.", "train..lr", "[0].lr", "train.stages[x].lr", 'lr["a'])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path; write it like train"):
        parse_path(path)


def test_a_value_is_put_where_a_path_leads_and_the_old_spec_stays() -> None:
    source = Source({"backbone": "lstm", "train": {"stages": [{"name": "a"}, {"name": "b"}], "cache": None}}, Path("."))
    before = repr(source.data)
    for path, value in (("train.stages[1].lora.r", 4), ("backbone.dim", 8), ("train.cache.size", 9)):
        changed = put(source, parse_path(path), value, ())
        assert get(changed.data, parse_path(path)) == value
    assert get(put(source, parse_path("backbone.dim"), 8, ()).data, ("backbone",)) == {"use": "lstm", "dim": 8}
    assert repr(source.data) == before


def test_mistakes_in_ranges_are_told_all_at_once_with_their_place(mood: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        yaml.safe_dump(mood, sort_keys=False) + "tune:\n"
        f'  "{LR}": {{log_uniform: [1e-2, 1e-4]}}\n'
        "  backbone.hidden_dim: {chioce: [8, 16]}\n"
        "  backbone.layers: {int: [1, 2.5]}\n"
        "  train.seed: {int: [1, 2], uniform: [0, 1]}\n"
        "  train.stages[0].clip: {log_uniform: [0, 1]}\n"
        "  train.stages[0].steps: {choice: [3, 3]}\n"
        "  train.stages[0].warmup: {}\n"
    )
    first = len(yaml.safe_dump(mood).splitlines()) + 2
    with pytest.raises(SpecError) as caught:
        mmkit.check(path, static=True)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:{first}:3: tune.{LR}: the lower bound comes first and is smaller, got [0.01, 0.0001]",
        f"{path}:{first + 1}:25: tune.backbone.hidden_dim.chioce: unknown key 'chioce': did you mean 'choice'?",
        f"{path}:{first + 2}:30: tune.backbone.layers.int[1]: Input should be a valid integer, got a number with a "
        "fractional part (got 2.5)",
        f"{path}:{first + 3}:3: tune.train.seed: give one of uniform, log_uniform, int, log_int, choice, got: uniform, int",
        f"{path}:{first + 4}:3: tune.train.stages[0].clip: a logarithmic scale begins above 0, got [0, 1]",
        f"{path}:{first + 5}:3: tune.train.stages[0].steps: choice has 3 twice",
        f"{path}:{first + 6}:3: tune.train.stages[0].warmup: give one of uniform, log_uniform, int, log_int, choice, "
        "got: none",
    ]


def test_a_misspelt_setting_of_the_long_form_is_named(mood: dict[str, Any], problems: Problems) -> None:
    mood["tune"] = {"spaec": {LR: {"uniform": [0.1, 1]}}, "trials": 0}
    assert problems(mood, static=True) == [
        "tune: the key 'space' is missing",
        "tune.trials: Input should be greater than 0 (got 0)",
        "tune.spaec: unknown key 'spaec': did you mean 'space'?",
    ]


def test_paths_that_lead_nowhere_are_told_all_at_once(mood: dict[str, Any], problems: Problems) -> None:
    mood["tune"] = {
        name: {"int": [1, 2]}
        for name in (
            *("train.stagez[0].lr", "train.stages[3].lr", "train.seed.x", "train..lr", "tune.trials", "backbone[0]"),
            *("train.stages", LR),
        )
    }
    assert problems(mood, static=True) == [
        "tune.train.stagez[0].lr: 'train.stagez[0].lr': there is no train.stagez: did you mean 'stages'?",
        "tune.train.stages[3].lr: 'train.stages[3].lr': train.stages has 1 entries, so there is no [3] (the first is [0])",
        "tune.train..lr: 'train..lr': is not a path; write it like train.stages[0].lr, a key with dots like "
        'lr["image.*"]',
        "tune.tune.trials: 'tune.trials': is a setting of the search itself",
        "tune.backbone[0]: 'backbone[0]': backbone is no list, so there is no [0]",
        f"tune.{LR}: '{LR}' and 'train.stages' lie one inside the other; tune one of them",
    ]


def test_every_end_of_every_range_must_be_a_good_spec(mood: dict[str, Any], problems: Problems) -> None:
    mood["tune"] = {
        LR: {"uniform": [0, 1]},
        "backbone.hidden_dimm": {"choice": [4, 8]},
        "backbone.use": {"choice": ["lstm", "lstmm"]},
        "train.stages[0].lora.r": {"int": [-1, 4]},
    }
    assert problems(mood, static=True) == [
        "train.stages[0].lora.r: Input should be greater than 0 (got -1) (when tune sets train.stages[0].lora.r = -1)",
        "backbone.hidden_dimm: unknown key 'hidden_dimm': did you mean 'hidden_dim'? "
        "(when tune sets backbone.hidden_dimm = 4)",
        f"{LR}: Input should be greater than 0 (got 0.0) (when tune sets {LR} = 0)",
        "backbone.use: unknown backbone 'lstmm': did you mean 'lstm'? (when tune sets backbone.use = lstmm)\n"
        "    fix: see `mmkit components`",
    ]


def test_ends_are_checked_for_how_nodes_fit_together(mood: dict[str, Any], problems: Problems) -> None:
    mood["backbone"] = {"use": "transformer", "dim": 8, "heads": 2, "layers": 1}
    mood["tune"] = {"backbone.heads": {"choice": [2, 3]}, "train.stages[0].train": {"choice": [["*"], ["backbon"]]}}
    assert problems(mood) == [
        "backbone: dim must be a multiple of 2 x heads = 6, got 8 (when tune sets backbone.heads = 3)",
        "train.stages[0].train[0]: 'backbon' matches no parameter: did you mean 'backbone'? "
        "(when tune sets train.stages[0].train = ['backbon'])",
    ]


def test_train_takes_no_notice_of_the_section(mood: dict[str, Any], train: Callable[..., mmkit.Model]) -> None:
    import torch

    plain = train(mood).state_dict()
    searched = train({**mood, "tune": {LR: {"uniform": [0.1, 1]}}}, resume=True).state_dict()
    assert all(torch.equal(plain[name], searched[name]) for name in plain)


def test_source_that_is_read_already_is_taken_as_it_is(mood: dict[str, Any]) -> None:
    source = read_source(mood)
    assert read_source(source) is source
