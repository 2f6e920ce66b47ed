"""Templates: parts are structure, never parsed out of a value."""

import pytest

from mmkit.spec.template import Literal, Slot, parse


def test_parts_are_structure_and_double_braces_are_text() -> None:
    assert parse("{image} Say {{x}}.") == (Slot("image"), Literal(" Say {x}."))


def test_parts_interleave_in_the_order_of_the_template() -> None:
    assert parse("a {x} b {y}{x} c") == (
        Literal("a "),
        Slot("x"),
        Literal(" b "),
        Slot("y"),
        Slot("x"),
        Literal(" c"),
    )


def test_white_space_alone_between_two_slots_is_dropped() -> None:
    assert parse(" {x}  {y} ") == (Slot("x"), Slot("y"))
    assert parse("{ x }") == (Slot("x"),)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a {image", "unbalanced '{' at character 2; write '{{' for a brace"),
        ("a } b", "unbalanced '}' at character 2; write '}}' for a brace"),
        ("{a b}", "'{a b}' is not a column name"),
        ("{}", "'{}' is not a column name"),
        ("{image.encoder}", "'{image.encoder}' is not a column name"),
        ("{x!r}", "'{x!r}' is not a column name"),
    ],
)
def test_what_is_no_template_is_named(template: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse(template)
    assert str(caught.value) == message
