"""Reports of tasks that draw and speak: what was made stands beside its reference."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import mmkit
from mmkit.training.report import Evaluation, rendered, write_report
from tests import small_codecs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PNG, WAV = 'src="data:image/png;base64,', 'src="data:audio/wav;base64,'


def tone(seconds: float, rate: int = 8000) -> dict[str, Any]:
    time = np.arange(round(seconds * rate)) / rate
    return {"array": (0.4 * np.sin(2 * np.pi * 400 * time)).astype(np.float32), "sampling_rate": rate}


@pytest.fixture
def page(install: Callable[..., Path], tmp_path: Path, write_rows: Callable[..., Path], sound: Any) -> Path:
    """Of a model with weights as they come, which draws and speaks from text, and says what it sees."""
    install("lab", small_codecs.CODE)
    rows = []
    for number, grey in enumerate((40, 200, 90)):
        Image.new("L", (2, 2), grey).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.wav").write_bytes(sound(number, 0.3, 8000))
        parts = [{"text": f"<{grey}>"}, *[{"picture": f"{number}.png"}] * (number + 1)]
        rows.append({"text": f"<{grey}>", "picture": f"{number}.png", "sound": f"{number}.wav", "album": parts})
    path = str(write_rows(rows))
    tasks = dict(small_codecs.SPEC["tasks"])
    tasks["tell"] = {"input": "{picture}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 3}}
    tasks["redraw"] = {"input": "{picture}", "output": "{picture}", "head": {"use": "generate"}}
    tasks["tale"] = {"input": "{text}", "output": "<0> {picture}", "head": {"use": "generate", "max_new_tokens": 30}}
    several = {"columns": {"album": ["text", "picture"]}, "head": {"use": "generate", "max_new_tokens": 30}}
    tasks["show"] = {"input": "{text}", "output": "{album}", **several}
    spec = {**small_codecs.SPEC, "tasks": tasks, "data": {"test": [{"task": task, "path": path} for task in tasks]}}
    model = mmkit.build(spec, fit={"text": ["<0123456789> "]})
    write_report(tmp_path / "page.html", Evaluation(model, "test", mmkit.evaluate(model)), "Made")
    return tmp_path / "page.html"


def section(text: str, title: str) -> str:
    return text.partition(f"<h2>{title}</h2>")[2].partition("<h2>")[0]


def test_pictures_and_sounds_stand_beside_their_references(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Figures",
        "draw",
        "say",
        "tell",
        "redraw",
        "tale",
        "show",
        "Pictures",
    ]
    drawn, said = section(text, "draw"), section(text, "say")
    assert drawn.startswith("<p>3 of 3 outputs, beside their references.</p>")
    assert (drawn.count(PNG), drawn.count(WAV), drawn.count("<tr class=made>")) == (6, 0, 3)
    assert "&lt;40&gt;" in drawn
    assert said.count(WAV) == said.count(PNG) >= 3  # the references; an output without an id says that it is empty
    assert said.count(WAV) + said.count("no samples</em>") == 6
    cards = section(text, "Pictures")
    assert cards.count("<h3>") == 2
    assert cards.count(PNG) == 3 + 3 * 3  # told: the input; drawn again: input, output, reference
    tale = section(text, "tale")
    assert tale.count("<tr class=made>") == 3
    assert tale.count(PNG) >= 3  # the references; an untrained model may write text alone
    show = section(text, "show")
    assert re.findall(r"<div>(&lt;\d+&gt;)</div><div><img", show)[-3:] == ["&lt;40&gt;", "&lt;200&gt;", "&lt;90&gt;"]
    assert show.count(PNG) >= 1 + 2 + 3
    assert "PIL" not in text
    assert "sampling_rate" not in text


def test_a_reference_may_have_any_form_and_one_that_cannot_be_read_says_so(tmp_path: Path, picture: Any) -> None:
    drawn = Image.new("L", (2, 2), 30)
    for reference in (picture(), {"bytes": picture()}, drawn):
        assert [part.count(PNG) for part in rendered(drawn, reference)] == [1, 1]
    assert rendered(drawn, None)[1] == "(nothing)"
    missing = rendered(drawn, tmp_path / "no<ne.png")[1]
    assert missing.startswith("<em>image file")
    assert "no&lt;ne.png" in missing
    parts = rendered(["a <b>", drawn, {"say": tone(0.1)}], "a")[0]
    assert parts.startswith("<div>a &lt;b&gt;</div><div><img")
    assert parts.count(WAV) == 1


def test_long_sounds_are_cut_and_carried_at_16_kHz() -> None:  # noqa: N802
    shown = rendered(tone(12.5, 44_100), None)[0]
    assert "the first 10 s of 12.5 s" in shown
    content = base64.b64decode(shown.partition(WAV)[2].partition('"')[0])
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (rate, len(samples)) == (16_000, 160_000)
    empty = {"array": np.zeros(0, np.float32), "sampling_rate": 8000}
    assert rendered(empty, None)[0] == "<em>audio array of shape (0,): no samples</em>"


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
def test_a_browser_shows_the_pictures_and_can_play_the_sounds(page: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements/docs.txt")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        tab.goto(page.as_uri())
        broken = tab.evaluate("[...document.images].filter(one => !one.complete || !one.naturalWidth).length")
        assert broken == 0
        ready = "[...document.querySelectorAll('audio')].every(one => one.duration > 0 || one.error)"
        tab.wait_for_function(ready, timeout=60_000)
        lengths = tab.evaluate("[...document.querySelectorAll('audio')].map(one => one.error ? -1 : one.duration)")
        assert len(lengths) >= 3
        assert min(lengths) >= 0.1
        tab.screenshot(path=str(page.with_suffix(".png")), full_page=True)
        browser.close()
