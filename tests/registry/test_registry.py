"""Finding a component by name, or saying exactly why it cannot be had."""

import pytest

from mmkit.errors import PluginError
from mmkit.registry import Component
from mmkit.registry.registry import PluginReport, Registry


def component(kind: str, name: str, plugin: str) -> Component:
    return Component(kind, name, "For tests.", "x:y", "x:Z", plugin=plugin)


REGISTRY = Registry(
    [
        PluginReport(
            "a", "mmkit-a", "1.2", "loaded", (component("encoder", "cnn", "a"), component("backbone", "lstm", "a"))
        ),
        PluginReport(
            "b", "mmkit-b", "0.3", "loaded", (component("encoder", "cnn", "b"), component("encoder", "lstm", "b"))
        ),
        PluginReport("c", "mmkit-c", "2.0", "failed", reason="ImportError: no libc"),
        PluginReport("d", "mmkit-d", "2.0", "excluded", reason="not in MMKIT_PLUGINS"),
    ]
)


def test_a_short_name_is_enough_where_only_one_component_of_the_kind_has_it() -> None:
    assert REGISTRY.find(["backbone"], "lstm").full_name == "a/lstm"
    assert REGISTRY.find(["encoder"], "lstm").full_name == "b/lstm"
    assert REGISTRY.find(["encoder"], "b/cnn").plugin == "b"


@pytest.mark.parametrize(
    ("kinds", "name", "message"),
    [
        (["encoder"], "cnn", "'cnn' is offered by a/cnn and b/cnn: write one of these full names"),
        (["head"], "cnn", "'cnn' is an encoder, wanted here: head"),
        (["encoder"], "a/lstm", "unknown encoder 'a/lstm': did you mean 'lstm'?"),
        (["adapter", "vocabulary"], "words", "unknown adapter or vocabulary 'words': allowed: nothing here"),
        (["encoder"], "cn", "unknown encoder 'cn': did you mean 'cnn'?"),
    ],
)
def test_why_a_component_cannot_be_had(kinds: list[str], name: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        REGISTRY.find(kinds, name)
    others = (
        "; plugin 'c' (mmkit-c 2.0) failed to load: ImportError: no libc"
        "; plugin 'd' (mmkit-d 2.0) is excluded: not in MMKIT_PLUGINS"
    )
    assert str(caught.value) == message + (others if message.startswith("unknown") else "")


def test_components_are_listed_by_kind_and_name() -> None:
    assert [c.full_name for c in REGISTRY.of_kind("encoder", "backbone")] == ["a/lstm", "a/cnn", "b/cnn", "b/lstm"]
