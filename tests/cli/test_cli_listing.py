"""``mmkit plugins``, ``components`` and ``schema``."""

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from mmkit.discovery.loader import discover
from mmkit.registry import KINDS, Component
from mmkit.registry.registry import PluginReport, Registry
from mmkit.wiring.schema import json_schema
from tests.cli.conftest import Run


@pytest.fixture
def broken_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Beside the installed plugins one that cannot be imported."""
    found = [*metadata.entry_points(group="mmkit"), metadata.EntryPoint("ecg", "no_such_module_of_ecg", "mmkit")]
    monkeypatch.setattr("mmkit.discovery.loader.metadata.entry_points", lambda group: found)
    discover.cache_clear()
    yield
    discover.cache_clear()


def test_plugins_lists_what_is_installed(run: Run) -> None:
    done = run("plugins")
    assert (done.code, done.err) == (0, "")
    rows = {line.split()[0]: line for line in done.out.splitlines()[2:]}
    assert set(rows) == {"audio", "image", "tasks", "text"}
    listed = ["timm", "hf-vision", "cnn", "fsq-image", "rebuild-image", "hf-image-codes", "image-codes"]
    listed += ["image-patches", "image-quality", "frechet-distance"]
    assert rows["image"].split(maxsplit=4) == ["image", "loaded", "mmkit-image", "0.1.0", ", ".join(listed)]
    found = {report["name"]: report for report in json.loads(run("plugins", "--json").out)}
    assert [c["name"] for c in found["image"]["components"]] == listed


@pytest.mark.usefixtures("broken_plugin")
def test_a_broken_plugin_is_shown_beside_the_others(run: Run) -> None:
    done = run("plugins")
    assert done.code == 0
    assert "Traceback" not in done.out
    reason = "ModuleNotFoundError: No module named 'no_such_module_of_ecg'"
    assert any(line.split()[:2] == ["ecg", "failed"] and line.endswith(reason) for line in done.out.splitlines())
    assert "image   loaded" in done.out
    assert "ecg:\nTraceback (most recent call last):" in run("plugins", "--traceback").out


def test_components_of_a_kind(run: Run) -> None:
    done = run("components", "--kind", "head")
    assert [line.split()[1] for line in done.out.splitlines()[2:]] == [
        *(f"tasks/{name}" for name in ("classify", "contrastive", "ctc", "flow", "generate")),
        "image/rebuild-image",
        "audio/rebuild-mel",
        "tasks/regress",
    ]
    everything = json.loads(run("components", "--json").out)
    assert {component["kind"] for component in everything} <= set(KINDS)
    assert len(everything) == len(discover().components)


def test_schema_is_printed_or_written(run: Run, tmp_path: Path) -> None:
    done = run("schema")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json_schema(discover())
    assert run("schema", "--output", tmp_path / "new" / "schema.json").out == ""
    assert (tmp_path / "new" / "schema.json").read_text("utf-8") == done.out


def test_schema_keeps_models_of_one_name_apart_and_survives_a_broken_config() -> None:
    def component(plugin: str, name: str, config: str) -> Component:
        return Component("encoder", name, "Summary.", "x:y", config, plugin=plugin)

    one = component("a", "same", "tests.cli.nested_configs:FirstConfig")
    two = component("b", "same", "tests.cli.nested_configs:SecondConfig")
    gone = component("b", "gone", "tests.cli.no_such_module:Config")
    reports = [PluginReport("a", "a", "1", "loaded", (one,)), PluginReport("b", "b", "1", "loaded", (two, gone))]
    definitions = json_schema(Registry(reports))["$defs"]
    assert definitions["encoder:a.same"]["properties"]["use"] == {"enum": ["a/same"]}
    assert definitions["Inner"]["properties"].keys() == {"depth"}
    assert definitions["b.same:Inner"]["properties"].keys() == {"width"}
    assert definitions["encoder:b.same"]["properties"]["inner"]["$ref"] == "#/$defs/b.same:Inner"
    assert definitions["encoder:gone"]["description"] == (
        "Summary. Its options are not known: ModuleNotFoundError: No module named 'tests.cli.no_such_module'"
    )
