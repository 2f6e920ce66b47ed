"""A browser opens the page, drops a picture, presses the button and sees the answer; nothing comes from another host."""

import base64
import io
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import mmkit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
DRAGGED = """data => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0)), dragged = new DataTransfer();
    dragged.items.add(new File([bytes], "a.png", {type: "image/png"}));
    return dragged;
}"""


@pytest.fixture
def address(model: mmkit.Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the page is, with uploads of at most 1 MiB."""
    from mmkit.play.run import launch

    monkeypatch.setitem(os.environ, "GRADIO_TEMP_DIR", "")
    with tempfile.TemporaryDirectory() as folder:
        blocks, address = launch(model, "lab", Path(folder), "127.0.0.1", 0, 1.0)
        yield address
        blocks.close(verbose=False)


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
def test_a_picture_is_dropped_and_answered(address: str, photo: bytes) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements/docs.txt")
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(30_000)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on(
            "request",
            lambda made: None if made.url.startswith((address, "data:", "blob:")) else faults.append(made.url),
        )
        tab.goto(address)
        tab.get_by_role("tab", name="caption").click()
        given = tab.evaluate_handle(DRAGGED, base64.b64encode(photo).decode())
        tab.locator("button[aria-dropeffect]:visible").dispatch_event("drop", {"dataTransfer": given})
        tab.locator("img[src*='a.png']:visible").first.wait_for()
        shown(tab, "dropped")
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.wait_for_function(
            "[...document.querySelectorAll('textarea')].some(e => e.value.includes('tokens written'))"
        )
        shown(tab, "caption")
        tab.get_by_role("tab", name="mood").click()
        tab.locator("textarea:visible").first.fill("a light")
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.get_by_text("%").locator("visible=true").first.wait_for()
        shown(tab, "mood")
        tab.get_by_role("tab", name="beat").click()
        tab.locator("textarea:visible").first.fill('"/etc/passwd"')
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.get_by_role("alert").locator("visible=true").first.wait_for()
        assert "upload the file instead" in tab.get_by_role("alert").locator("visible=true").first.inner_text()
        shown(tab, "beat")
        tab.get_by_role("tab", name="draw").click()
        tab.locator("textarea:visible").first.fill("dark")
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.wait_for_function(
            "[...document.querySelectorAll('textarea')].some(e => e.offsetParent && e.value.includes('tokens read'))"
        )
        shown(tab, "draw")
        browser.close()
    assert not faults


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
def test_attention_is_chosen_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements/docs.txt")
    from mmkit.play.run import launch

    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": {"use": "transformer", "dim": 8, "layers": 1, "heads": 2},
        "tasks": {
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["neg", "pos"]}}
        },
    }
    blocks, address = launch(mmkit.build(spec, fit={"text": ["a light"]}).eval(), "lab", tmp_path, "127.0.0.1", 0, 1.0)
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.set_default_timeout(60_000)
            tab.goto(address)
            tab.locator("textarea:visible").first.fill("a light")
            tab.get_by_label("gradients and attention").check()
            tab.get_by_role("button", name="Run").click()
            why = tab.frame_locator("iframe[title=explanation]")
            why.get_by_role("heading", name="Attention").wait_for()
            assert "attention (rollout)" in why.locator("body").inner_text()
            shown(tab, "attention")
            browser.close()
    finally:
        blocks.close(verbose=False)


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
def test_a_sound_is_recorded_and_answered_and_one_is_made(address: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements/docs.txt")
    heard = tmp_path / "microphone.wav"
    rate = 16000
    soundfile.write(heard, 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * rate) / rate), rate)
    microphone = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
    ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *microphone])
        context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.goto(address)
        tab.get_by_role("tab", name="hear").click()
        tab.get_by_label("Record audio").locator("visible=true").first.click()
        tab.get_by_role("button", name="Record").locator("visible=true").first.click()
        tab.wait_for_timeout(700)
        shown(tab, "recording")
        tab.get_by_role("button", name="Stop").locator("visible=true").first.click()
        tab.get_by_role("button", name="Play").locator("visible=true").first.wait_for()
        tab.wait_for_timeout(1000)
        shown(tab, "recorded")
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.get_by_text("%").locator("visible=true").first.wait_for()
        shown(tab, "hear")
        tab.get_by_role("tab", name="say").click()
        tab.locator("textarea:visible").first.fill("dark")
        tab.get_by_role("button", name="Run").locator("visible=true").click()
        tab.wait_for_function(
            "[...document.querySelectorAll('textarea')].some(e => e.offsetParent && e.value.includes('tokens read'))"
        )
        shown(tab, "said")
        tab.get_by_role("button", name="Play").locator("visible=true").first.click()
        link = tab.locator("a[download$='.wav']:visible").first.get_attribute("href")
        with urllib.request.urlopen(link) as answer:
            wave, rate = soundfile.read(io.BytesIO(answer.read()))
        browser.close()
    assert (len(wave), rate) == (4000, 8000)


def shown(tab: Any, name: str) -> None:
    """A picture of the page, where ``MMKIT_SCREENSHOTS`` names a folder for it."""
    if os.environ.get("MMKIT_SCREENSHOTS"):
        tab.wait_for_timeout(500)
        tab.screenshot(path=f"{os.environ['MMKIT_SCREENSHOTS']}/{name}.png")


def test_files_of_the_machine_and_large_uploads_are_refused(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}gradio_api/file={Path(__file__).resolve()}")
    assert caught.value.code == 403
    edge = "XX"
    body = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'.encode()
    body += bytes(2 * 2**20) + f"\r\n--{edge}--\r\n".encode()
    asked = urllib.request.Request(
        f"{address}gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={edge}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    assert caught.value.code == 413
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    with urllib.request.urlopen(f"{address}config") as answer:
        config = json.load(answer)
    assert config["analytics_enabled"] is False
