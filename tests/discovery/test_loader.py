import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mmkit.discovery.loader import load_all

GOOD = """
from mmkit import Component, hookimpl
print("noise at import")
@hookimpl
def mmkit_components():
    return [Component("head", "x", "a head", "good_plug:b", "good_plug:C")]
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "good_plug.py").write_text(GOOD)
    (tmp_path / "bad_plug.py").write_text("raise RuntimeError('no luck')\n")
    (tmp_path / "typo_plug.py").write_text(GOOD.replace("def mmkit_components", "def mmkit_componets"))
    (tmp_path / "old_plug.py").write_text(GOOD.replace('"good_plug:C")', '"good_plug:C", api=99)'))
    return tmp_path


def entry(name: str, module: str) -> EntryPoint:
    return EntryPoint(name, module, "mmkit")


def test_broken_plugins_leave_the_others_working_and_are_named(modules: Path) -> None:
    reports = {r.name: r for r in load_all([entry(n, f"{n}_plug") for n in ("good", "bad", "typo", "old")])}
    assert reports["good"].status == "loaded"
    assert reports["good"].components[0].full_name == "good/x"
    assert (reports["bad"].status, reports["bad"].reason) == ("failed", "RuntimeError: no luck")
    assert reports["typo"].status == "failed"
    assert "mmkit_componets" in reports["typo"].reason
    assert reports["old"].reason == "written for plugin API 99, this mmkit has 1"


def test_two_plugins_of_one_name_clash_and_neither_wins(modules: Path) -> None:
    reports = load_all([entry("a", "good_plug"), entry("a", "bad_plug")])
    assert [r.status for r in reports] == ["clash", "clash"]


def test_allow_list_excludes(modules: Path) -> None:
    assert load_all([entry("good", "good_plug")], {"other"})[0].status == "excluded"


def test_import_and_plugin_listing_do_not_import_torch() -> None:
    code = "import mmkit, sys; mmkit.plugins(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
