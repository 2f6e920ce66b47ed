"""Each broken plugin is named with its version, the cause and the cure, and costs nobody else anything."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

import pytest

from mmkit.discovery.entry import load_entry
from mmkit.registry.registry import PluginReport

BROKEN = Path(__file__).parents[1] / "broken_plugins"
REPORT = "report it to the authors of mmkit-{0} 1.0, or uninstall it; `mmkit plugins --traceback` shows where"
HOOK = "the hooks are mmkit_components, mmkit_commands, mmkit_report_sections, mmkit_renderers, mmkit_migrations, mmkit_importers, and take no arguments"
FAILED = {  # file → cause and cure
    "raises": ("RuntimeError: no luck today", REPORT),
    "missing_dependency": (
        "ModuleNotFoundError: No module named 'a_library_that_nobody_has'",
        "install what it needs: pip install a_library_that_nobody_has",
    ),
    "exits": ("SystemExit: 3", REPORT),
    "interrupts": ("KeyboardInterrupt", REPORT),
    "syntax_error": ("SyntaxError: invalid syntax (plug_syntax_error.py, line 1)", REPORT),
    "blocks": (
        "it was not there after 0.5 s of importing",
        "its modules must do nothing but define when they are imported; MMKIT_PLUGIN_SECONDS=60 waits longer",
    ),
    "misspelt_hook": ("PluginValidationError: unknown hook 'mmkit_componets' in plugin {module}", HOOK),
    "hook_with_arguments": ("PluginValidationError: Plugin 'hook_with_arguments' for hook 'mmkit_components'", HOOK),
    "hook_raises": ("KeyError: 'weights'", REPORT),
    "unmarked_hook": (
        "the plugin offers no components",
        "define mmkit_components, and mark it with @mmkit.hookimpl",
    ),
    "returns_a_component": ("mmkit_components returned a Component", "return a list of mmkit.Component"),
    "returns_dicts": ("mmkit_components returned a dict among its records", "return mmkit.Component records"),
    "returns_nothing": (
        "the plugin offers no components",
        "define mmkit_components, and mark it with @mmkit.hookimpl",
    ),
    "unknown_kind": ("component 'x' has kind 'encodr'", "did you mean 'encoder'?"),
    "name_with_a_space": (
        "component 'my head' cannot be written after use:",
        "use lower-case letters, digits, '-', '_' and '.', none of them first",
    ),
    "builder_is_no_path": ("component 'x' has builder <function build at …>", "give an import path, module:name"),
    "declared_twice": ("declared twice: head x", "give each its own name"),
}
INCOMPATIBLE = {
    "older_api": ("written for plugin API 0, this mmkit has 1", "install a newer version of the plugin"),
    "newer_api": ("written for plugin API 2, this mmkit has 1", "install a newer mmkit"),
}
Load = Callable[[str], PluginReport]


def distribution(site: Path, name: str) -> EntryPoint:
    """The plugin as pip would install it; its entry point."""
    shutil.copy(BROKEN / f"{name}.py", site / f"plug_{name}.py")
    info = site / f"mmkit_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mmkit-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mmkit]\n{name} = plug_{name}\n")
    return next(iter(Distribution.at(info).entry_points))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name: load_entry(distribution(tmp_path, name), patience=0.5 if name == "blocks" else 10)


def cause(report: PluginReport) -> str:
    """Without addresses."""
    head, at, _ = report.reason.partition(" at 0x")
    return f"{head} at …>" if at else head


def test_every_file_is_tried() -> None:
    assert {path.stem for path in BROKEN.glob("*.py")} == {*FAILED, *INCOMPATIBLE, "prints", "imports_torch"}


@pytest.mark.parametrize("name", FAILED)
def test_a_broken_plugin_is_named_with_cause_and_cure(load: Load, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    report = load(name)
    reason, fix = FAILED[name]
    assert (report.name, report.distribution, report.version, report.status) == (name, f"mmkit-{name}", "1.0", "failed")
    if name == "misspelt_hook":
        reason = reason.format(module="")
        assert report.reason.startswith(reason), report.reason
    else:
        assert cause(report) == reason
    assert report.fix == fix.format(name)
    assert str(report).startswith(f"plugin {name!r} (mmkit-{name} 1.0) failed to load: ")
    assert bool(report.traceback) == (name != "blocks")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", INCOMPATIBLE)
def test_a_plugin_for_another_api_says_which_of_the_two_is_old(load: Load, name: str) -> None:
    report = load(name)
    assert (report.status, report.reason, report.fix) == ("incompatible", *INCOMPATIBLE[name])


def test_a_plugin_that_prints_is_kept_quiet_and_noted(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    report = load("prints")
    assert report.status == "loaded"
    assert report.notes == ("printed when it was imported: 'hello from a plugin'",)
    assert capfd.readouterr() == ("", "")


def test_all_of_them_together_leave_the_host_and_the_others_working(tmp_path: Path) -> None:
    for path in BROKEN.glob("*.py"):
        if path.stem != "blocks":
            distribution(tmp_path, path.stem)
    code = "import sys; sys.argv = ['mmkit', 'plugins']; from mmkit.cli import main; main()"
    paths = [str(tmp_path), *filter(None, sys.path)]
    environment = {"PYTHONPATH": ":".join(paths), "COLUMNS": "200", "MMKIT_PLUGIN_SECONDS": "120"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    for name in (entry.name for entry in entry_points(group="mmkit")):
        assert any(line.split()[:2] == [name, "loaded"] for line in lines), name
    for name, (_, fix) in {**FAILED, **INCOMPATIBLE}.items():
        if name != "blocks":
            place = next(i for i, line in enumerate(lines) if line.startswith(f"plugin {name!r} (mmkit-{name} 1.0) "))
            assert lines[place + 1] == f"    fix: {fix.format(name)}"
    assert "plugin 'imports_torch' (mmkit-imports_torch 1.0) imports torch to be listed" in ran.stdout
