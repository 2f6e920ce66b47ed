"""The attacks find what is there to find, and nothing where there is nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmkit
from mmkit.audit import audit
from mmkit.audit.attack import auc, best_accuracy, estimate, tpr_at_fpr
from mmkit.cli.app import main
from mmkit.errors import MmkitError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty members and sixty others: random words with random labels, so that all there is to learn is who was there."""
    folder = tmp_path_factory.mktemp("audit")
    draw = np.random.default_rng(0)
    for name in ("members", "others"):
        words = ["".join(draw.choice(list("abcdefgh"), 8)) for _ in range(60)]
        rows = [{"text": word, "label": str(draw.choice(["no", "yes"]))} for word in words]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def spec(files: Path, **train: Any) -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "characters"}}},
        "backbone": {"use": "transformer", "dim": 32, "layers": 1, "heads": 2},
        "tasks": {
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["no", "yes"]}}
        },
        "data": {"train": [{"task": "mood", "path": str(files / "members.jsonl")}]},
        "train": {"trackers": [], "log_every": 1000, **train},
    }


def stage(**options: Any) -> dict[str, Any]:
    return {"name": "all", "batch_size": 20, "lr": 0.01, "schedule": "constant", "weight_decay": 0.0, **options}


@pytest.fixture(scope="module")
def leaky(files: Path) -> Path:
    mmkit.train(spec(files, stages=[stage(steps=150)]), output=files / "leaky")
    return files / "leaky"


def attacked(model: Any, files: Path, **options: Any) -> Any:
    return audit(model, "mood", files / "members.jsonl", files / "others.jsonl", **options)


def test_a_model_that_knows_its_rows_by_heart_leaks(files: Path, leaky: Path) -> None:
    found = attacked(leaky, files)
    figures = found.attacks["loss"]
    assert figures["auc"].value > 0.75
    assert figures["auc"].low > 0.6
    assert figures["balanced_accuracy"].value > 0.65
    assert found.words()[0].startswith(
        "loss: the model tells who was in its training data. Shown one row that was and one"
    )


def test_a_model_that_was_not_trained_leaks_nothing(files: Path) -> None:
    model = mmkit.build(spec(files, stages=[stage(steps=1)]), fit={"text": ["abcdefgh"]})
    found = attacked(model, files)
    figures = found.attacks["loss"]
    assert figures["auc"].low < 0.5 < figures["auc"].high
    assert found.words()[0] == (
        "loss: no leak was found: telling members from others works no better than guessing (95% interval of the AUC "
        f"{figures['auc'].low:.2f} to {figures['auc'].high:.2f})"
    )


def test_a_privately_trained_model_does_not_leak_and_says_its_bound(files: Path) -> None:
    pytest.importorskip("opacus")
    privacy = {"epsilon": 1.0, "delta": 1e-3, "accountant": "rdp", "seed": 1}
    model = mmkit.train(spec(files, stages=[stage(steps=20)], privacy=privacy), output=files / "private")
    found = attacked(model, files)
    assert found.attacks["loss"]["auc"].low < 0.5 < found.attacks["loss"]["auc"].high
    assert found.bound == pytest.approx(0.73, abs=0.005)  # (e + δ) / (1 + e)
    assert found.attacks["loss"]["balanced_accuracy"].low <= found.bound
    assert "its private training bounds the balanced accuracy of any attack on one row by 0.73" in found.words()[1]


def test_a_reference_calibrates(files: Path, leaky: Path) -> None:
    reference = mmkit.build(spec(files, stages=[stage(steps=1)]), fit={"text": ["abcdefgh"]})
    found = attacked(leaky, files, reference=reference)
    assert set(found.attacks) == {"loss", "calibrated"}
    assert found.attacks["calibrated"]["auc"].value > 0.75
    same = attacked(leaky, files, reference=leaky)
    assert same.attacks["calibrated"]["auc"].value == 0.5


def test_figures_of_known_scores() -> None:
    members, others = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, 0.0, -1.0, -2.0])
    pairs = [(a > b) + (a == b) / 2 for a in members for b in others]
    assert auc(members, others) == sum(pairs) / 16
    assert best_accuracy(members, others) == (2 / 4 + 4 / 4) / 2  # threshold 1.5
    assert tpr_at_fpr(members, others) == 2 / 4
    many = np.random.default_rng(0).normal(size=(2, 400))
    found = estimate(auc, many[0] + 1, many[1])
    assert found.low < 0.76 < found.high  # Φ(1/√2)
    assert found.high - found.low < 0.1


def test_the_command_prints_a_table_or_json(files: Path, leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["audit", str(leaky), "--task", "mood", "--members", str(files / "members.jsonl")]
    given += ["--others", str(files / "others.jsonl")]
    with pytest.raises(SystemExit) as left:
        main([*given, "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["members"] == found["others"] == 60
    assert found["attacks"]["loss"]["auc"]["value"] > 0.75
    with pytest.raises(SystemExit):
        main(given)
    said = capsys.readouterr()
    assert "balanced_accuracy" in said.out
    assert "fewer than 200 rows a group: the share of members found at 1% false alarms is coarse" in said.out + said.err


def test_what_cannot_be_audited_is_named(files: Path, leaky: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"text": "abc", "label": "no"}\n' * 3)
    with pytest.raises(MmkitError, match=r"few.jsonl has 3 rows; an audit needs at least 20 members and 20 others$"):
        audit(leaky, "mood", few, files / "others.jsonl")
    with pytest.raises(MmkitError, match=r"there is no task 'mod': did you mean 'mood'\?"):
        audit(leaky, "mod", few, few)
