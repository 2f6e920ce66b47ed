"""``mmkit.tune``: trials, interruption, pruning, failures, and the spec of the best."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock

import mmkit
from mmkit.errors import CheckpointError, MmkitError, SpecError, TrainingError
from mmkit.tuning.run import TuneResult

LR, DIM = "train.stages[0].lr", "backbone.hidden_dim"
Tune = Callable[..., TuneResult]


def folders(root: Path) -> dict[str, set[str]]:
    return {path.name: {inside.name for inside in path.iterdir()} for path in sorted((root / "trials").iterdir())}


def test_trials_find_a_better_spec_that_trains_to_the_same_value(
    spec: dict[str, Any], tune: Any, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    for part in ("train", "valid", "test"):  # named relative to the spec, as a user would
        spec["data"][part] = [{"task": "mood", "path": "rows.jsonl"}]
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    found: TuneResult = tune(path, trials=4)
    assert found.metric == "loss"
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert found.trials[0].values == {LR: 0.01, DIM: 8}  # the spec as it is
    values = [trial.value for trial in found.trials if trial.value is not None]
    assert found.best.value == min(values) < values[0]
    assert len({str(trial.values) for trial in found.trials}) == 4
    written = yaml.safe_load(found.spec.read_text())
    assert found.spec == tmp_path / "search" / "best.yaml"
    assert "tune" not in written
    assert written["data"]["train"][0]["path"] == "../rows.jsonl"
    assert written["train"]["stages"][0]["lr"] == found.best.values[LR]
    assert written["train"]["keep_best"] == {"metric": "loss", "mode": "min"}
    again = mmkit.train(found.spec, output=tmp_path / "again", say=lambda line: None)
    assert mmkit.evaluate(again, "valid")["mood"].metrics["loss"] == pytest.approx(found.best.value, abs=1e-6)
    kept = mmkit.load(found.model, verify=True)
    assert all(torch.equal(a, b) for a, b in zip(kept.state_dict().values(), again.state_dict().values(), strict=True))
    best = folders(tmp_path / "search").pop(f"{found.best.number:04d}")
    assert "model.safetensors" in best
    assert all(left == {"train.log"} for left in folders(tmp_path / "search").values() if left != best)
    assert tune.said[:2] == [f"trial 0: {LR} = 0.01, {DIM} = 8", f"trial 0 done: loss {values[0]:.4g}"]


def test_a_search_goes_on_to_more_trials_and_repeats_none(spec: dict[str, Any], tune: Any, tmp_path: Path) -> None:
    whole = tune(spec, trials=4, output=tmp_path / "whole")
    spec["data"]["workers"] = 0
    first = tune(spec, trials=2)
    tune.said.clear()
    rest = tune(spec, trials=4)
    assert rest.trials[:2] == first.trials
    assert rest.trials == whole.trials
    assert tune.said[0] == f"going on after 2 of 4 trials in {tmp_path / 'search'}"
    tune.said.clear()
    assert tune(spec, trials=4).trials == whole.trials
    assert tune.said == [f"going on after 4 of 4 trials in {tmp_path / 'search'}"]


def test_an_interrupted_trial_goes_on_where_it_was(spec: dict[str, Any], tune: Any, tmp_path: Path) -> None:
    spec["train"]["save_every"] = 3
    whole = tune(spec, trials=3, output=tmp_path / "whole")
    seen: list[tuple[str, int]] = []

    def stop(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        if not figures:
            seen.append((stage, at))
        if seen.count(("all", 5)) == 2 and not figures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(spec, trials=3, step=stop)
    seen.clear()
    journal = tmp_path / "search" / "study.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":9,"wor')  # as a process leaves it that dies while writing
    journal.with_name("study.journal.lock").symlink_to(journal)
    found = tune(spec, trials=3, step=lambda stage, at, of, figures: seen.append((stage, at)))
    assert found.trials == whole.trials
    assert seen[0] == ("trials", 1)
    assert seen[1] == ("all", 4)  # after the checkpoint of step 3
    assert "resuming from" in (tmp_path / "search" / "trials" / "0001" / "train.log").read_text()


def test_a_trial_in_which_the_process_dies_thrice_is_given_up(spec: dict[str, Any], tune: Any) -> None:
    def die(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        if (stage, at) == ("all", 1):
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        child = os.fork()
        if child == 0:
            tune(spec, trials=2, step=die)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    found = tune(spec, trials=2)
    assert [(trial.state, trial.reason) for trial in found.trials] == [
        ("failed", "the process died in it 3 times"),
        ("complete", ""),
    ]


def test_a_bad_trial_is_stopped_early(spec: dict[str, Any], tune: Any, tmp_path: Path) -> None:
    spec["train"]["stages"][0]["lr"] = 0.1
    spec["tune"] = {"space": {LR: {"choice": [0.1, 1e-7]}}, "prune_after": 1, "metric": "mood.loss", "trials": 4}
    found = tune(spec)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert {trial.values[LR] for trial in pruned} == {1e-7}
    one = pruned[0].number
    assert "step 2/6" not in (tmp_path / "search" / "trials" / f"{one:04d}" / "train.log").read_text()
    assert f"trial {one} stopped early: mood.loss {pruned[0].value:.4g}" in tune.said
    spec["tune"]["pruner"] = "none"
    assert {trial.state for trial in tune(spec, output=tmp_path / "other").trials} == {"complete"}


def test_a_failed_trial_is_recorded_and_the_search_goes_on(spec: dict[str, Any], tune: Any, tmp_path: Path) -> None:
    spec["train"] |= {"eval_every": 6}
    spec["train"]["stages"][0] |= {"clip": 1e30, "lr": 0.01}
    spec["tune"] = {"space": {LR: {"choice": [0.01, 1e30]}}, "trials": 4, "seed": 1}
    found = tune(spec)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert {trial.values[LR] for trial in failed} == {1e30}
    assert failed[0].reason.startswith("the loss of task mood is nan at step ")
    assert failed[0].value is None
    log = tmp_path / "search" / "trials" / f"{failed[0].number:04d}" / "train.log"
    assert f"trial {failed[0].number} failed: {failed[0].reason} (its log: {log})" in tune.said
    assert found.best.values[LR] == 0.01


def test_when_every_trial_fails_all_reasons_are_told(
    spec: dict[str, Any], tune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmkit.tuning.trial as trial_module

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("kernel size too large")

    monkeypatch.setattr(trial_module, "train", fail)
    for _ in range(2):
        with pytest.raises(TrainingError) as caught:
            tune(spec, trials=2)
        assert str(caught.value) == (
            "every one of 2 trials has failed:\n"
            "  0: RuntimeError: kernel size too large\n"
            "  1: RuntimeError: kernel size too large"
        )


def test_trials_of_another_spec_are_refused_and_a_search_that_has_none_begins_anew(
    spec: dict[str, Any], tune: Any, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as wrong:
        tune(spec, metric="mood.acuracy")
    assert str(wrong.value).startswith(
        "the spec has 1 problem:\n"
        "  train.keep_best: there is no metric 'mood.acuracy' on data.valid: did you mean 'mood.accuracy'?"
    )
    found = tune(spec, metric="mood.accuracy", trials=1)
    assert found.best.value is not None
    assert 0 <= found.best.value <= 1
    spec["train"]["stages"][0]["steps"] = 7
    spec["train"]["log_every"] = 1
    with pytest.raises(CheckpointError) as caught:
        tune(spec, trials=3)
    assert str(caught.value) == (
        f"{tmp_path / 'search' / 'study.journal'} has trials of another spec:\n"
        "  train.stages[0].steps: 6 there, 7 here\n"
        "  tune.metric: 'mood.accuracy' there, 'loss' here\n"
        "  tune.mode: 'max' there, 'min' here\n"
        "fix: set these back, or search into another folder (--output)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tune": None},
            "  (top): the spec has no tune section\n"
            '    fix: add tune: {"train.stages[0].lr": {log_uniform: [1.0e-4, 1.0e-2]}}',
        ),
        ({"train": None}, "  (top): the spec has no train section\n    fix: add train: {stages: [...]}"),
    ],
)
def test_a_spec_without_what_a_search_needs_is_refused(
    spec: dict[str, Any], tune: Any, change: dict[str, Any], message: str
) -> None:
    spec |= change
    if change == {"train": None}:
        spec["tune"] = {DIM: {"choice": [4, 8]}}
    with pytest.raises(SpecError) as caught:
        tune(spec)
    assert str(caught.value) == f"the spec has 1 problem:\n{message}"


def test_a_search_needs_rows_to_evaluate_on_and_a_metric_of_their_task(spec: dict[str, Any], tune: Any) -> None:
    for metric, hint in (
        ("moood.f1", "did you mean 'mood'?"),
        ("f1", "write loss or TASK.METRIC, for example mood.loss"),
    ):
        with pytest.raises(SpecError) as caught:
            tune(spec, metric=metric)
        assert str(caught.value) == (
            "the spec has 1 problem:\n"
            f"  tune.metric: metric {metric!r} is of no task with rows in data.valid: {hint}"
        )  # fmt: skip
    del spec["data"]["valid"]
    with pytest.raises(SpecError) as caught:
        tune(spec)
    assert str(caught.value) == (
        "the spec has 1 problem:\n  tune: tune needs rows to evaluate on, and the spec names no data.valid\n"
        "    fix: add data: {valid: [{task: …, path: …}]}"
    )


def test_two_searches_into_one_folder_exclude_each_other(spec: dict[str, Any], tune: Any, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(MmkitError) as caught:
        tune(spec)
    assert str(caught.value) == f"another process searches into {folder}; wait for it, or give another --output"


def test_without_optuna_the_way_to_install_it_is_said(
    spec: dict[str, Any], tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MmkitError) as caught:
        tune(spec)
    assert str(caught.value) == "mmkit tune needs Optuna, which is not installed: pip install 'mmkit[tune]'"


def test_many_processes_are_refused(spec: dict[str, Any], tune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MmkitError) as caught:
        tune(spec)
    assert str(caught.value) == (
        "mmkit tune runs in one process; start it without torchrun or accelerate launch"
    )  # fmt: skip


def test_the_metric_is_that_of_keep_best_where_nothing_else_is_said(spec: dict[str, Any], tune: Any) -> None:
    spec["train"]["keep_best"] = {"metric": "mood.accuracy", "mode": "min"}
    found = tune(spec, trials=1)
    assert found.metric == "mood.accuracy"
    assert yaml.safe_load(found.spec.read_text())["train"]["keep_best"] == spec["train"]["keep_best"]
