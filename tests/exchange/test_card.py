"""The model card: valid for the hub, true of the model, and proof against what users write into specs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import mmkit
from mmkit.discovery.loader import discover
from mmkit.exchange.card_data import name_of
from mmkit.exchange.card_tags import pipeline_tag
from mmkit.exchange.card_text import code, plain
from mmkit.exchange.hf_export import export_hf, import_hf
from mmkit.training.figures import Kept, keep, kept
from mmkit.wiring.planner import plan

EVIL = [
    "plain words",
    "two\n---\nlicense: mit\n---\nlines",
    "<script>alert(1)</script>",
    "`` ` ``",
    "a `b` | c \\| d \\",
    "![x](https://example.org/x.png) [y](javascript:alert(1)) https://example.org",
    "- [ ] # * _ ~ {{ }} {% raw %}",
    "\u202egnp.exe \x07 \u2028 end",
    "'\"&amp;<!-- -->]]>",
    "",
]


def rendered(markdown: str) -> list[Any]:
    """All tokens of Markdown as the hub shows it: CommonMark with tables, and HTML let through."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    return [child for token in tokens for child in (token, *(token.children or ()))]


def text_of(tokens: list[Any]) -> str:
    return "".join(token.content for token in tokens if token.type in ("text", "text_special", "code_inline"))


@pytest.mark.parametrize("evil", EVIL)
def test_text_of_users_is_shown_and_never_markup(evil: str) -> None:
    for frame in ("* {}, and on", "| a | b |\n|---|---|\n| {} | 1 |", "# {}"):
        tokens = rendered(frame.format(code(evil)))
        kinds = {token.type for token in tokens}
        assert not kinds & {"link_open", "image", "html_block", "em_open", "strong_open", "hr", "fence", "code_block"}
        assert {t.content for t in tokens if t.type == "html_inline"} <= {"<code>", "</code>"}
        assert sum(t.type == "td_open" for t in tokens) == (2 if "|---|" in frame else 0)
        assert sum(t.type == "list_item_open" for t in tokens) == frame.startswith("*")
        assert (plain(evil) or "(empty)") in text_of(tokens)


def test_control_characters_and_length_are_taken_from_text() -> None:
    assert plain("\u202egnp.exe\x07\n  two\u2028lines") == "gnp.exe two lines"
    assert plain("x" * 400) == "x" * 300 + " …"


def called(evil: str, number: int) -> str:
    """A name of a task, which may have no dot, and no parentheses in transformers' weights."""
    return re.sub("[.()]", "", f"{evil} {number}")


def hostile() -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": {"use": "lstm", "embedding_dim": 4, "hidden_dim": 4},
        "tasks": {
            called(evil, number): {
                "input": f"{evil.replace('{', '{{').replace('}', '}}')} {{column}}",
                "output": "{label}",
                "columns": {"column": "text"},
                "head": {"use": "classify", "labels": [f"{one}." for one in EVIL]},
            }
            for number, evil in enumerate(EVIL)
        },
        "data": {"train": [{"task": called(evil, n), "path": f"/home/me/{evil}"} for n, evil in enumerate(EVIL)]},
    }


def test_a_hostile_spec_breaks_neither_yaml_nor_markdown(tmp_path: Path) -> None:
    model = mmkit.build(hostile(), fit={"text": ["abc"]})
    figures = [Kept("test\n---\n", task, 3, None, {"acc\n---\nuracy|": 0.5}) for task in model.plan.tasks]
    export_hf(model, tmp_path / "out", figures=figures, name="me/x")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    meta = yaml.safe_load(head)
    assert set(meta) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert len(ModelCard(text).data.eval_results or []) == len(EVIL)
    tokens = rendered(body)
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_block", "em_open", "strong_open", "hr"}
    assert {t.content for t in tokens if t.type == "html_inline"} <= {"<code>", "</code>"}
    titles = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]
    assert titles == ["`me/x`", "Tasks", "Use", "Parts", "Data", "Figures", "License"]
    assert [token.info for token in tokens if token.type == "fence"] == ["python"]
    assert "/home" not in text


def test_the_code_of_a_card_is_code(exported: Path, rows: list[Any], model: mmkit.Model) -> None:
    text = (exported / "README.md").read_text("utf-8")
    (block,) = [token.content for token in rendered(ModelCard(text).text) if token.type == "fence"]
    named: dict[str, Any] = {}
    block = block.replace('model="model"', f"model={str(exported)!r}, device='cpu'")
    block = block.replace("ask({", "given = ({").replace("…", "None").replace(", task=", "); named = dict(task=")
    exec(block, named)
    assert named["named"] == {"task": "caption"}
    assert list(named["given"]) == ["image", "hint"]
    assert named["ask"](rows, task="caption") == model.predict("caption", rows)


def test_a_card_says_what_the_spec_says(exported: Path, model: mmkit.Model) -> None:
    card = ModelCard.load(exported / "README.md")
    assert card.data.to_dict() == {
        "library_name": "mmkit",
        "pipeline_tag": "image-text-to-text",
        "tags": ["mmkit", "ecg", "image", "text"],
    }
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"with {count:,} parameters. It reads `ecg`, `image`, `text` and writes `text`." in card.text
    assert "* `beat`: `{ecg} {image}` → `{text}`, head `tasks/generate`\n" in card.text
    assert "    * labels: `disc`, `square`, `star`\n" in card.text
    assert "| `image.encoder` | `image/cnn` |" in card.text
    assert "Figures" not in card.text
    assert "Privacy" not in card.text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"path": "/home/me/secret/train.jsonl"}, "train.jsonl"),
        ({"path": "C:\\Users\\me\\*.csv"}, "*.csv"),
        ({"path": "~/pictures/"}, "pictures"),
        ({"path": "https://u:p@example.org/a/rows.csv?token=abc#x"}, "rows.csv"),
        ({"path": "s3://bucket/a/rows.parquet"}, "rows.parquet"),
        ({"path": "hub:org/set"}, "org/set"),
        ({"path": "hub:/home/me/set"}, "set"),
        ({"source": {"use": "cam/webcam", "url": "rtsp://me@home"}}, "source cam/webcam"),
    ],
)
def test_data_is_named_without_where_it_lies(source: dict[str, Any], name: str) -> None:
    assert name_of(source) == name


def test_a_bare_export_has_a_card_without_data(mood: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.build({**mood, "modalities": {"text": {"adapter": "characters"}}}, fit={"text": ["abc"]})
    for bare, shown in ((False, True), (True, False)):
        export_hf(model, tmp_path / str(bare), bare=bare)
        text = (tmp_path / str(bare) / "README.md").read_text()
        assert ("* train: `rows.jsonl` (`mood`)\n* test: `rows.jsonl` (`mood`)\n" in text) == shown
        assert ("rows.jsonl" in text) == shown
        assert str(tmp_path) not in text


KINDS: dict[str, dict[str, Any]] = {
    "text": {"adapter": "characters"},
    "image": {"encoder": {"use": "cnn", "image_size": 16}, "adapter": "linear"},
    "audio": {"encoder": "log-mel", "adapter": "linear"},
    "ecg": {"encoder": {"use": "ecg", "dim": 16, "layers": 2}, "adapter": "linear"},
    "picture": {"adapter": {"use": "image-patches", "image_size": 16, "patch": 4}},
    "sound": {"adapter": "mel-frames"},
}
GENERATE, CLASSIFY = {"use": "generate"}, {"use": "classify", "labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "given", "output", "head", "tag"),
    [
        ("caption", "{image}", "text", GENERATE, "image-to-text"),
        ("ask", "{image} {text}", "text", GENERATE, "image-text-to-text"),
        ("transcribe", "{audio}", "text", GENERATE, "automatic-speech-recognition"),
        ("caption", "{audio}", "text", GENERATE, None),
        ("chat", "{audio} {text}", "text", GENERATE, "audio-text-to-text"),
        ("go on", "{text}", "text", GENERATE, "text-generation"),
        ("translate", "{text}", "text", GENERATE, "translation"),
        ("Summary", "{text}", "text", GENERATE, "summarization"),
        ("beat", "{ecg}", "text", GENERATE, None),
        ("mood", "{text}", "label", CLASSIFY, "text-classification"),
        ("shape", "{image}", "label", CLASSIFY, "image-classification"),
        ("sound", "{audio}", "label", CLASSIFY, "audio-classification"),
        ("both", "{audio} {image}", "label", CLASSIFY, None),
        ("beat", "{ecg}", "label", CLASSIFY, None),
        ("price", "{text}", "number", {"use": "regress"}, None),
        ("draw", "{text}", "picture", {"use": "flow"}, "text-to-image"),
        ("noise", "{text}", "sound", {"use": "flow"}, "text-to-audio"),
        ("speak", "{text}", "sound", {"use": "flow"}, "text-to-speech"),
    ],
)
def test_the_hubs_word_for_a_task(name: str, given: str, output: str, head: Any, tag: str | None) -> None:
    used = {kind: spec for kind, spec in KINDS.items() if f"{{{kind}}}" in given or kind == output}
    spec = {
        "mmkit": 1,
        "modalities": {"text": KINDS["text"], **used},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {name: {"input": given, "output": f"{{{output}}}", "head": head}},
    }
    assert pipeline_tag(plan(spec, discover()), name) == tag


def test_a_model_that_writes_several_kinds_is_any_to_any() -> None:
    spec = {
        "mmkit": 1,
        "modalities": {name: KINDS[name] for name in ("text", "image", "picture")},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {
            "caption": {"input": "{image}", "output": "{text}", "head": "generate"},
            "draw": {"input": "{text}", "output": "{picture}", "head": "flow"},
        },
    }
    assert pipeline_tag(plan(spec, discover()), "caption") == "any-to-any"


PRIVACY = {
    "mechanism": "DP-SGD, Poisson sampling", "epsilon": 3.987654, "delta": 1e-4, "target_epsilon": 4.0, "clip": 1.0,
    "noise_multiplier": 2.1234, "steps": 1230, "sample_rate": 0.1, "history": [], "rows": 300, "accountant": "prv",
    "unit": "one row of data.train added or removed", "outside": "logs are not covered", "seeded": False, "mmkit": "0.1.0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said", "tagged"),
    [
        ({}, "ε 3.99 at δ 0.0001, for `one row of data.train added or removed`.", True),
        ({"epsilon": None}, "Trained without noise: **no bound**.", False),
        ({"seeded": True}, "Noise from a seed in the spec: **no protection**.", False),
        ({"unit": "<b>one</b>", "clip": "<i>"}, "for `<b>one</b>`.", True),
    ],
)
def test_what_was_spent_goes_along(
    mood: dict[str, Any], tmp_path: Path, changed: dict[str, Any], said: str, tagged: bool
) -> None:
    model = mmkit.build({**mood, "modalities": {"text": {"adapter": "characters"}}}, fit={"text": ["abc"]})
    model.privacy = {**PRIVACY, **changed}
    export_hf(model, tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert said in card.text
    assert "| steps | 1,230 |" in card.text
    assert "| noise multiplier | 2.12 |" in card.text
    assert ("differential-privacy" in card.data.tags) == tagged
    assert not {t.type for t in rendered(card.text)} & {"html_inline", "html_block"}
    import_hf(tmp_path / "out", tmp_path / "back")
    assert json.loads((tmp_path / "back" / "privacy.json").read_text()) == model.privacy
    assert mmkit.load(tmp_path / "back").privacy == model.privacy


def test_figures_are_kept_with_the_model_they_are_of(mood: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.build(mood, fit={"text": ["a fine dull film"]})
    model.save(tmp_path / "model")
    assert kept(tmp_path / "model") == []
    results = mmkit.evaluate(tmp_path / "model")
    results["mood"].metrics["odd"] = float("nan")
    keep(tmp_path / "model", "test", results, None)
    keep(tmp_path / "model", "train", results, 5)
    keep(tmp_path / "model", "train", results, 7)
    metrics = {name: value for name, value in results["mood"].metrics.items() if name != "odd"}
    assert kept(tmp_path / "model") == [
        Kept("test", "mood", 8, None, metrics), Kept("train", "mood", 8, 7, metrics)
    ]  # fmt: skip
    assert mmkit.load(tmp_path / "model", verify=True)
    model.heads["mood"].output.bias.data.add_(1)
    model.save(tmp_path / "model")
    assert kept(tmp_path / "model") is None
    keep(tmp_path / "model", "valid", results, None)
    assert [one.part for one in kept(tmp_path / "model") or []] == ["valid"]


def test_damaged_figures_are_named(mood: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.build(mood, fit={"text": ["a fine dull film"]})
    model.save(tmp_path / "model")
    keep(tmp_path / "model", "test", mmkit.evaluate(model), None)
    path = tmp_path / "model" / "figures.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "figures": [{"part": "test"}]}))
    with pytest.raises(mmkit.CheckpointError) as caught:
        kept(tmp_path / "model")
    assert str(caught.value) == f"{path} holds no figures of format 1; remove it, and evaluate with --keep again"


def test_a_name_that_transformers_cannot_read_is_refused(mood: dict[str, Any], tmp_path: Path) -> None:
    mood["tasks"] = {"mood (short)": mood["tasks"]["mood"]}
    model = mmkit.build({**mood, "data": None, "train": None}, fit={"text": ["a fine dull film"]})
    with pytest.raises(mmkit.MmkitError) as caught:
        export_hf(model, tmp_path / "out")
    said = "transformers cannot load weights with parentheses in their names: 'mood (short).head'; give it another name"
    assert str(caught.value) == said
    assert not (tmp_path / "out").exists()
