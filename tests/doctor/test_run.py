"""All checks together: plugins that are not loaded, checks that fail themselves, and the command."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer import Exit

from mmkit.cli.doctor import doctor
from mmkit.discovery import discover
from mmkit.doctor import Finding, examine, run
from mmkit.doctor.installed import plugins
from mmkit.doctor.packages import Package
from mmkit.doctor.probe import probe
from mmkit.doctor.run import CHECKS
from mmkit.registry.registry import PluginReport, Registry

HEAD = 'Component("head", "{0}", "A head.", "plug:b", "plug:C"{1})'
PLUGIN = "from mmkit import Component, hookimpl\n\n@hookimpl\ndef mmkit_components():\n    return [{0}]\n"


def test_plugins_that_are_not_loaded_have_their_cure(install: Callable[..., Path]) -> None:
    install("heart", PLUGIN.format(HEAD.format("classify", "")))
    install("newer", PLUGIN.format(HEAD.format("x", ", api=99")))
    install("noisy", "print('hello')\n" + PLUGIN.format(HEAD.format("y", "")))
    loaded, *others = plugins(discover())
    assert loaded.status == "ok"
    assert loaded.text.startswith("loaded: audio (mmkit-audio 0.1.0), heart (mmkit-heart 1.0), ")
    assert others == [
        Finding(
            "plugins",
            "problem",
            "plugin 'newer' (mmkit-newer 1.0) is incompatible: written for plugin API 99, this mmkit has 1",
            "install a newer mmkit",
        ),
        Finding("plugins", "note", "plugin 'noisy' (mmkit-noisy 1.0) printed when it was imported: 'hello'"),
        Finding(
            "plugins",
            "note",
            "'classify' is offered by heart/classify and tasks/classify",
            "write one of these full names after use:",
        ),
    ]


def test_no_plugin_and_plugins_left_out() -> None:
    assert list(plugins(Registry([]))) == [
        Finding(
            "plugins",
            "problem",
            "none is installed",
            "pip install mmkit-image mmkit-audio mmkit-text mmkit-tasks",
        )
    ]
    left_out = PluginReport(
        "a", "mmkit-a", "1", "excluded", reason="not in MMKIT_PLUGINS", fix="add it to MMKIT_PLUGINS"
    )
    assert list(plugins(Registry([left_out]))) == [
        Finding(
            "plugins", "note", "plugin 'a' (mmkit-a 1) is excluded: not in MMKIT_PLUGINS", "add it to MMKIT_PLUGINS"
        )
    ]


def test_a_check_that_fails_itself_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad() -> Iterator[Finding]:
        yield Finding("first", "ok", "fine")
        raise KeyError("oh")

    monkeypatch.setattr("mmkit.doctor.run.CHECKS", {"bad": bad, "good": lambda: [Finding("good", "ok", "fine")]})
    report = "please report it to the authors of mmkit"
    assert list(examine()) == [
        Finding("first", "ok", "fine"),
        Finding("bad", "problem", "could not be looked at: KeyError: 'oh'", report),
        Finding("good", "ok", "fine"),
    ]


def test_a_torch_that_cannot_be_imported_is_one_problem_and_the_rest_is_still_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [{"step": "torch", "error": "OSError: no"}, {"step": "accelerator", "error": "OSError: no"}]
    monkeypatch.setattr("mmkit.doctor.run.facts.packages", lambda names: [Package("torch", "2.14.1")])
    monkeypatch.setattr("mmkit.doctor.run.probe", lambda steps: iter(answers))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch, cores = CHECKS["libraries"]()
    assert torch == Finding(
        "torch",
        "problem",
        "2.14.1 cannot be imported: OSError: no",
        "pip install --force-reinstall 'torch==2.14.1'",
    )
    assert (cores.check, cores.status) == ("threads", "ok")


FOUND = [Finding("python", "ok", "3.12"), Finding("accelerator", "note", "none")]
BAD = Finding("torch", "problem", "2.0 cannot be imported", "pip install torch")


def test_the_command_prints_a_line_a_check_and_its_code_says_whether_there_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmkit.doctor.examine", lambda: iter(FOUND))
    doctor()
    assert capsys.readouterr().out == (
        "ok       python         3.12\nnote     accelerator    none\n\n1 ok, 1 note, 0 problems\n"
    )
    monkeypatch.setattr("mmkit.doctor.examine", lambda: iter([*FOUND, BAD]))
    with pytest.raises(Exit) as ended:
        doctor()
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.splitlines()[2:] == [
        "problem  torch          2.0 cannot be imported",
        "         fix: pip install torch",
        "",
        "1 ok, 1 note, 1 problem",
    ]
    with pytest.raises(Exit):
        doctor(as_json=True)
    assert json.loads(capsys.readouterr().out)[2] == {
        "check": "torch",
        "status": "problem",
        "text": "2.0 cannot be imported",
        "fix": "pip install torch",
    }


def test_this_environment_is_looked_at_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "probe", partial(probe, patience=300))  # other programs may have the machine
    found = list(examine())
    assert [one for one in found if "could not be looked at" in one.text] == []
    names = {one.check for one in found}
    assert names >= {"python", "torch", "torchvision", "torchaudio", "transformers", "timm", "accelerator", "threads"}
    assert names >= {"cache", "downloads", "runs", "plugins", "requirements", "extra"}
    assert [one for one in found if one.status == "problem" and not one.fix] == []
