"""The spec of the recipe passes ``mmkit.check``, and the table asks for tasks that it has."""

import shutil
from pathlib import Path

import pytest
import yaml

import mmkit
from recipes.common.cache import cache_root
from recipes.image_text_retrieval.__main__ import VARIANTS

HERE = Path(__file__).parent
SPECS = sorted(path.name for path in HERE.glob("*.yaml"))
WEIGHTS = ["efficientnet_lite0", "all-minilm-l6-v2"]


def test_every_spec_is_run_and_judged_by_its_tasks() -> None:
    assert sorted(variant.spec for variant in VARIANTS) == SPECS
    for variant in VARIANTS:
        tasks = yaml.safe_load((HERE / variant.spec).read_text("utf-8"))["tasks"]
        assert {figure.task for figure in variant.figures} == set(tasks)


@pytest.mark.parametrize("spec", SPECS)
def test_spec_is_well_formed_without_its_weights(spec: str) -> None:
    assert mmkit.check(HERE / spec, static=True)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """The specs beside the weights of the cache, as the recipe's command links them."""
    weights = cache_root() / "weights"
    if not all((weights / name).is_dir() for name in WEIGHTS):
        pytest.skip(f"no {' or '.join(WEIGHTS)} in the cache: python -m recipes.image_text_retrieval fetches them")
    (tmp_path / "weights").symlink_to(weights, target_is_directory=True)
    for spec in SPECS:
        shutil.copy(HERE / spec, tmp_path)
    return tmp_path


def test_both_towers_end_in_one_width(linked: Path) -> None:
    rows = {row.node: row for row in mmkit.check(linked / "spec.yaml")}
    assert rows["image.adapter"].width == rows["caption.adapter"].width == 384
    assert rows["image.encoder"].parameters > 3_000_000
    assert rows["caption.encoder"].parameters > 22_000_000
    assert {rows[task + ".head"].parameters for task in ("stamps", "emoji")} == {1}  # the temperature


def test_frozen_spec_trains_the_adapters_alone(linked: Path) -> None:
    trainable = {row.node for row in mmkit.check(linked / "frozen.yaml") if row.trainable}
    assert trainable == {"image.adapter", "caption.adapter"}
