"""Tasks as graphs of torch.export and ONNX: the model's own numbers, for any batch and lengths, without mmkit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

import mmkit
from mmkit.cli.app import app
from mmkit.errors import MmkitError, PluginError
from mmkit.exchange.graph_export import Form, export_graphs

WORDS = {"use": "words", "vocab_size": 20}
TEXTS = ["a fine film of ducks, and more", "a dull film"]
LABELS = {"use": "classify", "labels": ["disc", "square", "star"]}
PICTURE = {"encoder": {"use": "cnn", "image_size": 16, "channels": [8]}, "adapter": "linear"}
TRANSFORMER = {"use": "transformer", "dim": 16, "layers": 1, "heads": 2}
FORMS: list[Form] = ["torch", "onnx"]
ONNX_SLOWLY = ["torch", pytest.param("onnx", marks=pytest.mark.slow)]
Run = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def made(modalities: dict[str, Any], task: dict[str, Any], backbone: dict[str, Any] | None = None) -> mmkit.Model:
    spec = {"mmkit": 1, "modalities": modalities, "tasks": {"kind": {"output": "{label}", **task}}}
    fit = {"text": TEXTS} if "text" in modalities else None
    return mmkit.build({**spec, "backbone": backbone} if backbone else spec, fit=fit, seed=1).eval()


def text_encoder(**options: Any) -> dict[str, Any]:
    return {"encoder": {"vocabulary": WORDS, **options}}


def loaded(path: Path) -> Run:
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda given: dict(module(**given))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = session.run(names, {name: value.numpy() for name, value in given.items()})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


def written(model: mmkit.Model, folder: Path, form: Form) -> tuple[dict[str, Any], Run]:
    """The first graph's signature, and the graph."""
    done, left = export_graphs(model, folder / "out", form)
    assert not left
    assert all(0 <= one.difference < 1e-4 for one in done)
    graph = json.loads((folder / "out" / "signature.json").read_text("utf-8"))["graphs"][0]
    return graph, loaded(folder / "out" / graph["file"])


@pytest.mark.parametrize("form", FORMS)
def test_picture_classifier_gives_predictions(tmp_path: Path, form: Form) -> None:
    model = made({"image": PICTURE}, {"input": "{image}", "reads": "image.encoder", "head": LABELS})
    graph, run = written(model, tmp_path, form)
    (given,) = graph["inputs"]
    assert (given["name"], given["shape"], given["dtype"]) == ("image", ["batch", 3, 16, 16], "float32")
    assert given["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert [one["name"] for one in graph["outputs"]] == ["logits", "probabilities"]
    rows = [{"image": np.full((16, 16, 3), shade, dtype=np.uint8)} for shade in (0, 90, 255)]
    pixels = torch.stack([torch.full((3, 16, 16), shade / 255) for shade in (0, 90, 255)])
    answers = run({"image": (pixels - 0.5) / 0.5})["probabilities"]  # as the signature says
    for got, wanted in zip(answers, model.predict("kind", rows), strict=True):
        probabilities = wanted["probabilities"]
        assert got.tolist() == pytest.approx(
            [probabilities[label] for label in graph["outputs"][1]["labels"]], abs=1e-5
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("cell", "head"),
    [
        pytest.param(
            {"use": "lstm"},
            {"use": "classify", "labels": ["no", "yes"], "binary": True, "pool": "last"},
            id="lstm-sigmoid",
        ),
        pytest.param(
            {"use": "gru", "bidirectional": True, "layers": 2},
            {**LABELS, "pool": "max", "multi_label": True},
            id="gru-both-ways",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_recurrent_text_classifier_knows_no_padding(
    tmp_path: Path, form: Form, cell: dict[str, Any], head: Any
) -> None:
    encoder = text_encoder(embedding_dim=8, hidden_dim=8, **cell)
    model = made({"text": encoder}, {"input": "{text}", "reads": "text.encoder", "head": head})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # answers that differ
    graph, run = written(model, tmp_path, form)
    assert [one["name"] for one in graph["inputs"]] == ["text", "text_length"]
    vocabulary = model.parts.encoders["text"].processor().vocabulary  # type: ignore[attr-defined]
    texts = ["film", *TEXTS]
    ids = [torch.tensor(vocabulary.encode(text)) for text in texts]
    padded = torch.full((3, 11), 7)  # what stands behind the end of a text is not read
    for row, one in zip(padded, ids, strict=True):
        row[: len(one)] = one
    together = run({"text": padded, "text_length": torch.tensor([len(one) for one in ids])})["probabilities"]
    for index, (text, one) in enumerate(zip(texts, ids, strict=True)):
        alone = run({"text": one[None], "text_length": torch.tensor([len(one)])})["probabilities"][0]
        wanted = torch.tensor(list(model.predict("kind", {"text": text})["probabilities"].values()))
        torch.testing.assert_close(together[index], wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ONNX_SLOWLY)
def test_transformer_reads_a_stream_of_text_and_pictures(tmp_path: Path, form: Form) -> None:
    parts = {"image": PICTURE, "text": {"adapter": WORDS}}
    model = made(parts, {"input": "a {text} of {image} and more", "head": LABELS}, TRANSFORMER)
    graph, _ = written(model, tmp_path, form)
    assert {one["name"]: one["shape"] for one in graph["inputs"]} == {
        "text": ["batch", "text_rows"],
        "text_length": ["batch"],
        "image": ["batch", 3, 16, 16],
    }
    assert graph["template"] == "a {text} of {image} and more"
    words = json.loads((tmp_path / "out" / graph["inputs"][0]["files"] / "words.json").read_text("utf-8"))
    assert "film" in words


@pytest.mark.parametrize("form", ONNX_SLOWLY)
def test_sound_classifier_hears_clips_of_any_length(tmp_path: Path, form: Form) -> None:
    encoder = {"use": "conformer", "sample_rate": 8000, "dim": 16, "layers": 1, "heads": 2}
    model = made({"audio": {"encoder": encoder}}, {"input": "{audio}", "reads": "audio.encoder", "head": LABELS})
    graph, run = written(model, tmp_path, form)
    assert graph["inputs"][0]["preprocessing"]["sample_rate"] == 8000
    clips = [torch.randn(size, generator=torch.Generator().manual_seed(size)) * 0.1 for size in (900, 4001, 8000)]
    padded = torch.zeros(3, 8000)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    got = run({"audio": padded, "audio_length": torch.tensor([len(clip) for clip in clips])})["probabilities"]
    rows = [{"audio": {"array": clip.numpy(), "sampling_rate": 8000}} for clip in clips]
    wanted = [list(answer["probabilities"].values()) for answer in model.predict("kind", rows)]
    torch.testing.assert_close(got, torch.tensor(wanted), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ONNX_SLOWLY)
def test_embedding_head_has_a_graph_for_each_side(tmp_path: Path, form: Form) -> None:
    parts = {
        "image": {"encoder": PICTURE["encoder"]},
        "text": text_encoder(use="transformer", dim=8, layers=1, heads=2),
    }
    task = {
        "input": "{image} {text}",
        "reads": ["image.encoder", "text.encoder"],
        "head": {"use": "contrastive", "dim": 4},
    }
    model = made(parts, {**task, "output": None})
    done, _ = export_graphs(model, tmp_path / "out", form)
    suffix = "pt2" if form == "torch" else "onnx"
    assert [one.file for one in done] == [f"kind-image.{suffix}", f"kind-text.{suffix}"]
    ids = torch.tensor(model.parts.encoders["text"].processor().vocabulary.encode("a dull film"))  # type: ignore[attr-defined]
    run = loaded(tmp_path / "out" / f"kind-text.{suffix}")
    got = run({"text": ids[None], "text_length": torch.tensor([len(ids)])})["embedding"][0]
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    wanted = model.predict("kind", {"image": picture, "text": "a dull film"})["b"]
    assert got.tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_scores_along_sound_come_with_their_lengths(tmp_path: Path) -> None:
    encoder = {"use": "log-mel", "sample_rate": 8000}
    head = {"use": "ctc", "rnn_layers": 1, "rnn_dim": 4}
    parts = {"audio": {"encoder": encoder}, "text": {"adapter": WORDS}}
    model = made(parts, {"input": "{audio}", "output": "{text}", "reads": "audio.encoder", "head": head})
    graph, _ = written(model, tmp_path, "torch")
    shapes = {one["name"]: one["shape"] for one in graph["outputs"]}
    assert shapes == {
        "log_probabilities": ["batch", "log_probabilities_rows", 21],
        "log_probabilities_length": ["batch"],
    }
    assert graph["limits"]["audio_rows"]["min"] >= 80


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [
        {"use": "lstm", "embedding_dim": 16, "hidden_dim": 8, "bidirectional": True},
        {"use": "none", "dim": 16},
        {
            "use": "causal-lm",
            "prefix": [1],
            "config": {
                **{"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "vocab_size": 20},
                **{"num_hidden_layers": 1, "num_attention_heads": 2},
            },
        },
        {
            "use": "seq2seq-lm",
            "config": {
                **{"model_type": "t5", "d_model": 16, "d_ff": 16, "d_kv": 8, "vocab_size": 20},
                **{"num_layers": 1, "num_heads": 2},
            },
        },
    ],
    ids=lambda backbone: backbone["use"],
)
def test_every_backbone_that_reads(tmp_path: Path, backbone: dict[str, Any]) -> None:
    parts = {
        "image": {**PICTURE, "adapter": {"use": "resampler", "tokens": 2, "heads": 2}},
        "audio": {"encoder": {"use": "log-mel", "sample_rate": 8000}, "adapter": {"use": "stack", "factor": 3}},
        "text": {"adapter": WORDS},
    }
    model = made(parts, {"input": "{audio} a {text} {image} of", "head": LABELS}, backbone)
    written(model, tmp_path, "torch")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "encoder",
    [
        {"use": "timm", "model": "resnet18", "image_size": 32},
        {
            "use": "hf-vision",
            "config": {
                **{"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
                **{"intermediate_size": 32, "image_size": 16, "patch_size": 8},
            },
        },
    ],
    ids=lambda encoder: encoder["use"],
)
def test_towers_of_other_libraries(tmp_path: Path, form: Form, encoder: dict[str, Any]) -> None:
    model = made({"image": {"encoder": encoder}}, {"input": "{image}", "reads": "image.encoder", "head": LABELS})
    written(model, tmp_path, form)


def test_a_plugin_that_wants_lengths_as_numbers_is_for_one_item(tmp_path: Path) -> None:
    encoder = {"use": "ecg", "dim": 16, "layers": 1}
    model = made({"ecg": {"encoder": encoder}}, {"input": "{ecg}", "reads": "ecg.encoder", "head": LABELS})
    graph, run = written(model, tmp_path, "torch")
    assert [(one["name"], one["shape"]) for one in graph["inputs"]] == [("ecg", [1, "ecg_rows"])]
    assert graph["outputs"][0]["shape"] == [1, 3]
    beat = model.parts.encoders["ecg"].processor()([0.1, 0.5, 2.0, 0.3, 0.1, 0.0, 0.2])["ecg"]
    wanted = model.predict("kind", {"ecg": [0.1, 0.5, 2.0, 0.3, 0.1, 0.0, 0.2]})["probabilities"]
    assert run({"ecg": beat[None]})["probabilities"][0].tolist() == pytest.approx(list(wanted.values()), abs=1e-5)


PLAIN = """
import json, sys
import numpy as np, onnxruntime
folder = sys.argv[1]
graph = json.load(open(folder + "/signature.json"))["graphs"][0]
words = json.load(open(f"{folder}/{graph['inputs'][0]['files']}/words.json"))
ids = [words.index(word) + 3 if word in words else 0 for word in "a dull film".split()]
session = onnxruntime.InferenceSession(f"{folder}/{graph['file']}")
given = {"text": np.array([ids]), "text_length": np.array([len(ids)])}
(found,) = session.run(["probabilities"], given)
assert not [name for name in sys.modules if name.partition(".")[0] in ("mmkit", "torch")]
print(json.dumps(found[0].tolist()))
"""


def test_onnx_runs_where_mmkit_and_torch_are_not(tmp_path: Path) -> None:
    model = made({"text": {"adapter": WORDS}}, {"input": "{text} a", "head": LABELS}, TRANSFORMER)
    model.save(tmp_path / "model")
    done = CliRunner().invoke(app, ["export", "onnx", str(tmp_path / "model"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out'}\n"
    said = done.stderr.splitlines()[-1]
    assert said.startswith("read back and run: model.onnx, 5 samples (examples of the components), largest difference ")
    child = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    wanted = model.predict("kind", {"text": "a dull film"})["probabilities"]
    assert json.loads(child.stdout) == pytest.approx(list(wanted.values()), abs=1e-5)


def test_rows_of_the_data_are_what_a_graph_is_tried_on(
    tmp_path: Path, mood: dict[str, Any], train: Callable[..., mmkit.Model]
) -> None:
    train(mood, output=tmp_path / "model")
    done, _ = export_graphs(mmkit.load(tmp_path / "model"), tmp_path / "out", "torch", ["mood"])
    assert [(one.file, one.rows, one.source) for one in done] == [("model.pt2", 10, "rows of the data")]


def test_what_generates_is_left_out_and_refused_by_name(model: mmkit.Model, tmp_path: Path) -> None:
    because = (
        "head 'generate' of plugin 'tasks' generates, which is a loop with a memory and no single pass; "
        "mmkit export hf keeps generate()"
    )
    done, left = export_graphs(model, tmp_path / "out", "torch")
    assert [one.task for one in done] == ["shape"]
    assert left == {"caption": because, "beat": because}
    with pytest.raises(MmkitError) as caught:
        export_graphs(model, tmp_path / "again", "torch", ["caption"])
    assert str(caught.value) == f"task 'caption' cannot be exported as a graph: {because}; these can: shape"
    with pytest.raises(MmkitError) as caught:
        export_graphs(model, tmp_path / "again", "torch", ["shap"])
    assert str(caught.value) == "there is no task 'shap': did you mean 'shape'?"
    with pytest.raises(MmkitError) as caught:
        export_graphs(model, tmp_path / "out", "onnx")
    assert str(caught.value) == f"{tmp_path / 'out'} is there already; name a folder that is not, or remove it"
    assert not (tmp_path / "again").exists()


def test_onnx_without_its_extra_says_what_to_install(
    model: mmkit.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MmkitError) as caught:
        export_graphs(model, tmp_path / "out", "onnx")
    assert str(caught.value) == (
        "mmkit export onnx needs onnxscript, which is not installed: pip install 'mmkit[onnx]'"
    )


def test_nothing_to_export_says_why_of_each_task(tmp_path: Path) -> None:
    parts = {"image": PICTURE, "text": {"adapter": WORDS}}
    model = made(parts, {"input": "{image}", "output": "{text}", "head": {"use": "generate"}}, TRANSFORMER)
    with pytest.raises(MmkitError) as caught:
        export_graphs(model, tmp_path / "out", "onnx")
    assert str(caught.value) == (
        "no task of this model can be exported as a graph:\n"
        "  task 'kind': head 'generate' of plugin 'tasks' generates, which is a loop with a memory and no single pass; "
        "mmkit export hf keeps generate()"
    )


def test_a_component_that_cannot_be_traced_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made({"image": PICTURE}, {"input": "{image}", "reads": "image.encoder", "head": LABELS})
    rows = model.parts.encoders["image"].rows  # type: ignore[attr-defined]

    def asks(pixels: torch.Tensor) -> torch.Tensor:
        return rows(pixels) * float(pixels.sum() > 0)

    monkeypatch.setattr(model.parts.encoders["image"], "rows", asks)
    with pytest.raises(PluginError) as caught:
        export_graphs(model, tmp_path / "out", "torch")
    said = str(caught.value)
    assert said.startswith(
        "task 'kind': encoder 'cnn' of plugin 'image' (node 'image.encoder') cannot be traced: GuardOnDataDependentSymNode: "
    )
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_other_numbers_are_an_error_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made({"image": PICTURE}, {"input": "{image}", "reads": "image.encoder", "head": LABELS})
    rows = model.parts.encoders["image"].rows  # type: ignore[attr-defined]
    monkeypatch.setattr(
        model.parts.encoders["image"],
        "rows",
        lambda pixels: rows(pixels) + (10.0 if torch.compiler.is_exporting() else 0.0),
    )
    with pytest.raises(
        MmkitError, match=r"^task 'kind': output 'logits' of the graph that was written differs from the model's "
    ):
        export_graphs(model, tmp_path / "out", "torch")
    assert list(tmp_path.iterdir()) == []
