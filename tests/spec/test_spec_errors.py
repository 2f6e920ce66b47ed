"""What is wrong with a spec file is said all at once, each with file:line:column and what to write instead."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.spec.schema import Stage

Problems = Callable[..., list[str]]

GOOD = """\
mmkit: 1
modalities:
  text:
    adapter: {use: words, vocab_size: 50}
  tune:
    encoder:
      use: lstm
      vocabulary: {use: characters}
    adapter: {use: mlp}
backbone: {use: lstm, embedding_dim: 8}
nodes:
  second:
    backbone: {use: lstm}
    reads:
      - {node: backbone, adapter: {use: linear}}
tasks:
  mood:
    input: "{text}{tune}"
    output: "{label}"
    reads: second
    head: {use: classify, labels: [neg, pos]}
data:
  train:
    - {task: mood, path: a.jsonl}
train:
  stages:
    - {name: all, steps: 1}
"""


def changed(line: int, old: str, new: str) -> str:
    lines = GOOD.splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    return "".join(lines)


STAGE = ", ".join(sorted(Stage.model_fields))
LEVELS = [
    (1, "mmkit: 1", "mmkit: 1\ntask: {}", "2:1: task: unknown key 'task': did you mean 'tasks'?"),
    (3, "text:", "text:\n    encodr: x", "4:5: modalities.text.encodr: unknown key 'encodr': did you mean 'encoder'?"),
    (4, "vocab_size", "vocab_siz", "4:27: modalities.text.adapter.vocab_siz: unknown key 'vocab_siz': did you mean 'vocab_size'?"),
    (7, "use: lstm", "use: lstm\n      layer: 2", "8:7: modalities.tune.encoder.layer: unknown key 'layer': did you mean 'layers'?"),
    (8, "characters}", "characters, max_sise: 9}", "8:37: modalities.tune.encoder.vocabulary.max_sise: unknown key 'max_sise': did you mean 'max_size'?"),
    (9, "mlp}", "mlp, hiden: 3}", "9:25: modalities.tune.adapter.hiden: unknown key 'hiden': did you mean 'hidden'?"),
    (10, "embedding_dim", "embeding_dim", "10:23: backbone.embeding_dim: unknown key 'embeding_dim': did you mean 'embedding_dim'?"),
    (12, "second:", "second:\n    read: x", "13:5: nodes.second.read: unknown key 'read': did you mean 'reads'?"),
    (13, "lstm}", "lstm, bias: false}", "13:27: nodes.second.backbone.bias: unknown key 'bias': allowed: bidirectional, dropout, embedding_dim, hidden_dim, layers"),
    (15, "node: backbone", "node: backbone, adaptor: x", "15:26: nodes.second.reads[0].adaptor: unknown key 'adaptor': did you mean 'adapter'?"),
    (15, "linear}", "linear, biass: true}", "15:49: nodes.second.reads[0].adapter.biass: unknown key 'biass': did you mean 'bias'?"),
    (18, "    input", "    through: [backbone, second]\n    input", "18:5: tasks.mood.through: unknown key 'through': allowed: columns, head, input, metrics, output, reads, weight"),
    (21, "labels", "freeze: true, labels", "21:27: tasks.mood.head.freeze: unknown key 'freeze': allowed: binary, class_weights, dropout, label_smoothing, labels, multi_label, pool, threshold"),
    (22, "data:", "data:\n  trian: []", "23:3: data.trian: unknown key 'trian': did you mean 'train'?"),
    (24, "path", "weigth: 2, path", "24:20: data.train[0].weigth: unknown key 'weigth': did you mean 'weight'?"),
    (25, "train:", "train:\n  sead: 3", "26:3: train.sead: unknown key 'sead': did you mean 'seed'?"),
    (27, "steps", "freeze: '*', steps", f"27:19: train.stages[0].freeze: unknown key 'freeze': allowed: {STAGE}"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "old", "new", "message"), LEVELS, ids=[case[3].split(": ")[1] for case in LEVELS])
def test_an_unknown_key_at_any_level_is_named_where_it_stands(
    tmp_path: Path, problems: Problems, line: int, old: str, new: str, message: str
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(changed(line, old, new))
    assert problems(file, static=True) == [f"{file}:{message}"]


def test_the_spec_without_these_mistakes_is_accepted(tmp_path: Path, problems: Problems) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        problems(file, static=True)


def test_problems_of_form_and_of_components_come_together(tmp_path: Path, problems: Problems) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "mmkit: 2\nmodalties: {}\ntasks:\n  a:\n    input: '{x}'\n    head: {use: clasify}\n    foo: 1\n"
        "backbone: {use: lstm, layers: 0}\n"
    )
    assert problems(file) == [
        f"{file}:1:1: mmkit: Input should be 1 (got 2)",
        f"{file}:1:1: (top): the key 'modalities' is missing",
        f"{file}:7:5: tasks.a.foo: unknown key 'foo': allowed: columns, head, input, metrics, output, reads, weight",
        f"{file}:2:1: modalties: unknown key 'modalties': did you mean 'modalities'?",
        f"{file}:6:12: tasks.a.head.use: unknown head 'clasify': did you mean 'classify'?\n"
        "    fix: see `mmkit components`",
        f"{file}:8:23: backbone.layers: Input should be greater than 0 (got 0)",
    ]


def test_wrong_values_are_shown_beside_what_is_allowed(tmp_path: Path, problems: Problems) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        changed(27, "steps: 1", "steps: 1, epochs: 2")
        .replace("{name: all", "{name: all, lr: .inf, batch_size: many")
        .replace("path: a.jsonl", "path: a.jsonl, weight: -1")
        .replace("train:\n  stages", "train:\n  precision: fp16\n  stages")
    )
    assert problems(file, static=True) == [
        f"{file}:24:35: data.train[0].weight: Input should be greater than 0 (got -1)",
        f"{file}:28:19: train.stages[0].lr: Input should be a finite number (got inf)",
        f"{file}:28:29: train.stages[0].batch_size: Input should be a valid integer, unable to parse string as an "
        "integer (got 'many')",
        f"{file}:26:3: train.precision: Input should be 'fp32' or 'bf16' (got 'fp16')",
    ]


@pytest.mark.parametrize("text", ["", "just text", "[1, 2]", "null"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path: Path, problems: Problems, text: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    kind = {"": "NoneType", "just text": "str", "[1, 2]": "list", "null": "NoneType"}[text]
    place = f"{file}:1:1" if text else f"{file}"
    assert problems(file) == [f"{place}: (top): a spec is a mapping, got {kind}"]
