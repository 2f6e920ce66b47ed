"""The spec is well formed, its four directions share one backbone, and the table says what is better and what worse."""

from pathlib import Path

import pytest
import yaml
from mmkit_audio.codec_conformance import spec as small_codec
from PIL import Image

import mmkit
from recipes.any_to_any.__main__ import beside
from recipes.any_to_any.measure import DIRECTIONS, Direction, _same

HERE = Path(__file__).parent


def test_spec_is_well_formed_without_its_codecs_and_weights() -> None:
    assert mmkit.check(HERE / "spec.yaml", static=True)


@pytest.fixture
def model(tmp_path: Path) -> mmkit.Model:
    """The spec with a narrower backbone, codecs that have learnt nothing, and log-mel in Whisper's place."""
    mmkit.build(HERE.parent / "image_tokens" / "spec.yaml").save(tmp_path / "image_codec")
    mmkit.build(small_codec(), seed=0).save(tmp_path / "speech_codec")
    spec = yaml.safe_load((HERE / "spec.yaml").read_text("utf-8"))
    for name in ("image", "audio"):
        codec = Path(spec["modalities"][name]["adapter"]["codec"])
        spec["modalities"][name]["adapter"]["codec"] = str(tmp_path / codec.name)
    spec["modalities"]["audio"]["adapter"]["max_seconds"] = 0.5
    spec["modalities"]["sound"]["encoder"] = {"use": "conformer", "dim": 16, "layers": 1, "heads": 2, "stride": 4}
    spec["backbone"] |= {"dim": 16, "layers": 1, "heads": 2}
    del spec["data"], spec["train"]
    return mmkit.build(spec, fit={"text": ["ankle boot seven"]}, seed=0)


def test_four_directions_go_through_one_backbone(model: mmkit.Model) -> None:
    assert {task: planned.reads for task, planned in model.plan.tasks.items()} == dict.fromkeys(
        ("name", "draw", "transcribe", "speak"), ("backbone",)
    )
    picture = model.predict("draw", {"label": "boot"})
    assert picture.size == (28, 28)
    assert isinstance(model.predict("name", {"image": Image.new("L", (28, 28))}), str)
    sound = model.predict("speak", {"text": "seven"})
    sound["array"] = [0.1] * 8000
    assert isinstance(model.predict("transcribe", {"audio": sound}), str)


def test_a_saved_model_answers_the_same(model: mmkit.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert _same(model, mmkit.load(tmp_path / "model"))


def test_worse_is_worse_whichever_way_a_figure_goes() -> None:
    assert Direction("", "", "", 0.8).worse(0.72) == pytest.approx(0.1)
    assert Direction("", "", "", 0.2, less=True).worse(0.22) == pytest.approx(0.1)
    assert Direction("", "", "", 0.2, less=True).worse(0.1) == pytest.approx(-0.5)


def test_figures_of_single_recipes_are_those_of_their_readmes() -> None:
    pages = {
        "name": "image_classification",
        "draw": "text_to_image",
        "transcribe": "speech_recognition",
        "speak_digits": "text_to_speech",
        "speak_words": "text_to_speech",
    }
    for row in DIRECTIONS:
        text = (HERE.parent / pages[row.figure] / "README.md").read_text("utf-8")
        assert f"{row.alone:.3f}" in text or f"{row.alone:.2f}" in text, row.figure


def test_folders_lie_beside_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for _ in range(2):
        assert (beside({"pictures": tmp_path / "a"}) / "pictures").resolve() == tmp_path / "a"
