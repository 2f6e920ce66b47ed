"""The page of a model with every kind of input and output, and what its buttons do."""

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
import soundfile
from PIL import Image

import mmkit
from mmkit.play.answer import Answer, as_html, places_of
from mmkit.play.page import PLACES, page
from mmkit.play.player import Player


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of uploads."""
    made = tmp_path / "uploads"
    made.mkdir()
    return made


def player(model: mmkit.Model, task: str, folder: Path) -> Player:
    return Player(model, task, folder, threading.Lock())


def last(player: Player, *fields: Any, **options: Any) -> Answer:
    given = [options.get(one.name, one.value) for one in player.options]
    return list(player.ask(fields, given))[-1]


def test_the_page_has_a_tab_a_task_with_a_form_for_every_column(model: mmkit.Model, folder: Path) -> None:
    blocks, tabs = page(model, folder, "lab")
    kinds = {task: [type(field).__name__ for field in tab.fields] for task, tab in tabs.items()}
    assert list(tabs) == list(model.plan.tasks)
    assert kinds["caption"] == ["Image"]
    assert kinds["mood"] == kinds["draw"] == kinds["say"] == ["Textbox"]
    assert kinds["hear"] == ["Audio"]
    assert kinds["beat"] == ["File", "Textbox"]
    assert blocks.analytics_enabled is False
    assert {function.concurrency_id for function in blocks.fns.values()} == {"model"}


def test_options_are_those_of_the_head_with_its_values(model: mmkit.Model, folder: Path) -> None:
    found = {one.name: one.value for one in player(model, "caption", folder).options}
    wanted = {"temperature": 0.5, "top_p": None, "seed": 0, "max_new_tokens": 5, "beams": 1, "guidance": 1.0}
    assert found == wanted
    assert "guidance" not in {one.name for one in player(model, "draw", folder).options}
    assert player(model, "mood", folder).options == []


def test_text_grows_and_is_what_predict_says(model: mmkit.Model, folder: Path, photo: bytes) -> None:
    (folder / "a.png").write_bytes(photo)
    asked = player(model, "caption", folder)
    given = [{"seed": 3}.get(one.name, one.value) for one in asked.options]
    states = list(asked.ask([str(folder / "a.png")], given))
    texts = [state.places["text"] for state in states]
    assert texts[-1] == model.predict("caption", {"photo": photo}, seed=3)
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(texts))
    seconds, read, written = states[-1].said.split(" · ")
    sample = model.preparer()("caption", {"photo": photo}, target=False)
    assert read == f"{sum(part.tokens for part in sample.parts)} tokens read"
    assert written == f"{len(texts[-1])} tokens written"
    assert float(seconds.removesuffix(" s")) >= 0


def test_a_label_has_its_probabilities(model: mmkit.Model, folder: Path) -> None:
    wanted = model.predict("mood", {"text": "a light"})["probabilities"]
    assert last(player(model, "mood", folder), "a light").places == {"label": pytest.approx(wanted)}


def test_a_modality_that_nobody_knows_takes_a_file_or_json(model: mmkit.Model, folder: Path) -> None:
    (folder / "beat.txt").write_text("0.1 0.5 0.2 0.9")
    wanted = {"label": pytest.approx(model.predict("beat", {"ecg": [0.1, 0.5, 0.2, 0.9]})["probabilities"])}
    asked = player(model, "beat", folder)
    assert last(asked, str(folder / "beat.txt"), "").places == wanted
    assert last(asked, None, "[0.1, 0.5, 0.2, 0.9]").places == wanted
    assert last(asked, None, "").fault == "column 'ecg' is empty: give it a file, or JSON"
    assert last(asked, str(folder / "beat.txt"), "[1]").fault == "column 'ecg' has a file and JSON: remove one"
    assert last(asked, None, "[1").fault.startswith("column 'ecg' is no JSON: ")


@pytest.mark.parametrize("named", ['"{}"', '["{}"]', '{{"path": "{}", "bytes": ""}}'])
def test_json_names_no_file_of_the_machine(model: mmkit.Model, folder: Path, tmp_path: Path, named: str) -> None:
    (tmp_path / "secret.txt").write_text("0.1 0.5")
    answer = last(player(model, "beat", folder), None, named.format(tmp_path / "secret.txt"))
    wanted = "column 'ecg': text in JSON would name a file of this machine; upload the file instead"
    assert answer == Answer(fault=wanted)


def test_a_file_outside_the_uploads_is_not_read(model: mmkit.Model, folder: Path, tmp_path: Path, photo: bytes) -> None:
    (tmp_path / "own.png").write_bytes(photo)
    answer = last(player(model, "caption", folder), str(tmp_path / "own.png"))
    assert "leaves the folder of uploads" in answer.fault
    assert not answer.places


def test_a_picture_is_drawn_row_by_row_and_a_sound_is_whole(model: mmkit.Model, folder: Path) -> None:
    drawing = player(model, "draw", folder)
    states = list(drawing.ask(["dark"], [one.value for one in drawing.options]))
    assert len(states) > 2
    with Image.open(states[-1].places["image"]) as drawn:
        assert drawn.tobytes() == model.predict("draw", {"text": "dark"}).tobytes()
    said = last(player(model, "say", folder), "dark").places
    samples, rate = soundfile.read(said["audio"])
    assert (len(samples), rate) == (len(model.predict("say", {"text": "dark"})["array"]), 8000)


def test_parts_follow_one_another_and_text_is_no_html(model: mmkit.Model, folder: Path) -> None:
    parts = [{"text": "<script>1</script>"}, {"picture": Image.new("L", (2, 2))}]
    places = places_of(parts, lambda suffix, content: "")
    assert list(places) == ["html"]
    assert "&lt;script&gt;" in places["html"]
    assert "<script>" not in places["html"]
    assert places["html"].count("data:image/png;base64,") == 1
    assert as_html("a < b").endswith("a &lt; b</div>")


def test_limits_of_processors_are_messages(model: mmkit.Model, folder: Path, sound: Any) -> None:
    Image.new("RGB", (200, 200)).save(folder / "large.png")
    (folder / "long.wav").write_bytes(sound(seconds=31))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    for task, name in (("caption", "large.png"), ("hear", "long.wav"), ("caption", "broken.png")):
        answer = last(player(model, task, folder), str(folder / name))
        assert answer.fault.startswith("column ")
        assert str(folder) not in answer.fault
        assert not answer.places


def test_options_that_are_not_legal_are_messages(model: mmkit.Model, folder: Path) -> None:
    answer = last(player(model, "draw", folder), "dark", temperature=-1)
    assert answer.fault == "decoding option 'temperature' is a number, 0 or more, got -1"
    assert last(player(model, "mood", folder), "").fault == "column 'text' is empty: give it text first"


def test_a_fault_of_the_program_tells_nothing_of_it(
    model: mmkit.Model, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret words of a user")

    monkeypatch.setattr(model, "predict", broken)
    asked = player(model, "mood", folder)
    assert last(asked, "a").fault == "this failed for a reason that lies in the program, not in what you gave"
    assert caplog.messages == ["task 'mood' failed: RuntimeError"]
    assert not asked.lock.locked()


def test_a_press_draws_every_place_and_shows_only_what_is_there(model: mmkit.Model, folder: Path) -> None:
    _, tabs = page(model, folder, "lab")
    *_, states = tabs["mood"].press("a light", *(["no"] if tabs["mood"].explain is not None else []))
    places = dict(zip(PLACES, states[1:-2], strict=True))
    assert [name for name, update in places.items() if update["visible"]] == ["label"]
    assert states[0]["visible"] is False
    assert " tokens read" in states[-2]["value"]


def test_explanations_are_chosen_where_there_is_an_explainer(
    model: mmkit.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Map:
        def html(self) -> str:
            return '<p>"why"</p>'

    asked: list[Any] = []

    def explain(model: Any, task: str, sample: Any, **options: Any) -> Map:
        asked.append((task, sample, options))
        return Map()

    monkeypatch.setattr("mmkit.play.player.explainer", lambda: explain)
    _, tabs = page(model, folder, "lab")
    *_, states = tabs["mood"].press("a light", "gradients")
    assert asked == [("mood", {"text": "a light"}, {"root": folder.resolve()})]
    assert 'srcdoc="&lt;p&gt;&quot;why&quot;&lt;/p&gt;"' in states[-1]["value"]
    assert "sandbox" in states[-1]["value"]
    *_, states = tabs["mood"].press("a light", "no")
    assert (len(asked), states[-1]["visible"]) == (1, False)
    monkeypatch.setattr("mmkit.play.player.explainer", lambda: None)
    assert page(model, folder, "lab")[1]["mood"].explain is None


def test_an_explanation_that_fails_leaves_the_answer(
    model: mmkit.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(*_: Any, **__: Any) -> None:
        raise mmkit.MmkitError("its head cannot be explained")

    monkeypatch.setattr("mmkit.play.player.explainer", lambda: explain)
    answer = list(player(model, "mood", folder).ask(["a light"], [], "gradients"))[-1]
    assert answer.fault == "its head cannot be explained"
    assert list(answer.places) == ["label"]


def test_attributions_of_a_picture_are_shown(model: mmkit.Model, folder: Path, photo: bytes) -> None:
    pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
    (folder / "a.png").write_bytes(photo)
    asked = player(model, "caption", folder)
    answer = list(asked.ask([str(folder / "a.png")], [one.value for one in asked.options], "gradients"))[-1]
    assert answer.fault == ""
    assert "data:image/png;base64," in answer.why


def test_attention_is_offered_where_there_is_some(model: mmkit.Model, folder: Path, photo: bytes) -> None:
    """Not of a recurrent backbone, nor of a task that reads an encoder alone."""
    pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
    assert {player(model, task, folder).ways for task in model.plan.tasks} == {("gradients",)}
    small = {"use": "cnn", "image_size": 8, "channels": [4]}
    label = {"output": "{label}", "head": {"use": "classify", "labels": ["no", "yes"]}}
    spec = {
        "mmkit": 1,
        "modalities": {"photo": {"encoder": small, "adapter": "linear"}, "text": {"adapter": "characters"}},
        "backbone": {"use": "transformer", "dim": 8, "layers": 1, "heads": 2},
        "tasks": {
            "both": {"input": "{photo} {text}", **label},
            "plain": {"input": "{photo}", "reads": "photo.encoder", **label},
        },
    }
    made = mmkit.build(spec, fit={"text": ["a light"]}, seed=0).eval()
    _, tabs = page(made, folder, "lab")
    chosen = {task: [value for _, value in tab.explain.choices] for task, tab in tabs.items()}
    assert chosen == {"both": ["no", "gradients", "gradients and attention"], "plain": ["no", "gradients"]}
    (folder / "a.png").write_bytes(photo)
    given = (str(folder / "a.png"), "a light")
    for way, shown in (("gradients", False), ("gradients and attention", True)):
        *_, states = tabs["both"].press(*given, way)
        assert ("attention (rollout)" in states[-1]["value"]) == shown
        assert states[0]["visible"] is False
