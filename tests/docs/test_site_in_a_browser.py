"""A browser walks the documentation site: every page, every link, search, dark mode, and the width of a phone."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
PHONE = 390
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        """No line a request."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements/docs.txt")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained of."""
    return []


@pytest.fixture
def tab(browser: Any, address: str, faults: list[str]) -> Iterator[Any]:
    """An empty tab that notes errors of scripts, failed requests, and requests to other hosts."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(120_000)  # a busy machine indexes the pages for long
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("console", lambda line: faults.append(f"{page.url}: {line.text}") if line.type == "error" else None)
    page.on(
        "requestfailed",  # one that a page was left too early for is no fault
        lambda gone: faults.append(f"{page.url}: {gone.url}") if gone.failure != "net::ERR_ABORTED" else None,
    )
    page.on("response", lambda got: faults.append(f"{page.url}: {got.url} {got.status}") if got.status >= 400 else None)
    page.on(
        "request", lambda made: None if made.url.startswith((address, "data:", "blob:")) else faults.append(made.url)
    )
    yield page
    context.close()


@pytest.mark.slow
def test_every_page_is_reached_by_links_and_fits_a_phone(tab: Any, address: str, site: Path, faults: list[str]) -> None:
    tab.set_viewport_size({"width": PHONE, "height": 800})
    ids: dict[str, set[str]] = {}
    links: set[tuple[str, str]] = set()
    waiting = [address]
    while waiting:
        here = waiting.pop()
        tab.goto(here, wait_until="load")
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE, f"{here} is {width} wide on a phone"
        ids[here] = set(tab.evaluate("[...document.querySelectorAll('[id],[name]')].flatMap(e => [e.id, e.name])"))
        for link in tab.evaluate("[...document.links].map(link => link.href)"):
            if link.startswith(address):
                links.add((here, link))
                target = link.partition("#")[0]
                if target.endswith("/") and target not in ids and target not in waiting:
                    waiting.append(target)
    for here, link in links:
        page, _, anchor = link.partition("#")
        assert page in ids, f"{here} links to {link}"
        assert not anchor or tab.evaluate("decodeURIComponent", anchor) in ids[page], f"{here} links to {link}"
    folders = {address + str(path.relative_to(site)).removesuffix("index.html") for path in site.rglob("index.html")}
    assert set(ids) == folders, "some pages are reached by no link"
    assert not faults


def test_search_finds_a_page_and_opens_it(tab: Any, address: str, faults: list[str]) -> None:
    tab.goto(address)
    tab.click("label.md-search__icon, input.md-search__input")
    tab.locator("input.md-search__input").press_sequentially("trellis")  # the page listens to keys; `fill` presses none
    tab.locator(".md-search-result__link").first.wait_for()
    links = tab.eval_on_selector_all(".md-search-result__link", "all => all.map(one => one.href)")
    assert {link.partition("?")[0] for link in links} == {f"{address}theory/ctc/"}
    tab.click(".md-search-result__link >> nth=0")
    tab.wait_for_url("**/theory/ctc/**")
    assert tab.inner_text("h1").startswith("CTC")
    assert not faults


def test_dark_mode_switches_and_is_remembered(tab: Any, address: str, faults: list[str]) -> None:
    tab.goto(f"{address}theory/attention/")
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('article img')).colorScheme]"
    light = tab.evaluate(colours)
    assert light[1] == "light"
    tab.click("label[title='Dark mode']")
    dark = tab.evaluate(colours)
    assert dark[0] != light[0]
    assert dark[1] == "dark"
    tab.goto(f"{address}concepts/")
    assert tab.evaluate(colours) == dark
    assert not faults


def test_a_phone_has_the_navigation_in_a_drawer(tab: Any, address: str, faults: list[str]) -> None:
    tab.set_viewport_size({"width": PHONE, "height": 800})
    tab.goto(address)
    tab.click("header label[for='__drawer']")
    tab.click("nav.md-nav--primary label.md-nav__link:has-text('Concepts')")
    tab.click("nav.md-nav--primary a.md-nav__link:has-text('Recurrence')")
    tab.wait_for_url("**/theory/recurrence/")
    assert tab.locator("math").count() > 10
    boxes = tab.evaluate("[...document.querySelectorAll('.formula')].map(f => f.getBoundingClientRect().right)")
    assert boxes
    assert max(boxes) <= PHONE
    assert not faults
