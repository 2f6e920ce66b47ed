"""Everything about a spec that can be checked without torch: names, templates, reads, heads, sources."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mmkit.discovery import discover
from mmkit.wiring.planner import plan

Problems = Callable[..., list[str]]


@pytest.fixture
def spec(mood: dict[str, Any]) -> dict[str, Any]:
    mood["data"] = None
    return mood


def test_a_head_reads_the_backbone_or_the_one_modality(spec: dict[str, Any]) -> None:
    assert plan(spec, discover()).tasks["mood"].reads == ("backbone",)
    spec["modalities"]["tune"] = {"encoder": {"use": "log-mel"}, "adapter": "linear"}
    spec["tasks"]["mood"]["reads"] = ["tune"]
    assert plan(spec, discover()).tasks["mood"].reads == ("tune.adapter",)
    del spec["backbone"], spec["tasks"]["mood"]["reads"]
    spec["tasks"]["mood"]["input"] = "{tune}"
    assert plan(spec, discover()).tasks["mood"].reads == ("tune.adapter",)
    spec["modalities"]["tune"] = {"encoder": {"use": "log-mel"}}
    assert plan(spec, discover()).tasks["mood"].reads == ("tune.encoder",)


def test_columns_have_the_modality_of_their_name_or_the_only_vocabulary(spec: dict[str, Any]) -> None:
    spec["modalities"]["image"] = {"encoder": {"use": "cnn"}, "adapter": "linear"}
    spec["tasks"]["mood"] |= {"input": "{image}{title}{cover}", "columns": {"cover": "image"}}
    task = plan(spec, discover()).tasks["mood"]
    assert dict(task.modality_of) == {"image": "image", "title": "text", "cover": "image"}
    assert (task.output, task.output_modality, task.columns) == ("label", "text", ["image", "title", "cover"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"input": "{text"}, "tasks.mood.input: bad template: unbalanced '{' at character 0; write '{{' for a brace"),
        ({"input": " "}, "tasks.mood.input: the template is empty\n    fix: name a column, for example {text}"),
        ({"output": "a {label}"}, "tasks.mood.output: the output of head 'classify' is one column, got 'a {label}'\n"
         "    fix: write it as {column}; only a head that generates writes several parts"),
        ({"output": "a label"}, "tasks.mood.output: the output names no column: 'a label'\n    fix: write one as {column}"),
        ({"output": "{a}{b}"}, "tasks.mood.output: the output of head 'classify' is one column, got '{a}{b}'\n"
         "    fix: write it as {column}; only a head that generates writes several parts"),
        ({"columns": {"text": "txt"}}, "tasks.mood.columns.text: unknown modality 'txt': did you mean 'text'?"),
        ({"columns": {"txt": "text"}}, "tasks.mood.columns.txt: no template names column 'txt': did you mean 'text'?"),
        ({"reads": "backbon"}, "tasks.mood.reads[0]: there is no node 'backbon': did you mean 'backbone'?"),
        ({"reads": ["backbone", "backbone"]}, "tasks.mood.reads: head 'classify' reads 1 node(s), the task names 2"),
        ({"reads": []}, "tasks.mood.reads: Value should have at least 1 item after validation, not 0"),
        ({"head": {"use": "contrastive"}}, "tasks.mood.reads: head 'contrastive' reads 2 node(s), the task names 1"),
        ({"head": "generate", "output": None}, "tasks.mood: head 'generate' needs an output\n    fix: add output: \"{column}\""),
        ({"head": "linear"}, "tasks.mood.head.use: 'linear' is an adapter, wanted here: head\n    fix: see `mmkit components`"),
        ({"head": {"use": "tasks/clasify"}}, "tasks.mood.head.use: unknown head 'tasks/clasify': did you mean 'classify'?\n    fix: see `mmkit components`"),
        ({"weight": 0}, "tasks.mood.weight: Input should be greater than 0 (got 0)"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_is_named(
    spec: dict[str, Any], problems: Problems, changes: dict[str, Any], expected: str
) -> None:
    spec["tasks"]["mood"] |= changes
    assert problems(spec, static=True) == [expected]


def test_text_of_a_template_needs_a_vocabulary(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"] = {"image": {"encoder": {"use": "cnn"}, "adapter": "linear"}}
    spec["tasks"]["mood"]["input"] = "{image} What is it?"
    assert problems(spec, static=True) == [
        "tasks.mood.input: the template has text of its own, but no modality of the spec is a vocabulary\n"
        "    fix: add a modality such as text: {adapter: {use: bpe}}, or leave only {columns}"
    ]


def test_a_column_that_no_modality_claims_needs_to_be_said(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"]["letters"] = {"adapter": "characters"}
    spec["tasks"]["mood"] |= {"input": "{title}", "output": "{label}", "head": "generate"}
    assert problems(spec, static=True) == [
        "tasks.mood.input: column 'title' is not the name of a modality, and no single vocabulary could spell it\n"
        "    fix: say which it is with columns: {title: …}; modalities: text, letters",
        "tasks.mood.output: column 'label' cannot be spelt by head 'generate': it is not of a vocabulary modality\n"
        "    fix: vocabularies: text, letters",
    ]


def test_a_generating_head_needs_a_backbone_that_can(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"]["image"] = {"encoder": {"use": "cnn"}, "adapter": "linear"}
    spec["tasks"]["mood"]["head"] = "generate"
    spec["backbone"] = {"use": "none", "dim": 8}
    assert problems(spec) == [
        "tasks.mood.head: head 'generate' needs a backbone that generates; 'none' does not\n"
        "    fix: use one of: causal-lm, lstm, seq2seq-lm, transformer"
    ]
    spec["tasks"]["mood"] |= {"reads": "image", "input": "{image}"}
    assert problems(spec) == ["tasks.mood.reads: head 'generate' generates, but 'image.adapter' is not a backbone"]
    spec["tasks"]["mood"] |= {"reads": "backbone", "input": "{text}"}
    spec["backbone"] = {"use": "lstm", "bidirectional": True}
    assert problems(spec) == ["backbone: 'lstm' with these options does not generate, and a head needs it to"]
    del spec["backbone"], spec["tasks"]["mood"]["reads"]
    spec["tasks"]["mood"]["input"] = "{image}"
    assert problems(spec) == ["tasks.mood.reads: head 'generate' generates, but 'image.adapter' is not a backbone"]


def test_sources_name_tasks_that_are_there(mood: dict[str, Any], problems: Problems) -> None:
    mood["data"] = {part: [{"task": "mod", "path": "x.jsonl"}] for part in ("train", "valid", "test")}
    assert problems(mood, static=True) == [
        f"data.{part}[0].task: there is no task 'mod': did you mean 'mood'?" for part in ("train", "valid", "test")
    ]


def test_every_problem_of_every_part_comes_at_once(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"] |= {"image": {"encoder": {"use": "cnn", "image_size": 1}}, "empty": {}}
    assert problems(spec, static=True) == [
        "modalities.empty: needs an encoder, an adapter, or both",
        "modalities.image.encoder.image_size: Input should be greater than or equal to 2 (got 1)",
    ]
    del spec["modalities"]["empty"]
    spec["backbone"]["hiden_dim"] = 3
    spec["tasks"]["mood"] |= {"reads": "x", "input": "{text} {"}
    spec["nodes"] = {"second": {"backbone": "lstm", "reads": [{"node": "y"}]}}
    found = problems(spec, static=True)
    assert [problem.partition(":")[0] for problem in found] == [
        "modalities.image.encoder.image_size",
        "backbone.hiden_dim",
        "nodes.second.reads[0].node",
        "tasks.mood.input",
        "tasks.mood.reads[0]",
    ]


def test_the_static_check_imports_no_torch(spec: dict[str, Any]) -> None:
    code = f"import mmkit, sys; mmkit.check({spec!r}, static=True); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
