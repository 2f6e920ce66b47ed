import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mmkit.discovery.entry import load_entries
from mmkit.discovery.loader import load_all

GOOD = """
from mmkit import Component, hookimpl
print("noise at import")
@hookimpl
def mmkit_components():
    return [Component("head", "x", "a head", "good_plug:b", "good_plug:C")]
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "good_plug.py").write_text(GOOD)
    (tmp_path / "bad_plug.py").write_text("raise RuntimeError('no luck')\n")
    (tmp_path / "typo_plug.py").write_text(GOOD.replace("def mmkit_components", "def mmkit_componets"))
    (tmp_path / "old_plug.py").write_text(GOOD.replace('"good_plug:C")', '"good_plug:C", api=99)'))
    return tmp_path


def entry(name: str, module: str) -> EntryPoint:
    return EntryPoint(name, module, "mmkit")


def test_broken_plugins_leave_the_others_working_and_are_named(modules: Path) -> None:
    reports = {r.name: r for r in load_all([entry(n, f"{n}_plug") for n in ("good", "bad", "typo", "old")])}
    assert reports["good"].status == "loaded"
    assert reports["good"].components[0].full_name == "good/x"
    assert (reports["bad"].status, reports["bad"].reason) == ("failed", "RuntimeError: no luck")
    assert reports["typo"].status == "failed"
    assert "mmkit_componets" in reports["typo"].reason
    assert reports["old"].reason == "written for plugin API 99, this mmkit has 1"


def test_two_plugins_of_one_name_clash_and_neither_wins(modules: Path) -> None:
    reports = load_all([entry("a", "good_plug"), entry("a", "bad_plug")])
    assert [r.status for r in reports] == ["clash", "clash"]


def test_allow_list_excludes(modules: Path) -> None:
    assert load_all([entry("good", "good_plug")], {"other"})[0].status == "excluded"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], EntryPoint]:
    """A module to load as a plugin."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(name: str, code: str) -> EntryPoint:
        (tmp_path / f"{name}_plug.py").write_text(code)
        return entry(name, f"{name}_plug")

    return module


def test_a_plugin_that_hangs_costs_its_patience_once_and_its_late_answer_is_not_another_ones(
    write: Callable[[str, str], EntryPoint],
) -> None:
    slow = GOOD.replace('print("noise at import")', "import time; time.sleep(1.6)").replace('"x"', '"slow"')
    names = ["before", "hangs", "after", "later"]
    entries = [write(f"loader_{name}", slow if name == "hangs" else GOOD) for name in names]
    waiting = write("loader_waiting", GOOD.replace('print("noise at import")', "import time; time.sleep(0.5)"))
    started, stdout = time.perf_counter(), sys.stdout
    reports = load_entries([*entries, waiting, waiting], patience=0.8)
    assert time.perf_counter() - started < 2.5
    assert [report.status for report in reports] == ["loaded", "failed", "loaded", "loaded", "loaded", "loaded"]
    assert [report.name for report in reports] == [one.name for one in [*entries, waiting, waiting]]
    assert reports[1].reason == "it was not there after 0.8 s of importing"
    assert reports[2].notes == ("printed when it was imported: 'noise at import'",)
    time.sleep(1.2)  # by now the plugin that hung has come to its end
    assert len(reports) == 6
    assert sys.stdout is stdout


@pytest.mark.parametrize(
    ("api", "supported", "status", "said"),
    [
        (1, (1, 2), "loaded", ("is written for plugin API 1; a later mmkit will load 2 and newer",)),
        (2, (1, 2), "loaded", ()),
        (3, (1, 2), "incompatible", "written for plugin API 3, this mmkit has 2 and loads 1 too"),
        (1, (2,), "incompatible", "written for plugin API 1, this mmkit has 2"),
    ],
)
def test_older_apis_are_loaded_as_long_as_they_are_supported(
    write: Callable[[str, str], EntryPoint],
    monkeypatch: pytest.MonkeyPatch,
    api: int,
    supported: tuple[int, ...],
    status: str,
    said: str | tuple[str, ...],
) -> None:
    monkeypatch.setattr("mmkit.discovery.entry.SUPPORTED_APIS", supported)
    monkeypatch.setattr("mmkit.discovery.entry.API_VERSION", supported[-1])
    code = GOOD.replace('print("noise at import")', "").replace('"good_plug:C")', f'"good_plug:C", api={api})')
    (report,) = load_entries([write(f"loader_api_{api}_{len(supported)}", code)])
    assert (report.status, report.reason or report.notes) == (status, said)


def test_an_api_that_is_no_number_is_a_finding(write: Callable[[str, str], EntryPoint]) -> None:
    (report,) = load_entries([write("loader_text_api", GOOD.replace('"good_plug:C")', '"good_plug:C", api="1")'))])
    assert (report.status, report.reason) == ("failed", "a component has api '1'")
    assert report.fix == "give the number of the plugin API it is written for, such as api=1"


def test_a_plugin_for_another_mmkit_says_that_it_wants_one(write: Callable[[str, str], EntryPoint]) -> None:
    (report,) = load_entries([write("loader_future", "from mmkit import ANewName\n")])
    assert report.reason.startswith("ImportError: cannot import name 'ANewName' from 'mmkit'")
    assert report.fix == (
        "it was written for another mmkit: install a newer mmkit, or the version of unknown distribution that fits"
    )


def test_import_and_plugin_listing_do_not_import_torch() -> None:
    code = "import mmkit, sys; mmkit.plugins(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
