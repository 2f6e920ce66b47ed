"""The spec of the recipe passes ``mmkit.check``, and the table asks for tasks that it has."""

from pathlib import Path

import yaml

import mmkit
from recipes.sentiment_lstm.__main__ import VARIANTS

HERE = Path(__file__).parent
SPEC = HERE / "spec.yaml"


def test_table_asks_for_tasks_that_the_spec_has() -> None:
    tasks = yaml.safe_load(SPEC.read_text("utf-8"))["tasks"]
    assert {figure.task for variant in VARIANTS for figure in variant.figures} <= set(tasks)


def test_spec_has_the_parameters_of_the_keras_program() -> None:
    parameters = {row.node: row.parameters for row in mmkit.check(SPEC)}
    lstm = 4 * 128 * (128 + 128 + 2)  # PyTorch's LSTM has two bias vectors, Keras' has one
    assert parameters["text.encoder"] == 10_000 * 128 + lstm
    assert parameters["mood.head"] == 128 + 1


def test_spec_is_twenty_lines() -> None:
    assert len(SPEC.read_text("utf-8").splitlines()) <= 20
