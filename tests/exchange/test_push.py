"""Uploads to a small hub on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants
from transformers import AutoModel, AutoProcessor

import mmkit
from mmkit.exchange.hf_export import export_hf
from mmkit.exchange.hf_push import push
from mmkit.training.figures import Kept
from tests.exchange.hub import Hub, Repo, serving

Command = Callable[..., tuple[int, str, str]]
FIGURES = [Kept("test", "caption", 12, None, {"loss": 0.5, "chrf": 71.25})]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """What this process takes for the hub, with a token that may write."""
    with serving() as hub:
        files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "good")
        yield hub


@pytest.fixture(scope="module")
def saved(model: mmkit.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_uploaded_and_the_hub_has_it_to_the_byte(
    run: Command, hub: Hub, saved: Path, tmp_path: Path
) -> None:
    code, out, err = run("export", "hf", saved, "out", "--push", "me/ducks", "--private")
    assert (code, out) == (0, "out\n")
    assert err.splitlines()[-1] == f"uploaded to {hub.url}/me/ducks"
    assert hub.repos["me/ducks"].private
    assert hub.repos["me/ducks"].files == files_of(tmp_path / "out")
    assert hub.repos["me/ducks"].commits == ["Upload model"]
    assert 'pipeline("mmkit", model="me/ducks")' in hub.repos["me/ducks"].files["README.md"].decode()


SCRIPT = """
import json, sys
import mmkit, torch
from transformers import AutoModelForMultimodalLM, AutoProcessor, pipeline
rows = json.loads(sys.argv[1])
print(json.dumps(pipeline("mmkit", model="me/ducks", device="cpu")(rows, task="beat")))
loaded, processor = AutoModelForMultimodalLM.from_pretrained("me/ducks"), AutoProcessor.from_pretrained("me/ducks")
loaded.push_to_hub("me/again", tags=["water"], private=True)
processor.push_to_hub("me/spelling", private=True)
torch.nn.init.zeros_(next(loaded.parameters()))
loaded.save_pretrained("zeros", push_to_hub=True, repo_id="me/other", commit_message="Zeros")
processor.save_pretrained("spelling", push_to_hub=True, private=True)
"""


def test_what_is_on_the_hub_answers_and_is_pushed_on_with_its_card(
    hub: Hub, model: mmkit.Model, rows: list[Any], tmp_path: Path
) -> None:
    export_hf(model, tmp_path / "out", figures=FIGURES, name="me/ducks")
    push(tmp_path / "out", "me/ducks")
    given = [{"ecg": row["ecg"], "image": row["image"].tolist()} for row in rows]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "good"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    script = SCRIPT.replace("rows = json.loads(sys.argv[1])", _ROWS)
    command = [sys.executable, "-c", script, json.dumps(given)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == model.predict("beat", rows)
    first, again, other = (hub.repos[f"me/{name}"] for name in ("ducks", "again", "other"))
    assert {n: d for n, d in again.files.items() if n != "README.md"} == {
        n: d for n, d in first.files.items() if n != "README.md"
    }
    assert again.private
    card = ModelCard(again.files["README.md"].decode())
    assert card.data.tags == ["mmkit", "ecg", "image", "text", "water"]
    assert {(one.metric_type, one.metric_value) for one in card.data.eval_results} == {("loss", 0.5), ("chrf", 71.25)}
    assert ModelCard(other.files["README.md"].decode()).data.eval_results is None  # another model now
    assert other.files["model.safetensors"] != first.files["model.safetensors"]
    assert other.commits == ["Zeros"]
    wanted = {name for name in first.files if name == "config.json" or name.startswith("assets/")}
    assert set(hub.repos["me/spelling"].files) == wanted
    assert hub.repos["me/spelling"].commits == ["Upload processor", "Upload processor"]
    assert files_of(tmp_path / "zeros") == {name: data for name, data in other.files.items() if name != "README.md"}


_ROWS = """
import numpy as np
rows = [{"ecg": one["ecg"], "image": np.array(one["image"], dtype=np.uint8)} for one in json.loads(sys.argv[1])]
"""


def test_a_card_that_was_edited_on_the_hub_stays(run: Command, hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.repos["me/ducks"] = Repo(files={"README.md": b"---\nlicense: mit\n---\nMine.\n"})
    code, _, err = run("export", "hf", saved, "out", "--push", "me/ducks")
    assert code == 0, err
    assert err.splitlines()[-1] == "me/ducks has a card already, which stays; the new one is out/README.md"
    assert hub.repos["me/ducks"].files["README.md"] == b"---\nlicense: mit\n---\nMine.\n"
    assert hub.repos["me/ducks"].files["config.json"] == (tmp_path / "out" / "config.json").read_bytes()
    push(tmp_path / "out", "me/ducks", tags=["ducks"])
    assert hub.repos["me/ducks"].files["README.md"] == b"---\nlicense: mit\ntags:\n- ducks\n---\nMine.\n"


def test_what_can_be_known_before_is_said_before_anything_is_written(
    run: Command, hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ("export", "hf", saved, "out", "--push")
    name = (
        "'me/a duck' is no name of a repository; write NAME/REPO: letters, digits, '-', '_' and '.', at most 96 in all"
    )
    assert run(*export, "me/a duck") == (2, "", f"error: {name}\n")
    alone = "--private says what kind of repository --push makes; name one: --push NAME/REPO --private"
    assert run("export", "hf", saved, "out", "--private") == (2, "", f"error: {alone}\n")
    monkeypatch.delenv("HF_TOKEN")
    token = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
    assert run(*export, "me/ducks") == (2, "", f"error: me/ducks cannot be uploaded to without a token: {token}\n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = "error: me/ducks cannot be uploaded to: HF_HUB_OFFLINE is set; unset it\n"
    assert run(*export, "me/ducks") == (2, "", offline)
    assert not (tmp_path / "out").exists()
    assert hub.asked == []


STAYS = "\n  out is written and stays; later: hf upload {repo} out{more}\n"
TOKEN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


@pytest.mark.parametrize(
    ("repo", "token", "broken", "reason"),
    [
        ("me/ducks", "bad", "", f"URL does not know the token; {TOKEN}"),
        ("you/ducks", "good", "", f"the token may not write there; name a repository of yours, or {TOKEN}"),
        ("me/ducks", "good", "/commit/", "URL answers 500: the disk is full"),
    ],
)
def test_what_the_hub_refuses_leaves_the_folder(
    run: Command,
    hub: Hub,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repo: str,
    token: str,
    broken: str,
    reason: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.broken = broken
    code, out, err = run("export", "hf", saved, "out", "--push", repo)
    assert (code, out) == (1, "")
    wanted = f"error: {repo} could not be uploaded to: {reason.replace('URL', hub.url)}"
    assert err.endswith(wanted + STAYS.format(repo=repo, more=""))
    assert mmkit.load(saved).predict  # untouched
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not hub.repos.get(repo, Repo()).files


def test_a_network_that_is_not_there_leaves_the_folder(
    run: Command, hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, err = run("export", "hf", saved, "out", "--push", "me/ducks", "--private")
    assert code == 1
    said, rest = err[err.index("error: ") :].split("\n", 1)
    assert said.startswith("error: me/ducks could not be uploaded to: http://127.0.0.1:9 cannot be reached: ")
    assert said.endswith("; check the network, or HF_ENDPOINT")
    assert "\n" + rest == STAYS.format(repo="me/ducks", more=" --private")
    assert (tmp_path / "out" / "README.md").is_file()


def test_a_public_repository_is_not_taken_for_a_private_one(run: Command, hub: Hub, saved: Path) -> None:
    hub.repos["me/ducks"] = Repo()
    code, _, err = run("export", "hf", saved, "out", "--push", "me/ducks", "--private")
    said = "error: me/ducks is there already, and public; make it private on the hub, or name another repository"
    assert code == 2
    assert err.endswith(said + STAYS.format(repo="me/ducks", more=" --private"))
    assert hub.repos["me/ducks"].files == {}


def test_a_licence_is_written_into_a_card_that_states_none_and_never_over_another(
    run: Command, hub: Hub, saved: Path, tmp_path: Path
) -> None:
    hub.repos["me/ducks"] = Repo(files={"README.md": b"---\nlanguage: en\n---\nMine.\n"})
    export = ("export", "hf", saved, "out", "--push", "me/ducks", "--license", "mit")
    code, _, err = run(*export)
    assert code == 0, err
    stays = "me/ducks has a card already, which stays, with license: mit; the new one is out/README.md"
    assert err.splitlines()[-1] == stays
    assert hub.repos["me/ducks"].files["README.md"] == b"---\nlanguage: en\nlicense: mit\n---\nMine.\n"
    assert ModelCard.load(tmp_path / "out" / "README.md").text.endswith("## License\n\n`mit`.\n")
    before = dict(hub.repos["me/ducks"].files)
    code, out, err = run("export", "hf", saved, "other", "--push", "me/ducks", "--license", "gpl-3.0")
    said = "the card of me/ducks has license: mit already, not gpl-3.0; change its README.md, or give no license"
    assert (code, out) == (2, "")
    assert err.endswith(f"error: {said}\n  other is written and stays; later: hf upload me/ducks other\n")
    assert hub.repos["me/ducks"].files == before


def test_the_card_of_the_revision_is_the_one_that_is_edited(hub: Hub, exported: Path) -> None:
    hub.repos["me/ducks"] = Repo(files={"README.md": b"Mine.\n"})
    push(exported, "me/ducks", revision="refs/pr/1", tags=["ducks"])
    asked = [line for line in hub.asked if line.endswith("README.md")]
    assert "HEAD /me/ducks/resolve/refs%2Fpr%2F1/README.md" in asked
    assert not [line for line in asked if "/main/" in line]


def test_the_licence_of_what_was_loaded_goes_along_and_one_may_be_added(
    hub: Hub, exported: Path, tmp_path: Path
) -> None:
    loaded = AutoModel.from_pretrained(exported)
    loaded.push_to_hub("me/ducks", license="apache-2.0")
    card = ModelCard(hub.repos["me/ducks"].files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.text.endswith("## License\n\n`apache-2.0`.\n")
    (tmp_path / "ducks").mkdir()
    for name, content in hub.repos["me/ducks"].files.items():
        (tmp_path / "ducks" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ducks" / name).write_bytes(content)
    again = AutoModel.from_pretrained(tmp_path / "ducks")
    with pytest.raises(mmkit.MmkitError) as caught:
        again.push_to_hub("me/again", license="mit")
    said = f"the card of {tmp_path / 'ducks'} has license: apache-2.0 already, not mit; change its README.md, or give no license"
    assert str(caught.value) == said
    assert "me/again" not in hub.repos
    again.save_pretrained(tmp_path / "again", push_to_hub=True, repo_id="me/again", license="apache-2.0")
    assert ModelCard(hub.repos["me/again"].files["README.md"].decode()).data.license == "apache-2.0"


def test_what_goes_into_a_card_is_refused_where_there_is_none(hub: Hub, exported: Path) -> None:
    processor = AutoProcessor.from_pretrained(exported)
    with pytest.raises(mmkit.MmkitError) as caught:
        processor.push_to_hub("me/spelling", tags=["ducks"])
    said = "tags and a license are written into a card, and here is none; push the model, or leave them out"
    assert str(caught.value) == said
    with pytest.raises(TypeError, match="licence"):
        processor.push_to_hub("me/spelling", licence="mit")
