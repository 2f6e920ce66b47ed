"""Plugins that are broken, clash, are absent or are lost in a worker: the others work, and cause and cure are named."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

Install = Callable[..., Path]

HEART = """
import sys
import torch
from torch import nn
from mmkit import *

class Beats(Processor):
    strings_are_paths = False
    def __call__(self, raw):
        if raw == [9]:
            raise ZeroDivisionError("oh no")
        return {"values": torch.tensor(raw, dtype=torch.float32)[:, None]}
    def num_features(self, item):
        return len(item["values"])
    def collate(self, items):
        return {"values": Ragged.of([item["values"] for item in items])}

class Ecg(Encoder):
    feature_dim = 1
    def processor(self):
        return Beats()
    def forward(self, batch):
        return batch["values"]

class Config(Config):
    pass

def build(context):
    return Ecg()

@hookimpl
def mmkit_components():
    return [Component("encoder", "ecg", "For tests.", "plug_heart:build", "plug_heart:Config", modality="ecg")]
"""


def heart_spec(path: Path, **data: Any) -> dict[str, Any]:
    source = {"task": "beat", "path": str(path)}
    return {
        "mmkit": 1,
        "modalities": {"ecg": {"encoder": "ecg"}},
        "tasks": {
            "beat": {"input": "{ecg}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}},
        },
        "data": {"train": [source], "test": [source], **data},
        "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 2}]},
    }


BROKEN = {
    "failed": ("raise RuntimeError('no luck')", "failed to load: RuntimeError: no luck"),
    "missing": ("import a_module_that_is_not_there", "failed to load: ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
    "exits": ("import sys; sys.exit(3)", "failed to load: SystemExit: 3"),
    "typo": (HEART.replace("def mmkit_components", "def mmkit_componets"), "failed to load: PluginValidationError: unknown hook 'mmkit_componets' in plugin"),
    "silent": (HEART.replace("@hookimpl", ""), "failed to load: the plugin offers no components"),
    "old": (HEART.replace('modality="ecg")', 'modality="ecg", api=99)'), "is incompatible: written for plugin API 99, this mmkit has 1"),
    "kind": (HEART.replace('"encoder", "ecg"', '"encodr", "ecg"'), "failed to load: component 'ecg' has kind 'encodr'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_the_reason_given_where_it_is_needed_and_only_there(
    mood: dict[str, Any], install: Install, problems: Any, tmp_path: Path, train: Any, name: str
) -> None:
    code, reason = BROKEN[name]
    install("heart", code)
    (report,) = [report for report in mmkit.plugins() if report.name == "heart"]
    assert str(report).startswith(f"plugin 'heart' (mmkit-heart 1.0) {reason}")
    assert {r.status for r in mmkit.plugins() if r.name != "heart"} == {"loaded"}
    assert mmkit.evaluate(train(mood))["mood"].predictions
    (said,) = problems(heart_spec(tmp_path / "none.jsonl"), static=True)
    assert said == (
        f"modalities.ecg.encoder.use: unknown encoder 'ecg': allowed: cnn, conformer, fsq-audio, fsq-image, gru, hf-audio, hf-text, "
        f"hf-vision, log-mel, lstm, timm, transformer; {report}\n    fix: see `mmkit components`"
    )


def test_two_distributions_of_one_plugin_name_clash_and_neither_wins(
    install: Install, problems: Any, tmp_path: Path
) -> None:
    install("heart", HEART)
    site = install("other", HEART)
    (site / "mmkit_other-1.0.dist-info" / "entry_points.txt").write_text("[mmkit]\nheart = plug_other\n")
    from mmkit.discovery import discover

    discover.cache_clear()
    reports = [report for report in mmkit.plugins() if report.name == "heart"]
    assert [report.status for report in reports] == ["clash", "clash"]
    reason = "two distributions claim the plugin name 'heart': "
    assert all(report.reason.startswith(reason) for report in reports)
    assert all("mmkit-heart (plug_heart)" in report.reason for report in reports)
    assert all("mmkit-other (plug_other)" in report.reason for report in reports)
    (said,) = problems(heart_spec(tmp_path / "none.jsonl"), static=True)
    assert f"plugin 'heart' (mmkit-heart 1.0) clashes: {reason}" in said


def test_two_plugins_of_one_component_name_need_the_full_name(
    mood: dict[str, Any], install: Install, problems: Any
) -> None:
    install("heart", HEART.replace('"ecg", "For', '"cnn", "For'))
    mood["modalities"]["ecg"] = {"encoder": {"use": "cnn"}, "adapter": "linear"}
    assert problems(mood, static=True) == [
        "modalities.ecg.encoder.use: 'cnn' is offered by heart/cnn and image/cnn: write one of these full names\n"
        "    fix: see `mmkit components`"
    ]
    mood["modalities"]["ecg"]["encoder"] = "heart/cnn"
    assert "ecg.encoder" in {row.node for row in mmkit.check(mood)}


def test_a_plugin_that_breaks_when_its_component_is_used_is_named(
    install: Install, problems: Any, tmp_path: Path
) -> None:
    install("heart", HEART.replace("plug_heart:Config", "plug_heart_config:Config"))
    spec = heart_spec(tmp_path / "none.jsonl")
    assert problems(spec, static=True) == [
        "modalities.ecg.encoder.use: 'ecg' cannot be configured: ModuleNotFoundError: No module named 'plug_heart_config'"
    ]


def test_a_component_whose_builder_is_missing_is_named(install: Install, tmp_path: Path) -> None:
    install("heart", HEART.replace("plug_heart:build", "plug_heart:built"))
    with pytest.raises(mmkit.PluginError) as caught:
        mmkit.build(heart_spec(tmp_path / "none.jsonl"))
    assert str(caught.value) == (
        "heart/ecg at modalities.ecg.encoder could not be built: "
        "AttributeError: module 'plug_heart' has no attribute 'built'"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_component_that_crashes_in_a_worker_is_named_without_a_traceback(
    install: Install, write_rows: Any, train: Any, workers: int
) -> None:
    install("heart", HEART)
    path = write_rows([{"ecg": [9], "label": "x"}])
    with pytest.raises(mmkit.PluginError) as caught:
        train(heart_spec(path, workers=workers))
    assert str(caught.value) == f"{path}:1: heart/ecg failed on column 'ecg': ZeroDivisionError: oh no"


PROGRAM = """
import multiprocessing, sys
import mmkit
from pathlib import Path

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    spec = {spec!r}
    try:
        mmkit.train(spec, output={output!r}, say=lambda line: None)
        print("trained")
    except mmkit.MmkitError as error:
        print(type(error).__name__, error)
"""


def run(tmp_path: Path, site: Path, spec: dict[str, Any]) -> str:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(spec=spec, output=str(tmp_path / "model")))
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr


def test_a_plugin_works_in_a_spawned_worker(tmp_path: Path, install: Install, write_rows: Any) -> None:
    site = install("heart", HEART)
    path = write_rows([{"ecg": [1, 2], "label": "x"}, {"ecg": [3], "label": "y"}])
    assert run(tmp_path, site, heart_spec(path, workers=1)) == "trained"


@pytest.mark.slow
def test_a_plugin_that_is_lost_in_a_spawned_worker_is_named(tmp_path: Path, install: Install, write_rows: Any) -> None:
    lost = "import multiprocessing\nif multiprocessing.current_process().name != 'MainProcess':\n    raise ImportError('no heart here')\n"
    site = install("heart", lost + HEART)
    path = write_rows([{"ecg": [1, 2], "label": "x"}, {"ecg": [3], "label": "y"}])
    said = run(tmp_path, site, heart_spec(path, workers=1))
    reason = "a data worker cannot use the components: ImportError: no heart here"
    assert said in [f"PluginError {path}:{row}: {reason}" for row in (1, 2)]


def test_the_allow_list_leaves_plugins_out_and_says_so(mood: dict[str, Any]) -> None:
    program = f"""
import mmkit
try:
    mmkit.check({mood!r}, static=True)
except mmkit.SpecError as error:
    print(error)
print([(report.name, report.status) for report in mmkit.plugins()])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MMKIT_PLUGINS": "text"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[1].startswith(
        "  tasks.mood.head.use: unknown head 'classify': allowed: nothing here; plugin 'audio' ("
    )
    assert "plugin 'tasks' (mmkit-tasks 0.1.0) is excluded: not in MMKIT_PLUGINS" in lines[1]
    assert lines[-1] == "[('audio', 'excluded'), ('image', 'excluded'), ('tasks', 'excluded'), ('text', 'loaded')]"
