"""The specs of the recipe pass ``mmkit.check``, and the table asks for tasks that they have."""

from pathlib import Path

import pytest
import yaml

import mmkit
from recipes.speech_recognition.__main__ import VARIANTS

HERE = Path(__file__).parent
SPECS = sorted(path.name for path in HERE.glob("*.yaml"))


@pytest.mark.parametrize("spec", SPECS)
def test_spec_is_well_formed_without_its_weights(spec: str) -> None:
    assert mmkit.check(HERE / spec, static=True)


@pytest.mark.parametrize("spec", ["conformer.yaml"])
def test_spec_from_scratch_passes_the_whole_check(spec: str) -> None:
    rows = mmkit.check(HERE / spec)
    assert sum(row.parameters for row in rows) == sum(row.trainable for row in rows) > 100_000


def test_every_spec_is_run_and_judged_by_tasks_that_it_has() -> None:
    assert sorted(variant.spec for variant in VARIANTS) == SPECS
    for variant in VARIANTS:
        tasks = yaml.safe_load((HERE / variant.spec).read_text("utf-8"))["tasks"]
        assert {figure.task for figure in variant.figures} <= set(tasks)
