"""``mmkit export hf`` and ``mmkit import hf`` as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModel

import mmkit

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def saved(mood: dict[str, Any], tmp_path: Path) -> Path:
    """A classifier of texts, in ``model``."""
    mood["modalities"]["text"]["adapter"] = {"use": "characters"}
    mood["tasks"]["again"] = mood["tasks"]["mood"]
    model = mmkit.build(mood, fit={"text": ["a fine warm dull cold film"]}, seed=0)
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_out_and_back_again(run: Command, saved: Path, tmp_path: Path) -> None:
    code, out, err = run("export", "hf", "model", "hf", "--task", "again", "--bare")
    assert (code, out) == (0, "hf\n")
    count = len(list(mmkit.load(saved).named_parameters()))
    assert err.splitlines()[-1] == f"read back: {count} tensors, bit for bit"
    assert sorted(path.name for path in (tmp_path / "hf").iterdir()) == [
        "README.md", "assets", "config.json", "generation_config.json", "model.safetensors"
    ]  # fmt: skip
    loaded = AutoModel.from_pretrained(tmp_path / "hf")
    assert loaded.config.task == "again"
    assert "rows.jsonl" not in (tmp_path / "hf" / "config.json").read_text()
    code, out, err = run("import", "hf", "hf", "back")
    assert (code, out) == (0, "back\n")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


def test_what_is_no_saved_model_is_named(run: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = "error: empty is not a saved mmkit model: it has no manifest.json\n"
    assert run("export", "hf", "empty", "out") == (2, "", said)
    assert run("export", "hf", "nowhere", "out") == (2, "", said.replace("empty", "nowhere"))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_not_written_into(run: Command, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = f"error: {tmp_path / 'out'} is there already; name a folder that is not, or remove it\n"
    assert run("export", "hf", "model", "out") == (2, "", said)
    run("export", "hf", "model", "hf")
    code, _, err = run("import", "hf", "hf", "out")
    assert code == 2
    assert err.endswith(said)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert not list(tmp_path.glob(".*writing*"))


def test_an_empty_folder_may_be_there(run: Command, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run("export", "hf", "model", "out")[0] == 0
    assert (tmp_path / "out" / "config.json").is_file()


def test_a_task_that_is_not_there_names_the_nearest(run: Command, saved: Path, tmp_path: Path) -> None:
    said = "error: there is no task 'agian': did you mean 'again'?\n"
    assert run("export", "hf", "model", "out", "--task", "agian") == (2, "", said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "ckpt is no folder of transformers: it has no config.json"),
        ("{", "ckpt/config.json is not a JSON object"),
        ("[1]", "ckpt/config.json is not a JSON object"),
        ("{}", "ckpt/config.json names no model_type"),
        ('{"model_type": "lava"}', "no plugin imports the architecture 'lava': did you mean 'llava'?"),
        ('{"model_type": "bert"}', "no plugin imports the architecture 'bert': allowed: llava, mmkit, whisper"),
    ],
)
def test_what_cannot_be_imported_is_named(run: Command, tmp_path: Path, config: str | None, said: str) -> None:
    (tmp_path / "ckpt").mkdir()
    if config is not None:
        (tmp_path / "ckpt" / "config.json").write_text(config)
    assert run("import", "hf", "ckpt", "out") == (2, "", f"error: {said}\n")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_mmkit_that_is_incomplete_is_named(run: Command, saved: Path, tmp_path: Path) -> None:
    run("export", "hf", "model", "hf")
    (tmp_path / "hf" / "assets" / "text.adapter").rename(tmp_path / "gone")
    code, _, err = run("import", "hf", "hf", "out")
    assert code == 2
    assert "error: hf is incomplete: assets/text.adapter/" in err
    (tmp_path / "gone").rename(tmp_path / "hf" / "assets" / "text.adapter")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config["plugins"]["gone"] = {"distribution": "mmkit-gone", "version": "1.2"}
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    said = "error: hf cannot be loaded:\n  plugin 'gone' is not installed: pip install mmkit-gone==1.2\n"
    assert run("import", "hf", "hf", "out") == (2, "", said)
    assert not (tmp_path / "out").exists()


def test_figures_that_are_kept_are_on_the_card(run: Command, saved: Path, tmp_path: Path) -> None:
    code, out, err = run("evaluate", "model", "--keep", "--json")
    assert code == 0
    assert err.splitlines()[-1] == "wrote model/figures.json"
    measured = json.loads(out)
    run("evaluate", "model", "--keep", "--part", "train", "--limit", "3")
    run("export", "hf", "model", "hf")
    card = ModelCard.load(tmp_path / "hf" / "README.md")
    results = {(one.task_name, one.dataset_split, one.metric_type): one for one in card.data.eval_results}
    assert {name: one.metric_value for (_, part, name), one in results.items() if part == "test"} == measured["mood"][
        "metrics"
    ]
    one = results["mood", "test", "accuracy"]
    assert (one.task_type, one.dataset_name) == ("text-classification", "rows.jsonl")
    assert f"| `mood` | 8 | `test` | `accuracy` | {measured['mood']['metrics']['accuracy']:.4g} |" in card.text
    assert "| `mood` | 3 | `train`, at most 3 a source | `accuracy` |" in card.text
    assert str(tmp_path) not in card.content


def test_figures_of_an_older_model_are_left_out_and_named(run: Command, saved: Path, tmp_path: Path) -> None:
    run("evaluate", "model", "--keep")
    model = mmkit.load(saved)
    torch.nn.init.zeros_(next(model.parameters()))
    model.save(saved)
    code, _, err = run("export", "hf", "model", "hf")
    assert code == 0
    said = "model/figures.json is of an older model and not shown; mmkit evaluate model --keep"
    assert err.splitlines()[0] == said
    assert ModelCard.load(tmp_path / "hf" / "README.md").data.eval_results is None


def test_help_names_the_programs(run: Command) -> None:
    code, out, _ = run("export", "--help")
    assert code == 0
    assert "transformers" in out
    code, out, _ = run("export", "hf", "--help")
    assert "--push" in out
    assert "--private" in out
