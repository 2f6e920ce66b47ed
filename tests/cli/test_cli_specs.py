"""``mmkit check`` and ``mmkit inspect``."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.cli.conftest import SPEC, Run


def changed(path: Path, **changes: Any) -> Path:
    """The spec with top-level keys replaced."""
    path.write_text(yaml.safe_dump({**SPEC, **changes}, sort_keys=False))
    return path


def table(text: str) -> dict[str, list[str]]:
    """First column → the other cells that are not empty."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_check_prints_what_each_node_costs(run: Run, spec: Path) -> None:
    done = run("check", spec)
    assert (done.code, done.err) == (0, "")
    rows = table(done.out)
    backbone = 20 * 8 + 4 * 8 * (8 + 8 + 2) + 20 * (8 + 1)  # table, LSTM, output layer
    assert rows["backbone"][:4] == ["text/lstm", "8", f"{backbone:,}", f"{backbone:,}"]
    assert rows["image.adapter"][:5] == ["tasks/linear", "8", "40", "40", "16"]
    assert rows["mood.head"] == ["tasks/classify", "18", "18", "≈", "36/token", "0.0", "0.0"]
    notes = done.out.splitlines()[-3:]
    assert notes == [
        "tokens: of one item (image: picture of 8 × 8 pixels)",
        "FLOPs: forward; ≈: two per parameter and token (--flops counts, encoders too)",
        "MB to train: weights, gradients, AdamW's state in the heaviest stage; no activations",
    ]


def test_check_has_a_column_for_each_stage_that_differs(run: Run, spec: Path) -> None:
    stages = [{"name": "heads", "train": "*.head", "steps": 1}, {"name": "all", "steps": 1}]
    done = run("check", changed(spec, train={"stages": stages}))
    assert "heads trains" in done.out
    total = table(done.out)["total"]
    found = json.loads(run("check", spec, "--json").out)
    assert found["total"]["stages"] == {"heads": 18 + 10, "all": found["total"]["parameters"]}
    assert total[1:3] == ["28", f"{found['total']['parameters']:,}"]
    weights = 4 * found["total"]["parameters"] / 1e6
    assert found["total"]["megabytes"] == pytest.approx(weights)
    assert found["total"]["training_megabytes"] == pytest.approx(4 * weights)


def test_check_says_what_no_task_reads(run: Run, spec: Path) -> None:
    tasks = {name: SPEC["tasks"][name] for name in ("mood", "shade")}
    done = run("check", changed(spec, tasks=tasks), "--static")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "image.adapter: no task reads it"
    assert run("inspect", spec).out.splitlines()[-1] == "image.adapter: no task reads it"


def test_check_refuses_a_stage_that_matches_nothing(run: Run, spec: Path) -> None:
    done = run("check", changed(spec, train={"stages": [{"name": "a", "train": ["bakbone"], "steps": 1}]}))
    assert (done.code, done.out) == (2, "")
    line = spec.read_text().splitlines().index("    - bakbone") + 1
    assert done.err == (
        f"error: the spec has 1 problem:\n  {spec}:{line}:7: train.stages[0].train[0]: 'bakbone' matches no parameter: "
        "did you mean 'backbone'?\n"
    )


def test_flops_are_counted_on_request(run: Run, spec: Path) -> None:
    rows = {row["node"]: row for row in json.loads(run("check", spec, "--flops", "--json").out)["nodes"]}
    assert (rows["image.adapter"]["flops"], rows["image.adapter"]["flops_per"]) == (2 * 4 * 8 * 16, "item")
    assert rows["image.adapter"]["flops_counted"]
    assert rows["image.encoder"]["flops"] > 0
    assert not rows["backbone"]["flops_counted"]
    assert rows["text.adapter"]["flops"] is None


def test_narrow_terminals_keep_every_figure_readable(run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("check", spec)
    assert "no room for: width, MB, FLOPs (--json has everything)" in done.out
    assert table(done.out)["image.adapter"] == ["tasks/linear", "40", "40", "16", "0.0"]
    monkeypatch.setenv("COLUMNS", "30")
    lines = run("check", spec).out.splitlines()
    start = lines.index("image.adapter")
    assert lines[start + 1 : start + 4] == ["  component: tasks/linear", "  parameters: 40", "  trained: 40"]


def test_inspect_shows_who_reads_whom(run: Run, spec: Path) -> None:
    done = run("inspect", spec)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "node           component       reads                        spells with\n"
        "────────────────────────────────────────────────────────────────────────\n"
        "image.encoder  image/cnn       image (raw)\n"
        "text.adapter   text/words      text (raw)\n"
        "image.adapter  tasks/linear    image.encoder\n"
        "backbone       text/lstm       image.adapter, text.adapter\n"
        "caption.head   tasks/generate  backbone                     text.adapter\n"
        "mood.head      tasks/classify  backbone\n"
        "shade.head     tasks/classify  image.encoder\n"
        "\n"
        "task     input    output\n"
        "───────────────────────────\n"
        "caption  {image}  {caption}\n"
        "mood     {text}   {label}\n"
        "shade    {image}  {tint}\n"
    )


def test_inspect_as_mermaid_as_json_and_as_a_picture(run: Run, spec: Path, tmp_path: Path) -> None:
    mermaid = run("inspect", spec, "--mermaid").out.splitlines()
    assert mermaid[0] == "graph LR"
    assert '  n1["image.encoder<br/><i>cnn</i>"]:::encoder' in mermaid
    assert any(line.count("-.->") for line in mermaid)
    found = json.loads(run("inspect", spec, "--json").out)
    assert {"from": "text.adapter", "to": "caption.head", "spells": True} in found["edges"]
    assert [task["reads"] for task in found["tasks"]] == [["backbone"], ["backbone"], ["image.encoder"]]
    done = run("inspect", spec, "--svg", tmp_path / "new" / "graph.svg")
    assert done.err == f"wrote {tmp_path / 'new' / 'graph.svg'}\n"
    root = ElementTree.parse(tmp_path / "new" / "graph.svg").getroot()
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {box["name"] for box in found["nodes"]} <= texts
    done = run("inspect", spec, "--json", "--mermaid")
    assert (done.code, done.err) == (2, "error: --mermaid and --json exclude each other: each prints something else\n")
