"""Reading a spec: places of keys, what is no YAML, and caps that hold while the file is read."""

from pathlib import Path
from typing import Any

import pytest

from mmkit.errors import SpecError
from mmkit.spec.load import MAX_BYTES, MAX_DEPTH, MAX_NODES, read_source


def refused(tmp_path: Path, text: str | bytes) -> str:
    """The only problem of a file, its name shortened to ``spec.yaml``."""
    file = tmp_path / "spec.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        read_source(file)
    (problem,) = caught.value.problems
    return str(problem).replace(str(tmp_path) + "/", "")


def test_every_key_and_item_has_its_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("a:\n  b: [1, {c: 2}]\n'd e': x\n")
    source = read_source(file)
    assert source.data == {"a": {"b": [1, {"c": 2}]}, "d e": "x"}
    assert source.root == tmp_path
    assert source.marks[("a", "b")] == (2, 3)
    assert source.marks[("a", "b", 1, "c")] == (2, 11)
    assert source.problem(("a", "b", 1, "c", "x"), "bad").line == 2
    assert str(source.problem(("d e",), "bad", "mend it")) == f"{file}:3:1: d e: bad\n    fix: mend it"


def test_json_is_yaml(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"a": {"b": null, "c": [true, 1.5e-3]}}')
    assert read_source(file).data == {"a": {"b": None, "c": [True, 0.0015]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "spec.yaml:3:1: a: the key is given twice\n    fix: keep one of them"),
        ("m:\n  t: 1\n  t: 2\n", "spec.yaml:3:3: m.t: the key is given twice\n    fix: keep one of them"),
        ("a: [1\n", "spec.yaml:2:1: (top): not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n---\nb: 2\n", "spec.yaml:2:1: (top): not valid YAML: but found another document"),
        ("a: *b\n", "spec.yaml:1:4: (top): not valid YAML: found undefined alias 'b'"),
        ("? [a, b]\n: 1\n", "spec.yaml:1:3: ?: a key must be a plain word"),
        ("a: 2020-99-99\n", "spec.yaml:1:1: a: not a plain value: month must be in 1..12"),
        (b"a: \xff\n", "spec.yaml: (top): not UTF-8 text: invalid start byte at byte 3"),
        (
            "a: \x01\n",
            "spec.yaml: (top): not valid YAML: unacceptable character #x0001: special characters are not allowed",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refused(tmp_path, text) == message


def test_a_tag_that_would_build_an_object_is_only_text(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("a: !!python/object/apply:os.system ['false']\n")
    assert read_source(file).data == {"a": ["false"]}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_source(tmp_path / "no.yaml")
    assert str(caught.value) == (
        f"the spec has 1 problem:\n  (top): cannot read {tmp_path / 'no.yaml'}: No such file or directory\n"
        "    fix: give the path of a YAML or JSON file"
    )


def bomb(levels: int) -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, levels):
        text += f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]\n"
    return text


MANY = f"more than {MAX_NODES:,} values, those of aliases included"
DEEP = f"nested deeper than {MAX_DEPTH} levels"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(10), f"spec.yaml:3:5: a4[0][6]: {MANY}"),
        ("a: &a [*a]\n", f"spec.yaml:1:4: a[0][0]: {DEEP}"),
        ("a: " + "[" * 9000 + "]" * 9000, f"spec.yaml:1:44: (top): {DEEP}"),
        ("{a: " * 9000, f"spec.yaml:1:162: (top): {DEEP}"),
        ("".join(" " * level + "a:\n" for level in range(900)), f"spec.yaml:41:41: (top): {DEEP}"),
        ("[" + "1," * 100_000 + "1]", f"spec.yaml:1:40000: (top): {MANY}"),
        ("".join(f"- &a{i} x\n" for i in range(40_000)), f"spec.yaml:20000:3: (top): {MANY}"),
        (" " * (MAX_BYTES + 1), "spec.yaml: (top): the file has 500,001 bytes; at most 500,000 are read"),
    ],
    ids=["aliases", "recursion", "brackets", "braces", "indents", "items", "anchors", "bytes"],
)
def test_a_hostile_file_is_refused_where_a_cap_is_passed(tmp_path: Path, text: str, message: str) -> None:
    """The place shows that reading stopped there: the rest of the file costs nothing."""
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize("levels", [10, 1000])
def test_a_mapping_from_python_has_the_same_caps(levels: int) -> None:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value} if levels > 100 else {str(n): value for n in range(10)}
    with pytest.raises(SpecError) as caught:
        read_source(value)
    (problem,) = caught.value.problems
    assert problem.message == (DEEP if levels > 100 else MANY)


def test_keys_of_a_mapping_are_strings() -> None:
    with pytest.raises(SpecError) as caught:
        read_source({"a": [{"b": {3: 4}}]})
    assert str(caught.value) == "the spec has 1 problem:\n  a[0].b.3: a key must be a str, got 3"
