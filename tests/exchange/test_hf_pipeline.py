"""``pipeline("mmkit")`` answers rows of any task and modality as ``predict`` does."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image
from transformers import AutoModel, AutoTokenizer, pipeline

import mmkit
from mmkit.exchange.hf_export import export_hf
from mmkit.exchange.hf_pipeline import MmkitPipeline
from mmkit.exchange.hf_processor import NO_PARTS
from tests.model.support.codecs import CODE, PICTURES, ROWS


@pytest.fixture(scope="module")
def ask(exported: Path) -> MmkitPipeline:
    return pipeline("mmkit", model=str(exported), device="cpu")


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("mmkit, transformers", marks=pytest.mark.slow),
        pytest.param("transformers, mmkit", marks=pytest.mark.slow),
        "transformers.pipelines, mmkit",
    ],
)
def test_importing_mmkit_is_enough_in_any_order(exported: Path, order: str) -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\nimport {order}\nfrom transformers import pipeline\n"
    code += f"print(type(pipeline('mmkit', model={str(exported)!r}, device='cpu')).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "MmkitPipeline\n"


@pytest.mark.parametrize("task", ["caption", "beat", "shape"])
@pytest.mark.parametrize("size", [1, 2])
def test_rows_get_the_answers_of_predict(
    ask: MmkitPipeline, model: mmkit.Model, rows: list[Any], task: str, size: int
) -> None:
    given, wanted = ask(rows, task=task, batch_size=size), model.predict(task, rows)
    if task == "shape":
        given, wanted = (
            ([(one["label"], *map(pytest.approx, one["probabilities"].values()))] for one in given),
            [[(one["label"], *one["probabilities"].values())] for one in wanted],
        )
    assert list(given) == wanted
    assert ask(rows[1], task="beat") == model.predict("beat", rows[1])


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_values_that_are_no_text_are_answered_too(install: Callable[..., Any], tmp_path: Path, pattern: str) -> None:
    """Codes of one id a step go through ``generate``, those of several, and vectors, through mmkit's own decoding."""
    install("codecs", CODE)
    spec = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": "characters"},
            "picture": {"adapter": "tiles"},
            "sound": {"adapter": {"use": "tones", "pattern": pattern}},
            "photo": {"adapter": {"use": "image-patches", "image_size": 8, "patch": 4}},
        },
        "backbone": {"use": "transformer", "dim": 32, "layers": 1, "heads": 2},
        "tasks": {
            "draw": {"input": "draw {text}", "output": "{picture}", "head": "generate"},
            "say": {"input": "say {text}", "output": "{sound}", "head": "generate"},
            "tell": {"input": "tell {text}", "output": "{picture} is {text}", "head": "generate"},
            "paint": {"input": "{text}", "output": "{photo}", "head": {"use": "flow", "steps": 2}},
            "price": {"input": "{text}", "output": "{number}", "head": "regress"},
        },
    }
    if pattern == "delay":
        del spec["tasks"]["tell"]
    model = mmkit.build(spec, fit={"text": ["draw say tell is", *PICTURES]}, seed=0)
    export_hf(model, tmp_path / "out")
    ask = pipeline("mmkit", model=str(tmp_path / "out"), device="cpu", batch_size=2)
    rows = [{"text": row["text"]} for row in ROWS]
    for task in spec["tasks"]:
        if task == "paint":
            given, wanted = ask(rows, task=task, seed=3), model.predict(task, rows, seed=3)
            assert [image.tobytes() for image in given] == [image.tobytes() for image in wanted]
        elif task == "price":
            assert ask(rows, task=task) == pytest.approx(model.predict(task, rows))
        else:
            assert ask(rows, task=task) == model.predict(task, rows)


def test_nothing_and_data_sets_and_workers(ask: MmkitPipeline, model: mmkit.Model, rows: list[Any]) -> None:
    assert ask([]) == []
    data = Dataset.from_list([{"ecg": row["ecg"], "image": row["image"].tolist()} for row in rows])
    data = data.with_format("numpy", columns=["image"], output_all_columns=True)
    wanted = model.predict("beat", rows)
    as_bytes = [{**one, "image": one["image"].astype("uint8")} for one in data]
    assert list(ask(iter(as_bytes), task="beat", batch_size=2)) == wanted
    assert ask(tuple(as_bytes), task="beat", num_workers=2, batch_size=2) == wanted


def test_an_iterable_is_read_as_it_is_answered(ask: MmkitPipeline, rows: list[Any]) -> None:
    read: list[int] = []

    def reading() -> Iterator[Any]:
        for number, row in enumerate(rows):
            read.append(number)
            yield row

    answers = ask(reading(), task="beat")
    assert read == []
    next(answers)
    assert read == [0]


def test_options_are_those_of_generate(ask: MmkitPipeline, exported: Path, model: mmkit.Model, rows: list[Any]) -> None:
    assert ask(rows, max_new_tokens=2) == model.predict("caption", rows, max_new_tokens=2)
    always = pipeline("mmkit", model=AutoModel.from_pretrained(exported), device="cpu", max_new_tokens=3, batch_size=3)
    assert always(rows) == model.predict("caption", rows, max_new_tokens=3)
    with pytest.raises(mmkit.MmkitError) as caught:
        ask(rows, task="shape", max_new_tokens=2)
    assert str(caught.value) == "task 'shape' takes no options, got: max_new_tokens"


def test_a_pipeline_that_is_saved_brings_no_code(ask: MmkitPipeline, rows: list[Any], tmp_path: Path) -> None:
    ask.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert "custom_pipelines" not in (tmp_path / "config.json").read_text()
    assert pipeline("mmkit", model=str(tmp_path), device="cpu")(rows) == ask(rows)


def test_paths_are_read_inside_root_only(ask: MmkitPipeline, rows: list[Any], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "b.png"):
        Image.fromarray(rows[0]["image"]).save(tmp_path / name)
    row = {"image": "a.png", "hint": rows[0]["hint"]}
    assert ask(row, root=tmp_path / "in") == ask(rows[0])
    with pytest.raises(mmkit.SampleError):
        ask({**row, "image": "../b.png"}, root=tmp_path / "in")


def test_what_is_no_row_is_named(ask: MmkitPipeline) -> None:
    with pytest.raises(mmkit.SampleError) as caught:
        ask("a circle")
    said = "a row is a mapping of columns, got a str; task 'caption' reads: image, hint"
    assert str(caught.value) == said
    with pytest.raises(mmkit.MmkitError) as unknown:
        ask({}, task="captoin")
    assert str(unknown.value) == "there is no task 'captoin': did you mean 'caption'?"


def test_a_model_of_another_kind_is_refused() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    with pytest.raises(mmkit.MmkitError) as caught:
        pipeline("mmkit", model=LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)))
    assert str(caught.value) == (
        "pipeline('mmkit') is for models that `mmkit export hf` wrote, got a LlamaForCausalLM; "
        "name the kind of pipeline that this model has"
    )


def test_pipelines_of_transformers_are_told_what_to_use(exported: Path, rows: list[Any]) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        AutoTokenizer.from_pretrained(exported)
    assert str(caught.value) == NO_PARTS.format(what="model has no tokenizer")
    with pytest.raises(mmkit.MmkitError) as text:
        pipeline("text-classification", model=str(exported), device="cpu")
    assert str(text.value) == str(caught.value)
    with pytest.raises(AttributeError) as image:
        pipeline("image-text-to-text", model=str(exported), device="cpu")(
            images=Image.fromarray(rows[0]["image"]), text="a"
        )
    assert str(image.value) == NO_PARTS.format(what="processor has no 'tokenizer'")
