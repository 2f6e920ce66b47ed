"""``mmkit train`` and ``mmkit evaluate``."""

import json
from pathlib import Path

import mmkit
from mmkit.cli.output import to_json
from tests.cli.conftest import Run, write_rows


def test_train_prints_the_folder_and_tells_the_rest_on_stderr(run: Run, spec: Path, tmp_path: Path) -> None:
    done = run("train", spec, "--output", tmp_path / "model", "--seed", "3")
    assert (done.code, done.out) == (0, f"{tmp_path / 'model'}\n")
    assert "mood.head" in done.err  # the table of what trains comes before the steps
    assert done.err.index("mood.head") < done.err.index("loss")
    assert "━" not in done.err
    settings = mmkit.load(tmp_path / "model").plan.spec.train
    assert settings is not None
    assert settings.seed == 3


def test_train_refuses_a_wrong_spec_before_anything_is_written(run: Run, spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("steps: 2", "stepz: 2"))
    done = run("train", spec, "--output", tmp_path / "model")
    assert (done.code, done.out) == (2, "")
    assert "unknown key 'stepz': did you mean 'steps'?" in done.err
    assert not (tmp_path / "model").exists()
    del_train = spec.read_text().partition("train:\n  log_every")[0]
    spec.write_text(del_train)
    assert run("train", spec).err == (
        "error: the spec has 1 problem:\n"
        f"  {spec}:1:1: (top): the spec has no train section\n    fix: add train: {{stages: [...]}}\n"
    )


def test_evaluate_prints_a_table_json_and_predictions(run: Run, model: Path, tmp_path: Path) -> None:
    expected = mmkit.evaluate(model)
    done = run("evaluate", model, "--batch-size", "3")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split() == ["task", "rows", "metric", "value"]
    cells = [line.split() for line in done.out.splitlines()[2:]]
    assert ["mood", "8", "accuracy", f"{expected['mood'].metrics['accuracy']:.4f}"] in cells
    lines = tmp_path / "new" / "predictions.jsonl"
    done = run("evaluate", model, "--json", "--predictions", lines)
    assert json.loads(done.out)["shade"]["rows"] == 8
    assert json.loads(done.out)["mood"]["metrics"].keys() == expected["mood"].metrics.keys()
    assert done.err == f"wrote {lines}\n"
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["task"] for line in written] == ["mood"] * 8 + ["shade"] * 8
    assert written[0]["reference"] == "pos"
    assert written[0]["row"] == "rows.jsonl:1"
    assert written[0]["prediction"]["probabilities"].keys() == {"neg", "pos"}


def test_evaluate_a_few_rows_and_rows_that_are_not_there(run: Run, model: Path) -> None:
    done = run("evaluate", model, "--limit", "2", "--json")
    assert {task: result["rows"] for task, result in json.loads(done.out).items()} == {"mood": 2, "shade": 2}
    done = run("evaluate", model, "--part", "valid")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: the spec names no data.valid; add ")


def test_a_bad_row_of_the_data_is_named(run: Run, spec: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": "warm", "label": "poss"}] * 2)
    done = run("train", spec, "--output", tmp_path / "model")
    assert (done.code, done.out) == (2, "")
    assert "label 'poss' is not in the head's labels; did you mean 'pos'?" in done.err
    assert "Traceback" not in done.err


def test_json_for_scripts_is_what_every_reader_takes() -> None:
    value = {"loss": float("nan"), "best": float("inf"), 3: (1, 2.5), "raw": b"abc", "path": Path("a")}
    assert to_json(value) == '{"loss": null, "best": null, "3": [1, 2.5], "raw": "<3 bytes>", "path": "a"}'
