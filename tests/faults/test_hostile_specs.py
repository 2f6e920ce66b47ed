"""A spec file from elsewhere: bombs, depth, objects and import paths, through every call that takes a spec."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

CALLS: dict[str, Callable[[Any], Any]] = {
    "check": mmkit.check,
    "static": lambda spec: mmkit.check(spec, static=True),
    "build": mmkit.build,
    "train": lambda spec: mmkit.train(spec, say=lambda line: None),
}


def bomb() -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]\n"
    return text


HOSTILE = {
    "aliases": (bomb(), "3:5: a4[0][6]: more than 20,000 values, those of aliases included"),
    "depth": ("tasks: " + "[" * 10_000, "1:48: (top): nested deeper than 40 levels"),
    "itself": ("tasks: &t {a: *t}", "1:12: tasks.a.a: nested deeper than 40 levels"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_spec_error_to_every_call(tmp_path: Path, name: str, call: str) -> None:
    text, message = HOSTILE[name]
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(mmkit.SpecError) as caught:
        CALLS[call](file)
    assert str(caught.value) == f"the spec has 1 problem:\n  {file}:{message}"


def test_a_bomb_that_another_reader_has_opened_is_refused_too() -> None:
    """``yaml.safe_load`` gives a small object with 10^12 values in it, which pydantic would visit one by one."""
    import yaml

    with pytest.raises(mmkit.SpecError, match="more than 20,000 values, those of aliases included"):
        mmkit.check(yaml.safe_load(bomb()))


@pytest.mark.parametrize("use", ["os:system", "os.system", "plug_x:run", "../plugin", "__import__('os')"])
def test_a_spec_selects_components_by_name_and_imports_nothing(
    mood: dict[str, Any], problems: Callable[..., list[str]], use: str
) -> None:
    mood["backbone"] = {"use": use, "cmd": "touch ran"}
    (said,) = problems(mood, static=True)
    assert said == (
        f"backbone.use: unknown backbone {use!r}: allowed: causal-lm, lstm, none, seq2seq-lm, transformer\n"
        "    fix: see `mmkit components`"
    )


def test_a_tag_that_would_build_an_object_builds_none(tmp_path: Path, problems: Callable[..., list[str]]) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(f"mmkit: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']\n")
    assert problems(file)[0] == f"{file}:1:1: mmkit: Input should be 1"
    assert not (tmp_path / "ran").exists()
