"""``mmkit plugins`` shows every state: loaded, shadowed, slow, failed, incompatible, clash, excluded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

Install = Callable[..., Path]
HEAD = 'Component("head", "{0}", "A head.", "plug:b", "plug:C")'
PLUGIN = "from mmkit import Component, hookimpl\n\n@hookimpl\ndef mmkit_components():\n    return [{0}]\n"


def plugin(*names: str) -> str:
    return PLUGIN.format(", ".join(HEAD.format(name) for name in names))


@pytest.fixture
def every_state(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of every state beside the first-party ones, of which image and audio are left out."""
    install("good", plugin("mine"))
    install("rival", plugin("classify", "rare"))
    install("tired", "import time\ntime.sleep(0.6)\n" + plugin("late"))
    install("broken", "raise RuntimeError('no luck')\n")
    install("newer", plugin("mine").replace('"plug:C"', '"plug:C", api=99'))
    site = install("twin", plugin("x"))
    (site / "mmkit_twin-1.0.dist-info" / "entry_points.txt").write_text("[mmkit]\ngood_too = plug_twin\n")
    install("good_too", plugin("y"))
    monkeypatch.setenv("MMKIT_PLUGINS", "good,good_too,rival,tired,broken,newer,tasks,text")


@pytest.mark.usefixtures("every_state")
def test_every_state_is_a_line_and_says_what_to_do(run: Run) -> None:
    done = run("plugins")
    assert (done.code, done.err) == (0, "")
    table, *rest = done.out.split("\n\n")
    rows = {line.split("  ")[0]: [cell.strip() for cell in line.split("  ") if cell] for line in table.splitlines()[2:]}
    assert {name: row[1] for name, row in rows.items()} == {
        "audio": "excluded",
        "broken": "failed",
        "good": "loaded",
        "good_too": "clash",
        "image": "excluded",
        "newer": "incompatible",
        "rival": "loaded, shadowed",
        "tasks": "loaded, shadowed",
        "text": "loaded",
        "tired": "loaded, slow",
    }
    assert rows["rival"][3] == "rival/classify, rare"
    assert rows["tasks"][3].startswith("generate, tasks/classify, regress, ")
    said = "\n\n".join(rest)
    for reason, fix in (
        ("plugin 'broken' (mmkit-broken 1.0) failed to load: RuntimeError: no luck", "report it to the authors of mmkit-broken 1.0"),
        ("plugin 'newer' (mmkit-newer 1.0) is incompatible: written for plugin API 99, this mmkit has 1", "install a newer mmkit"),
        ("plugin 'audio' (mmkit-audio 0.1.0) is excluded: not in MMKIT_PLUGINS", "add it to MMKIT_PLUGINS"),
        ("'classify' is offered by rival/classify and tasks/classify", "write one of these full names after use:"),
    ):  # fmt: skip
        assert f"{reason}\n    fix: {fix}" in said
    assert "plugin 'tired' (mmkit-tired 1.0) took 0.6 s to be listed" in said


@pytest.mark.usefixtures("every_state")
def test_scripts_get_the_same(run: Run) -> None:
    found = {}
    for report in json.loads(run("plugins", "--json").out):
        found.setdefault(report["name"], []).append(report)
    assert [one["status"] for one in found["good_too"]] == ["clash", "clash"]
    (rival,), (tired,), (good,) = found["rival"], found["tired"], found["good"]
    assert (rival["shadowed"], good["shadowed"]) == (["classify"], [])
    assert tired["seconds"] > 0.6 > 0.5 > good["seconds"]
    assert found["broken"][0]["traceback"].endswith("RuntimeError: no luck\n")


def test_names_of_other_kinds_do_not_shadow_unless_a_spec_names_them_at_one_place(install: Install, run: Run) -> None:
    install("other", plugin("x").replace('"head", "x"', '"encoder", "classify"'))
    install("third", plugin("x").replace('"head", "x"', '"vocabulary", "linear"'))
    found = {report["name"]: report["shadowed"] for report in json.loads(run("plugins", "--json").out)}
    assert (found["other"], found["third"], found["tasks"]) == ([], ["linear"], ["linear"])
