"""One pass over a batch: the stream is made of what each node gives for its own item, and every sample keeps its rows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.model import Run

SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [8, 6]}, "adapter": "linear"},
        "audio": {"encoder": {"use": "log-mel", "n_mels": 10, "hop_ms": 50}, "adapter": {"use": "stack", "factor": 2}},
        "text": {"adapter": {"use": "characters"}},
    },
    "backbone": {"use": "lstm", "embedding_dim": 12, "hidden_dim": 10},
    "tasks": {
        "both": {
            "input": "a{image}b{other}{audio}{text}",
            "output": "{label}",
            "columns": {"other": "image"},
            "head": {"use": "classify", "labels": ["x", "y"]},
        },
        "say": {"input": "{text}", "output": "{text}", "head": "generate", "weight": 3.0},
        "see": {
            "input": "{image}",
            "output": "{label}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["x", "y"], "pool": "first"},
        },
        "hear": {
            "input": "{audio}",
            "output": "{text}",
            "reads": "audio",
            "head": {"use": "ctc", "zero_infinity": True},
        },
    },
}


@pytest.fixture
def model() -> mmkit.Model:
    return mmkit.build(SPEC, fit={"text": ["abcdefgh"]}).eval()


@pytest.fixture
def row(picture: Callable[..., bytes], sound: Callable[..., bytes]) -> Callable[[int], dict[str, Any]]:
    def make(seed: int) -> dict[str, Any]:
        return {
            "image": picture(seed),
            "other": picture(seed + 100),
            "audio": sound(seed, seconds=0.2 + 0.05 * seed),
            "text": "abcd"[: 1 + seed % 4],
            "label": "xy"[seed % 2],
        }

    return make


def packed(model: mmkit.Model, samples: list[tuple[str, dict[str, Any]]]) -> PackedBatch:
    prepare = model.preparer()
    return pack([prepare(task, row) for task, row in samples], model.processors(), ["say"])


@torch.no_grad()
def test_the_stream_is_the_template_with_every_item_encoded_alone(model: mmkit.Model, row: Any) -> None:
    rows = [row(0), row(1), row(2)]
    batch = packed(model, [("both", rows[0]), ("say", rows[1]), ("both", rows[2])])
    streams = Run(model, batch).stream([0, 1, 2]).split()
    vocabulary, embed = model.vocabularies["text"], model.backbones["backbone"].embed

    def text(value: str) -> torch.Tensor:
        return embed(torch.tensor(vocabulary.encode(value)))

    def item(modality: str, raw: Any) -> torch.Tensor:
        encoder = model.parts.encoders[modality]
        features = encoder(encoder.processor().collate([encoder.processor()(raw)]))
        return model.parts.adapters[f"{modality}.adapter"](features).values

    for number, place in ((0, 0), (2, 2)):
        given = rows[number]
        parts = [text("a"), item("image", given["image"]), text("b"), item("image", given["other"])]
        parts += [item("audio", given["audio"]), text(given["text"])]
        torch.testing.assert_close(streams[place], torch.cat(parts), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(streams[1], text(rows[1]["text"]))


@torch.no_grad()
def test_several_items_of_a_sample_stand_together_and_absent_ones_have_no_rows(model: mmkit.Model, row: Any) -> None:
    run = Run(model, packed(model, [("say", row(0)), ("both", row(1)), ("see", row(2))]))
    assert run.read("image.encoder", [0, 1, 2]).sizes == [0, 8, 4]
    assert run.read("image.adapter", [2, 0]).sizes == [4, 0]
    assert run.read("audio.adapter", [0, 1, 2]).sizes == [0, 3, 0]
    nothing = Run(model, packed(model, [("say", row(0)), ("say", row(1))]))
    assert nothing.read("image.adapter", [0, 1]).values.shape == (0, 12)
    assert nothing.read("audio.encoder", [0, 1]).sizes == [0, 0]


@torch.no_grad()
def test_an_encoder_sees_all_items_of_a_batch_in_one_call(model: mmkit.Model, row: Any) -> None:
    calls: list[int] = []
    model.parts.encoders["image"].register_forward_hook(lambda _m, _i, out: calls.append(len(out)))
    model(packed(model, [("both", row(0)), ("see", row(1)), ("say", row(2)), ("both", row(3))]))
    assert calls == [5]


@torch.no_grad()
def test_the_loss_is_each_tasks_sum_over_its_targets_times_its_weight(model: mmkit.Model, row: Any) -> None:
    samples = [("both", row(0)), ("say", row(1)), ("hear", row(2)), ("see", row(3)), ("say", row(3)), ("both", row(5))]
    batch = packed(model, samples)
    given = model(batch)
    alone: dict[str, float] = dict.fromkeys(model.plan.tasks, 0.0)
    for task, one in samples:
        total, _ = model(packed(model, [(task, one)]))["losses"][task]
        alone[task] += float(total)
    for task, (total, count) in given["losses"].items():
        assert float(total) == pytest.approx(alone[task], abs=1e-4)
        assert count == batch.denominators[task]
    weights = {"both": 1.0, "say": 3.0, "see": 1.0, "hear": 1.0}
    expected = sum(weights[task] * alone[task] / batch.denominators[task] for task in weights)
    assert float(given["loss"]) == pytest.approx(expected, abs=1e-4)


def test_a_batch_without_samples_has_a_loss_of_zero_that_trains_nothing(model: mmkit.Model) -> None:
    loss = model.train()(packed(model, []))["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_gradients_of_a_mixed_batch_are_the_sum_of_those_alone(model: mmkit.Model, row: Any) -> None:
    samples = [("both", row(0)), ("say", row(1)), ("see", row(2)), ("say", row(3))]

    def gradients(batches: list[list[tuple[str, Any]]]) -> list[torch.Tensor]:
        model.zero_grad()
        for some in batches:
            torch.stack([loss.total for loss in Run(model, packed(model, some)).losses().values()]).sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    torch.testing.assert_close(gradients([samples]), gradients([[one] for one in samples]), atol=1e-5, rtol=1e-4)
