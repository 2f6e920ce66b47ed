"""What is drawn: one PNG, one page, by plugins where they can."""

import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mmkit
from mmkit.explaining import plugged
from mmkit.explaining.explanation import Column, Part
from mmkit.explaining.heat import new_figure

pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
pytest.importorskip("matplotlib", reason="pip install 'mmkit[explain]'")
RATE = 16_000


@pytest.fixture(scope="module")
def model() -> mmkit.Model:
    made = {
        "mmkit": 1,
        "modalities": {
            "image": {
                "encoder": {"use": "cnn", "image_size": 16, "in_channels": 1, "channels": [8, 16]},
                "adapter": "linear",
            },
            "audio": {"encoder": {"use": "log-mel", "n_mels": 40}, "adapter": "linear"},
            "text": {"adapter": {"use": "words", "vocab_size": 20}},
        },
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {
            "say": {
                "input": "{image} {audio} {text}",
                "output": "{label}",
                "head": {"use": "classify", "labels": ["a", "b"]},
            }
        },
    }
    return mmkit.build(made, fit={"text": ["a $fine$ day <b>"]}, seed=0)


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    sound = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE).astype(np.float32)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    return {"image": picture, "audio": {"array": sound, "sampling_rate": RATE}, "text": "a $fine$ day <b>"}


@pytest.fixture(scope="module")
def found(model: mmkit.Model, row: dict[str, Any]) -> mmkit.Explanation:
    return mmkit.explain(model, "say", row, target="a", steps=2, attention=True)


def texts(figure: Any) -> list[str]:
    (axes,) = figure.axes
    return [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]


def test_pictures_are_drawn_over_the_picture(found: mmkit.Explanation) -> None:
    """Pixels one by one, attention in the encoder's 4 × 4 places."""
    column = found["image"]
    pixels = plugged.drawn(column, column.parts[0])
    assert texts(pixels)[0] == "integrated gradients, of pixels"
    shown, heat = (one.get_array() for one in pixels.axes[0].get_images())
    expected = column.reader.pictures(column.items[0]["pixels"][None])[0]
    assert np.array_equal(np.asarray(shown), np.asarray(expected))
    np.testing.assert_allclose(np.asarray(heat), column.parts[0].attribution.sum(0).numpy())
    assert found.attention is not None
    rollout = plugged.drawn(column, found.attention.columns["image"][0])
    assert texts(rollout)[0] == "attention (rollout)"
    grid = np.asarray(rollout.axes[0].get_images()[1].get_array())
    np.testing.assert_allclose(grid.flatten(), found.attention.columns["image"][0].attribution.numpy())
    assert grid.shape == (4, 4)


def test_rows_that_are_no_grid_are_left_to_the_core(found: mmkit.Explanation) -> None:
    column, rows = found["image"], torch.rand(7)
    figure = plugged.drawn(column, Part("rollout", rows, rows))
    assert texts(figure)[0] == "attention (rollout) 7"


def test_sounds_are_drawn_over_seconds_and_hertz(found: mmkit.Explanation) -> None:
    column = found["audio"]
    (part,) = column.parts
    figure = plugged.drawn(column, part)
    assert texts(figure) == ["integrated gradients, of mel bands", "seconds", "Hz"]
    (axes,) = figure.axes
    spectrogram, heat = (np.asarray(one.get_array()) for one in axes.get_images())
    assert axes.get_images()[1].get_extent()[:2] == [0, 0.5]
    np.testing.assert_allclose(heat, part.attribution.T.numpy())
    ticks = dict(zip((label.get_text() for label in axes.get_yticklabels()), axes.get_yticks(), strict=True))
    assert list(ticks) == ["250", "500", "1000", "2000", "4000", "8000"]
    assert abs(spectrogram.mean(1).argmax() + 0.5 - ticks["1000"]) < 1  # the tone is where the axis says
    assert found.attention is not None
    seconds = plugged.drawn(column, found.attention.columns["audio"][1])
    assert texts(seconds) == ["attention × gradient", "seconds", "Hz"]
    assert np.asarray(seconds.axes[0].get_images()[1].get_array()).shape == (1, len(part.attribution))


def test_the_picture_has_everything(found: mmkit.Explanation) -> None:
    content = found.png()
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert image.width == 1200
    assert 1500 < image.height < 3000
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in ((74, 111, 165), (199, 125, 46), (10, 135, 84)):  # bars of three kinds
        assert (pixels == colour).all(1).sum() > 500
    assert len(mmkit.Explanation.png(found)) == len(content)


def test_the_page_has_attention_and_says_what_it_is_not(found: mmkit.Explanation) -> None:
    page = found.html()
    assert page.count("data:image/png;base64,") == 6
    assert (
        "Attention says what was read, not what decided: other weights may give the same answer (Jain and Wallace 2019)."
        in page
    )
    assert "&lt;" in page
    assert "<b></span>" not in page
    numbers = found.to_json()["attention"]
    assert sum(numbers["rollout"].values()) + sum(one["rollout"] for one in numbers["rest"].values()) == pytest.approx(
        1
    )
    assert numbers["columns"]["text"][0]["of"] == "rollout"


def test_plugins_draw_html_on_pages_alone_and_are_named_when_they_fail(
    found: mmkit.Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("drawn_by_test")
    given: list[tuple[Column, Part]] = []

    def html(column: Column, part: Part) -> str:
        given.append((column, part))
        return "<i>drawn</i>"

    module.html = html  # type: ignore[attr-defined]
    module.fails = lambda column, part: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "drawn_by_test", module)

    def renderers(function: str) -> types.SimpleNamespace:
        one = mmkit.Renderer("image", "a:b", "a:b", "a:b", "ours", attribution=f"drawn_by_test:{function}")
        return types.SimpleNamespace(renderers=[one])

    monkeypatch.setattr(plugged, "discover", lambda: renderers("html"))
    assert found.html().count("<i>drawn</i>") == 3
    assert (given[0][0].name, given[0][1].key) == ("image", "pixels")
    assert Image.open(io.BytesIO(found.png())).width == 1200
    monkeypatch.setattr(plugged, "discover", lambda: renderers("fails"))
    with pytest.raises(mmkit.PluginError) as caught:
        found.png()
    assert str(caught.value) == (
        "renderer 'image' of plugin 'ours' fails in drawn_by_test:fails: ZeroDivisionError: division by zero"
    )


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(mmkit.MmkitError) as caught:
        new_figure(1, 1)
    assert str(caught.value) == (
        "pictures and pages of mmkit explain need Matplotlib, which is not installed: pip install 'mmkit[explain]'"
    )


def test_the_command_writes_a_picture(model: mmkit.Model, row: dict[str, Any], tmp_path: Path) -> None:
    import soundfile

    from mmkit.cli.app import app

    model.save(tmp_path / "model")
    Image.fromarray(row["image"]).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", row["audio"]["array"], RATE)
    words = ["explain", str(tmp_path / "model"), "--image", str(tmp_path / "a.png"), "--audio", str(tmp_path / "a.wav")]
    words += ["--text", "a day", "--steps", "2", "--attention"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new" / "why.png")])
    assert done.exit_code == 0, done.output
    assert "attention × gradient" in done.output
    assert Image.open(tmp_path / "new" / "why.png").format == "PNG"
    wrong = CliRunner().invoke(app, [*words, "--out", "why.pdf"])
    assert str(wrong.exception) == "--out is FILE.html, a page, or FILE.png, a picture; got why.pdf"
