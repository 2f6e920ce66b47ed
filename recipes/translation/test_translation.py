"""The spec of the recipe passes ``mmkit.check``, and the table asks for tasks that it has."""

from pathlib import Path

import yaml

import mmkit
from recipes.translation.__main__ import VARIANTS

HERE = Path(__file__).parent
SPEC = HERE / "spec.yaml"


def test_table_asks_for_tasks_that_the_spec_has() -> None:
    tasks = yaml.safe_load(SPEC.read_text("utf-8"))["tasks"]
    assert {figure.task for variant in VARIANTS for figure in variant.figures} <= set(tasks)


def test_spec_trains_an_encoder_and_a_decoder_of_four_million_parameters() -> None:
    rows = {row.node: row for row in mmkit.check(SPEC)}
    assert rows["backbone"].parameters == rows["backbone"].trainable
    assert 4_000_000 < rows["backbone"].parameters < 4_500_000
