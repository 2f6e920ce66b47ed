from pathlib import Path

import pytest

from mmkit.errors import SpecError
from mmkit.registry.registry import Registry
from mmkit.spec.load import read_source
from mmkit.spec.schema import Spec
from mmkit.spec.template import Literal, Slot, parse
from mmkit.wiring.planner import plan

EMPTY = Registry([])


def test_template_parts_are_structure_and_double_braces_are_text() -> None:
    assert parse("{image} Say {{x}}.") == (Slot("image"), Literal(" Say {x}."))


def test_unbalanced_brace_is_named() -> None:
    with pytest.raises(ValueError, match=r"^unbalanced '\{' at character 2; write '\{\{' for a brace$"):
        parse("a {image")


def test_all_problems_are_reported_at_once_with_line_and_nearest(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("mmkit: 1\nmodalties: {}\ntasks:\n  a:\n    input: '{x}'\n    head: {use: classify}\n    foo: 1\n")
    with pytest.raises(SpecError) as caught:
        plan(file, EMPTY)
    lines = [str(p) for p in caught.value.problems]
    assert lines[0] == f"{file}:1:1: (top): the key 'modalities' is missing"
    assert lines[1] == (
        f"{file}:7:5: tasks.a.foo: unknown key 'foo': allowed: columns, head, input, output, reads, weight"
    )
    assert lines[2] == f"{file}:2:1: modalties: unknown key 'modalties': did you mean 'modalities'?"
    assert lines[3].startswith(f"{file}:6:12: tasks.a.head.use: unknown head 'classify': allowed: nothing here")


def test_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        text += f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]\n"
    file = tmp_path / "bomb.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match="more than 20,000 values once aliases are expanded"):
        read_source(file)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text("a: " + "[" * 100 + "]" * 100)
    with pytest.raises(SpecError, match="nested deeper than 40 levels"):
        read_source(file)


def test_key_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("mmkit: 1\nmmkit: 1\n")
    with pytest.raises(SpecError, match=r"twice.yaml:2:1: mmkit: the key is given twice\n    fix: keep one of them"):
        read_source(file)


def test_json_schema_takes_a_single_name_where_the_spec_does() -> None:
    fields = Spec.model_json_schema()["$defs"]
    for model, field in (("Task", "reads"), ("Stage", "train"), ("Urls", "hosts")):
        kinds = [option.get("type") for option in fields[model]["properties"][field]["anyOf"]]
        assert {"array", "string"} <= set(kinds)
