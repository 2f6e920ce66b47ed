"""What plugins and programs are written against is pinned, and what an API has promised stays as long as it is loaded."""

import pytest

from mmkit.registry.component import API_VERSION, SUPPORTED_APIS, Component
from tests.api.surface import breaking, hooks, pinned, surface

HOOKS = "@hookspec\ndef one() -> int: ...\n\n@hookspec(firstresult=True)\ndef two(path: str) -> None: ...\n\ndef no(): ...\n"


def test_the_surface_is_the_pinned_one() -> None:
    before, after = set(pinned(API_VERSION).read_text("utf-8").splitlines()), set(surface())
    said = "run `python -m tests.api.surface`, and say in changelog.d what is new"
    assert (before - after, after - before) == (set(), set()), said


@pytest.mark.parametrize("api", SUPPORTED_APIS)
def test_nothing_that_a_supported_api_has_promised_is_gone(api: int) -> None:
    assert breaking(pinned(api).read_text("utf-8").splitlines(), surface()) == []


def test_what_breaks_an_api() -> None:
    before = [
        "Part.size() -> int",
        "Record[0] name: str",
        "class Part(ABC)",
        "class Record()",
        "load(path: str) -> Part",
    ]
    assert breaking(before, [*before, "Part.more() -> int", "Record[1] more: int = 0", "save() -> None"]) == []
    assert breaking(before, [*before, "class New(ABC)", "New.@abstractmethod call() -> int"]) == []
    assert breaking(before, [*before, "Part.@abstractmethod more() -> int"]) == [
        "has to be written: Part.@abstractmethod more() -> int"
    ]
    moved = [line.replace("[0]", "[1]") for line in before if not line.startswith("load")]
    assert breaking(before, moved) == ["gone: Record[0] name: str", "gone: load(path: str) -> Part"]


def test_hooks_are_those_that_are_marked() -> None:
    assert [hook.name for hook in hooks(HOOKS)] == ["one", "two"]


def test_the_supported_apis_end_with_this_one_and_a_silent_record_is_of_the_first() -> None:
    assert list(SUPPORTED_APIS) == sorted(SUPPORTED_APIS)
    assert SUPPORTED_APIS[-1] == API_VERSION
    assert Component("head", "x", "A head.", "m:b", "m:C").api == 1
