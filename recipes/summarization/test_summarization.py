"""The spec of the recipe passes ``mmkit.check``, and the table asks for tasks that it has."""

import shutil
from pathlib import Path

import pytest
import yaml

import mmkit
from recipes.common.cache import cache_root
from recipes.summarization.__main__ import VARIANTS

HERE = Path(__file__).parent
SPEC = HERE / "spec.yaml"
WEIGHTS = ["smollm2-135m"]


def test_table_asks_for_tasks_that_the_spec_has() -> None:
    tasks = yaml.safe_load(SPEC.read_text("utf-8"))["tasks"]
    assert {figure.task for variant in VARIANTS for figure in variant.figures} <= set(tasks)


def test_spec_is_well_formed_without_its_weights() -> None:
    assert mmkit.check(SPEC, static=True)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """The spec beside the weights of the cache, as the recipe's command links them."""
    weights = cache_root() / "weights"
    if not all((weights / name).is_dir() for name in WEIGHTS):
        pytest.skip(f"no {' or '.join(WEIGHTS)} in the cache: python -m recipes.summarization fetches them")
    (tmp_path / "weights").symlink_to(weights, target_is_directory=True)
    return Path(shutil.copy(SPEC, tmp_path))


def test_spec_trains_the_upper_half_of_the_language_model(linked: Path) -> None:
    rows = {row.node: row for row in mmkit.check(linked)}
    layer = (134_515_008 - 49_152 * 576 - 576) // 30
    assert rows["backbone"].parameters == 134_515_008
    assert rows["backbone"].trainable == 15 * layer + 576
