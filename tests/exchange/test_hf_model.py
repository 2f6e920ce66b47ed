"""A model of mmkit, loaded and asked by transformers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM, AutoProcessor

import mmkit
from mmkit.exchange.hf_export import export_hf, import_hf
from mmkit.exchange.hf_model import MmkitModel
from mmkit.exchange.hf_processor import MmkitProcessor
from mmkit.model.batch import pack


@pytest.fixture(scope="module")
def loaded(exported: Path) -> MmkitModel:
    return AutoModelForMultimodalLM.from_pretrained(exported)


@pytest.fixture(scope="module")
def processor(exported: Path) -> MmkitProcessor:
    return AutoProcessor.from_pretrained(exported)


@pytest.mark.parametrize("order", ["mmkit, transformers", "transformers, mmkit"])
def test_importing_mmkit_is_enough_in_any_order_and_imports_no_torch(exported: Path, order: str) -> None:
    first = order.partition(",")[0]
    code = (
        "import sys, mmkit\nassert not {'torch', 'transformers'} & set(sys.modules)\n"
        if first == "mmkit"
        else "from transformers import AutoConfig\nimport mmkit\n"
    )
    names = ["Config"] if first == "transformers" else ["Config", "Processor", "Model"]
    for name in names:
        code += f"from transformers import Auto{name}\n"
        code += f"assert type(Auto{name}.from_pretrained({str(exported)!r})).__name__ == 'Mmkit{name}'\n"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_loaded_is_what_was_saved_bit_for_bit(model: mmkit.Model, loaded: MmkitModel) -> None:
    ours, theirs = model.state_dict(), loaded.core.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for (name, here), (_, there) in zip(model.named_buffers(), loaded.core.named_buffers(), strict=True):
        assert torch.equal(here, there), name
    assert loaded.core.plan.spec == model.plan.spec
    assert loaded.core.offsets == model.offsets


@pytest.mark.parametrize("task", ["caption", "beat"])
@pytest.mark.parametrize("cache", [True, False])
def test_generate_gives_what_predict_gives(
    model: mmkit.Model, loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any], task: str, cache: bool
) -> None:
    inputs = processor(rows, task=task)
    given = processor.batch_decode(loaded.generate(**inputs, use_cache=cache), task)
    assert given == model.predict(task, rows)
    assert len(set(given)) > 1, "the rows should not all have one answer"


def test_beams_are_those_of_predict(
    model: mmkit.Model, loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]
) -> None:
    given = loaded.generate(**processor(rows, task="beat"), num_beams=3, early_stopping=True)
    assert processor.batch_decode(given, "beat") == model.predict("beat", rows, beams=3)


def test_media_are_encoded_once(
    loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    loaded.core.parts.encoders["image"].register_forward_hook(lambda *_: seen.append(1))
    loaded.generate(**processor(rows, task="caption"), num_beams=2)
    assert seen == [1]
    loaded.core.parts.encoders["image"]._forward_hooks.clear()


@pytest.mark.parametrize("task", ["caption", "beat", "shape"])
def test_the_loss_is_ours(
    model: mmkit.Model, loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any], task: str
) -> None:
    prepare = model.preparer()
    batch = pack([prepare(task, row) for row in rows], model.processors(), ["caption", "beat"])
    given = loaded(**processor(rows, task=task, target=True))
    torch.testing.assert_close(given.loss, model(batch)["loss"], rtol=1e-6, atol=1e-6)


def test_a_classifiers_logits_are_what_it_predicts_from(
    model: mmkit.Model, loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]
) -> None:
    given = loaded(**processor(rows, task="shape")).logits.softmax(-1)
    for row, predicted in zip(given.tolist(), model.predict("shape", rows), strict=True):
        assert row == pytest.approx(list(predicted["probabilities"].values()))


def test_one_row_is_the_same_alone_and_padded(loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]) -> None:
    together = loaded(**processor(rows, task="beat", target=True)).logits
    alone = loaded(**processor(rows[1], task="beat", target=True)).logits
    torch.testing.assert_close(together[1:2, -alone.shape[1] :], alone, rtol=1e-4, atol=2e-4)


def test_nothing_outside_the_tasks_vocabulary_can_be_written(
    loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]
) -> None:
    logits = loaded(**processor(rows, task="caption")).logits
    assert logits.shape[2] == loaded.config.vocab_size == loaded.core.parts.vocabulary_size
    legal = logits[:, -1].isfinite().nonzero()[:, 1].unique()
    name = "letters"
    first = loaded.core.offsets[name]
    assert legal.tolist() == list(range(first, first + loaded.core.vocabularies[name].size))


def test_media_of_another_sample_are_refused(loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]) -> None:
    inputs = processor(rows, task="caption")
    inputs["media"]["image"]["owners"] = torch.tensor([0, 0, 2])
    with pytest.raises(mmkit.SampleError) as caught:
        loaded(**inputs)
    assert str(caught.value) == (
        "sample 0 has 16 placeholders of 'image' and media for 32; give input_ids and media as the processor made them"
    )


def test_text_cannot_be_a_placeholder(processor: MmkitProcessor, rows: list[Any]) -> None:
    plain = processor({**rows[0], "hint": "<image>{image}"}, task="caption")["input_ids"]
    assert int((plain >= processor.config.vocab_size).sum()) == 16


def test_tasks_of_one_batch_are_one(loaded: MmkitModel, processor: MmkitProcessor, rows: list[Any]) -> None:
    inputs = processor(rows, task="caption")
    inputs["task_ids"] = torch.tensor([1, 2, 1])
    with pytest.raises(mmkit.MmkitError) as caught:
        loaded(**inputs)
    assert str(caught.value) == "a batch of transformers is of one task, got: caption, beat; make a batch for each"


def test_the_task_is_an_option_of_loading(exported: Path, rows: list[Any], model: mmkit.Model) -> None:
    other = AutoModelForCausalLM.from_pretrained(exported, task="beat")
    processor = AutoProcessor.from_pretrained(exported, task="beat")
    inputs = {name: value for name, value in processor(rows).items() if name != "task_ids"}
    assert processor.batch_decode(other.generate(**inputs)) == model.predict("beat", rows)


def test_a_folder_of_transformers_becomes_a_model_of_mmkit_again(
    exported: Path, model: mmkit.Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "ours")
    import_hf(exported, tmp_path / "back")
    for name in ("model.safetensors", "spec.json", "plugins.json"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_saving_what_was_loaded_changes_no_byte(
    exported: Path, loaded: MmkitModel, processor: Any, tmp_path: Path
) -> None:
    loaded.save_pretrained(tmp_path / "again")
    processor.save_pretrained(tmp_path / "again")
    for path in sorted(p.relative_to(exported) for p in exported.rglob("*") if p.is_file() and p.name != "README.md"):
        assert (tmp_path / "again" / path).read_bytes() == (exported / path).read_bytes(), path


def test_a_processor_saves_all_it_needs(processor: MmkitProcessor, tmp_path: Path, rows: list[Any]) -> None:
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert torch.equal(again(rows)["input_ids"], processor(rows)["input_ids"])


def test_a_bare_export_says_nothing_of_the_data(mood: dict[str, Any], tmp_path: Path) -> None:
    mood["modalities"]["text"]["adapter"] = {"use": "characters"}
    small = mmkit.build(mood, fit={"text": ["a film"]})
    export_hf(small, tmp_path / "bare", bare=True)
    assert "rows.jsonl" not in (tmp_path / "bare" / "config.json").read_text()
    assert AutoModel.from_pretrained(tmp_path / "bare").core.plan.spec.data is None


def test_fresh_weights_come_from_the_components(exported: Path) -> None:
    config = AutoConfig.from_pretrained(exported)
    fresh = AutoModel.from_config(config)
    assert all(p.isfinite().all() for p in fresh.parameters())


def test_a_folder_that_is_there_is_not_overwritten(model: mmkit.Model, exported: Path) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        export_hf(model, exported)
    assert str(caught.value) == f"{exported} is there already; name a folder that is not, or remove it"
