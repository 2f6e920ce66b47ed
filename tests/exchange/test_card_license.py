"""What a card says of its licence, and where a licence that is none is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from huggingface_hub import ModelCard

import mmkit
from mmkit.exchange.card_data import base_models
from mmkit.exchange.card_edit import edit_card
from mmkit.exchange.card_license import IDENTIFIERS, License, license_of
from mmkit.exchange.hf_export import export_hf

Command = Callable[..., tuple[int, str, str]]
NONE = "## License\n\nNo licence was stated. Ask whoever published this model what you may do with it.\n"
ANY = "Any other is 'other' with a license_name"
LINK = "the hub takes an address, https://…, or LICENSE or LICENSE.md, a file of the repository"


@pytest.fixture(scope="module")
def small() -> mmkit.Model:
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"encoder": {"use": "lstm", "vocabulary": {"use": "characters"}, "hidden_dim": 4}}},
        "tasks": {
            "mood": {
                "input": "{text}",
                "output": "{label}",
                "reads": "text.encoder",
                "head": {"use": "classify", "labels": ["a", "b"]},
            }
        },
    }
    return mmkit.build(spec, fit={"text": ["abc"]}, seed=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("MIT",), f"license 'MIT' is none of the hub's: did you mean 'mit'? {ANY}"),
        (("Apache 2.0",), f"license 'Apache 2.0' is none of the hub's: did you mean 'apache-2.0'? {ANY}"),
        (("apache",), f"license 'apache' is none of the hub's: did you mean 'apache-2.0'? {ANY}"),
        (("CC_BY_4.0",), f"license 'CC_BY_4.0' is none of the hub's: did you mean 'cc-by-4.0'? {ANY}"),
        (("",), f"license '' is none of the hub's: allowed: {', '.join(sorted(IDENTIFIERS))} {ANY}"),
        (("other",), "license 'other' needs a license_name, such as 'my-license-1.0'"),
        (
            ("other", "My licence"),
            "license_name 'My licence': the hub takes small letters, digits, '.' and '-', as in 'my-license-1.0'",
        ),
        (("other", "x", "javascript:alert(1)"), f"license_link 'javascript:alert(1)': {LINK}"),
        (("other", "x", "https://a.org/> <b>"), f"license_link 'https://a.org/> <b>': {LINK}"),
        (("other", "x", "/etc/LICENSE"), f"license_link '/etc/LICENSE': {LINK}"),
        (
            ("mit", "x"),
            "license_name belongs to the license 'other', and it is 'mit'; leave it out, or give that",
        ),
        (
            (None, None, "https://a.org"),
            "license_link belongs to the license 'other', and none is given; leave it out, or give that",
        ),
    ],
)
def test_a_licence_that_is_none_of_the_hubs_is_refused(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        license_of(*given)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("given", "fields", "words"),
    [
        ({}, {}, NONE),
        ({"license": "openrail++"}, {"license": "openrail++"}, "## License\n\n`openrail++`.\n"),
        (
            {"license": "other", "license_name": "duck-1.0"},
            {"license": "other", "license_name": "duck-1.0"},
            "## License\n\n`duck-1.0`.\n",
        ),
        (
            {"license": "other", "license_name": "duck-1.0", "license_link": "https://a.org/duck_1?x=1&y=*"},
            {"license": "other", "license_name": "duck-1.0", "license_link": "https://a.org/duck_1?x=1&y=*"},
            "## License\n\n`duck-1.0`: <https://a.org/duck_1?x=1&y=*>\n",
        ),
        (
            {"license": "other", "license_name": "duck-1.0", "license_link": "LICENSE.md"},
            {"license": "other", "license_name": "duck-1.0", "license_link": "LICENSE.md"},
            "## License\n\n`duck-1.0`: [LICENSE.md](LICENSE.md)\n",
        ),
    ],
)
def test_a_card_states_the_licence(
    small: mmkit.Model, tmp_path: Path, given: dict[str, str], fields: dict[str, str], words: str
) -> None:
    export_hf(small, tmp_path / "out", **given)  # type: ignore[arg-type]
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert {name: value for name, value in card.data.to_dict().items() if name.startswith("license")} == fields
    assert card.text.endswith(words)


def test_the_command_takes_the_hubs_field_and_refuses_before_anything_is_written(
    run: Command, small: mmkit.Model, tmp_path: Path
) -> None:
    small.save(tmp_path / "model")
    code, out, err = run("export", "hf", "model", "out", "--license", "GPL-3.0")
    assert (code, out) == (2, "")
    assert err == f"error: license 'GPL-3.0' is none of the hub's: did you mean 'gpl-3.0'? {ANY}\n"
    assert not (tmp_path / "out").exists()
    options = ("--license", "other", "--license-name", "duck", "--license-link", "https://a.org")
    assert run("export", "hf", "model", "out", *options)[0] == 0
    assert ModelCard.load(tmp_path / "out" / "README.md").data.license_name == "duck"


def test_models_of_the_hub_that_parts_began_as_are_named_once() -> None:
    named = ["org/lm", "org/lm", "org/vision", "./folder", None, "/home/me"]
    placed = [SimpleNamespace(options=lambda hub=hub: {"hub": hub, "path": "x"}) for hub in named]
    placed.append(SimpleNamespace(options=dict))
    assert base_models(cast("Any", SimpleNamespace(placed=lambda: placed))) == ["org/lm", "org/vision"]


def test_a_card_is_edited_at_its_head_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    head = "model-index: damaged\nlanguage: 'no'\ntags: one\nown: [1, 2]\n"
    path.write_text(f"---\n{head}---\nMine, all of it.\r\n{NONE}---\n", newline="")
    assert edit_card(path, "the card", ["one", "two", "two"], License("mit"))
    card = path.read_bytes().decode()
    assert "model-index: damaged\n" in card
    assert "language: 'no'\n" in card
    assert "tags:\n- one\n- two\n" in card
    assert card.endswith("own:\n- 1\n- 2\nlicense: mit\n---\nMine, all of it.\r\n## License\n\n`mit`.\n---\n")
    before = path.read_bytes()
    assert not edit_card(path, "the card", ["two"], License("mit"))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "---\nlicense: mit\n---\n",
            "the card of x has license: mit already, not gpl; change its README.md, or give no license",
        ),
        (
            "---\n- a\n---\n",
            "the head of the card of x cannot be read: repo card metadata block should be a dict; mend",
        ),
        ("---\na: [\n---\n", "the head of the card of x cannot be read: while parsing a flow node; mend"),
    ],
)
def test_a_card_that_says_otherwise_or_nothing_readable_stays(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(mmkit.MmkitError) as caught:
        edit_card(path, "the card of x", (), License("gpl"))
    assert str(caught.value) == (said if said.endswith("license") else f"{said} its README.md")
    assert path.read_text() == text
