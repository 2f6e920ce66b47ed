"""Values that are no text: who shows them, and what their files are called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmkit
from mmkit.model.rendering import Files, is_plain, renderer_of, with_files

BEAT = np.zeros(80, np.float32)
CODE = """
from mmkit import Renderer, SampleError, hookimpl

class Dots:
    def __init__(self, text):
        self.text = text

def takes(value):
    return isinstance(value, Dots)

def html(value):
    return "<b>dots</b>"

def file(value):
    return {}["dots"] if value.text == "broken" else ("txt", value.text.encode())

@hookimpl
def mmkit_renderers():
    return [Renderer("dots", "plug_dots:takes", "plug_dots:html", "plug_dots:file")]
"""


def test_text_numbers_and_lists_of_them_are_asked_about_by_nobody() -> None:
    for value in ("a", 3, 0.5, None, True, ["a", 1], {"label": "a", "probabilities": {"a": 1.0}}, [], ("a",)):
        assert is_plain(value)
        assert renderer_of(value) is None
    assert not is_plain(["a", Image.new("L", (2, 2))])


def test_pictures_and_sounds_are_rendered_by_their_plugins() -> None:
    taken = renderer_of(Image.new("L", (2, 2)))
    assert taken is not None
    assert (taken.name, taken.plugin) == ("image", "image")
    taken = renderer_of({"array": BEAT, "sampling_rate": 8000})
    assert taken is not None
    assert (taken.name, taken.plugin) == ("audio", "audio")
    assert renderer_of(object()) is None
    assert renderer_of({"array": [0.0], "sampling_rate": 8000}) is None


def test_every_part_of_an_output_becomes_a_file(tmp_path: Path) -> None:
    files = Files(tmp_path / "new", "show & tell")
    value = ["a boot:", Image.new("L", (2, 2), 7), {"spoken": {"array": BEAT, "sampling_rate": 8000}}]
    folder = tmp_path / "new"
    assert files.saved(value) == [
        "a boot:",
        str(folder / "show___tell-1.png"),
        {"spoken": str(folder / "show___tell-1-2.wav")},
    ]
    with Image.open(folder / "show___tell-1.png") as again:
        assert np.asarray(again).tolist() == [[7, 7], [7, 7]]
    assert files.saved("text") == "text"


def test_numbers_go_on_where_none_is_given_and_are_used_again_where_one_is(tmp_path: Path) -> None:
    files = Files(tmp_path, "draw", Path("shown"))
    light, dark = Image.new("L", (2, 2), 200), Image.new("L", (2, 2), 20)
    assert [files.saved(light), files.saved(dark)] == ["shown/draw-1.png", "shown/draw-2.png"]
    assert files.saved(dark, 1) == "shown/draw-1.png"
    assert files.saved(light) == "shown/draw-3.png"
    with Image.open(tmp_path / "draw-1.png") as again:
        assert again.getpixel((0, 0)) == 20


def test_a_plugin_brings_a_kind_of_its_own_and_is_named_where_it_fails(install: Callable[..., Path]) -> None:
    install("dots", CODE)
    from plug_dots import Dots  # type: ignore[import-not-found]

    written: dict[str, bytes] = {}

    def write(suffix: str, content: bytes) -> str:
        written[suffix] = content
        return f"dots.{suffix}"

    assert with_files({"it": Dots("...")}, write) == {"it": "dots.txt"}
    assert written == {"txt": b"..."}
    with pytest.raises(mmkit.PluginError) as caught:
        with_files(Dots("broken"), write)
    assert str(caught.value) == "renderer 'dots' of plugin 'dots' fails in plug_dots:file: KeyError: 'dots'"


@pytest.mark.parametrize("value", [Image.new("F", (2, 2)), Image.new("CMYK", (2, 2)), Image.new("1", (2, 2))])
def test_pictures_of_any_mode_are_written(value: Any, tmp_path: Path) -> None:
    assert Files(tmp_path, "draw").saved(value) == str(tmp_path / "draw-1.png")
