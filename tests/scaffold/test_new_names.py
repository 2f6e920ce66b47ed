"""What ``mmkit new`` refuses: every message whole, and nothing is written."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.errors import MmkitError
from mmkit.scaffold import new_plugin, new_recipe
from mmkit.scaffold.plugin import KINDS

PLUGIN = "allowed are lower-case letters, digits and single '-' between them, a letter first, at most 30 characters"
RECIPE = (
    "allowed are lower-case letters, digits and single '-' or '_' between them, a letter first, at most 30 characters"
)
MODALITY = "allowed are lower-case letters, digits and single '_' between them, a letter first, at most 30 characters"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    empty = tmp_path / "work"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


def refused(make: Callable[..., object], *arguments: str, **options: object) -> str:
    """The message; the working folder is still empty."""
    with pytest.raises(MmkitError) as caught:
        make(*arguments, **options)
    assert not any(Path.cwd().iterdir())
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("Pulse", "mmkit new plugin pulse"),
        ("heart rate", "mmkit new plugin heart-rate"),
        ("heart_rate", "mmkit new plugin heart-rate"),
        ("12-lead", "mmkit new plugin lead"),
        ("-pulse", "mmkit new plugin pulse"),
        ("../pulse", "mmkit new plugin pulse"),
        ("a" * 31, f"mmkit new plugin {'a' * 30}"),
        ("心電図", "choose another name"),
        ("", "choose another name"),
    ],
)
def test_a_name_that_is_not_allowed_names_the_nearest(name: str, fix: str) -> None:
    assert refused(new_plugin, name, "encoder") == f"{name!r} cannot be the name of a plugin: {PLUGIN}\n    fix: {fix}"


def test_the_prefix_of_distributions_is_not_part_of_the_name() -> None:
    assert refused(new_plugin, "mmkit-pulse", "encoder") == (
        "'mmkit-pulse' cannot be the name of a plugin: its distribution is called mmkit-NAME without your saying so\n"
        "    fix: mmkit new plugin pulse"
    )


@pytest.mark.parametrize(("name", "kind"), [("soft", "adapter"), ("task", "head")])
def test_a_class_that_would_hide_one_of_mmkit_is_refused(name: str, kind: str) -> None:
    taken = name.capitalize() + kind.capitalize()
    assert refused(new_plugin, name, kind) == (
        f"{name!r} cannot be the name of this plugin: its class would be called {taken}, which is one of mmkit's own\n"
        "    fix: choose another name"
    )


def test_the_name_of_an_installed_plugin_is_refused() -> None:
    assert refused(new_plugin, "text", "encoder") == (
        "a plugin 'text' is installed already, by mmkit-text 0.1.0; two of one name are both refused\n"
        "    fix: choose another name, or pip uninstall mmkit-text"
    )


def test_an_unknown_kind_names_the_allowed_ones() -> None:
    assert refused(new_plugin, "pulse", "encodr") == "there is no --kind 'encodr' of plugin: did you mean 'encoder'?"
    assert refused(new_plugin, "pulse", "metric") == (
        "there is no --kind 'metric' of plugin: allowed: adapter, backbone, codec, encoder, head"
    )
    assert list(KINDS) == ["encoder", "adapter", "backbone", "head", "codec"]


def test_a_modality_is_a_name_that_templates_can_hold() -> None:
    assert refused(new_plugin, "pulse", "codec", modality="heart-rate") == (
        f"'heart-rate' cannot be the name of a modality: {MODALITY}\n    fix: --modality heart_rate"
    )


def test_a_modality_belongs_to_encoders_and_codecs() -> None:
    assert refused(new_plugin, "pulse", "head", modality="pulse") == (
        "--modality pulse belongs to encoders and codecs; this kind, head, takes any\n    fix: leave it out"
    )


def test_a_licence_whose_text_is_not_here_says_what_to_do() -> None:
    assert refused(new_plugin, "pulse", "encoder", licence="GPL-3.0-only") == (
        "there is no text of the --licence 'GPL-3.0-only' here: allowed: Apache-2.0, BSD-3-Clause, MIT\n"
        "    fix: take one of them, and exchange LICENSE, `license` in pyproject.toml and `licence` in plugin.py afterwards"
    )


@pytest.mark.parametrize("author", ["Ada <ada@example.org", "<ada@example.org>", "Ada\nLovelace"])
def test_an_author_is_a_name_with_or_without_an_address(author: str) -> None:
    assert refused(new_plugin, "pulse", "encoder", author=author) == (
        f"--author {author!r} is neither a name nor 'Name <address>'\n    fix: --author 'Ada Lovelace'"
    )


def test_a_recipe_has_a_name_of_its_own_rules() -> None:
    assert refused(new_recipe, "Heart Beats") == (
        f"'Heart Beats' cannot be the name of a recipe: {RECIPE}\n    fix: mmkit new recipe heart-beats"
    )


@pytest.mark.parametrize("make", [lambda: new_plugin("pulse", "encoder"), lambda: new_recipe("mmkit-pulse")])
@pytest.mark.parametrize("taken", ["folder", "file"])
def test_what_is_there_stays_as_it_is(make: Callable[[], object], taken: str, folder: Path) -> None:
    target = folder / "mmkit-pulse"
    held = target / "mine.py" if taken == "folder" else target
    held.parent.mkdir(exist_ok=True)
    held.write_text("mine")
    kind = "a folder that is not empty" if taken == "folder" else "a file"
    with pytest.raises(MmkitError) as caught:
        make()
    assert str(caught.value) == (
        f"{target} is there already, {kind}; nothing was written\n    fix: give another folder by --output, or move it"
    )
    assert held.read_text() == "mine"
    assert [path for path in folder.rglob("*") if path.is_file()] == [held]


def test_without_copier_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "copier", None)
    wanted = "mmkit new renders templates with copier, which is not installed\n    fix: pip install 'mmkit[new]'"
    assert refused(new_plugin, "pulse", "encoder") == wanted
    assert refused(new_recipe, "pulse") == wanted
