"""generate, classify and regress."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

import mmkit
from mmkit import Backbone, BuildContext, Ragged, Scores

DIM = BuildContext(dims=(6,))


class Table(Backbone):
    """Scores by a table."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = dim
        self.table = torch.nn.Embedding(rows, dim)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        return target or prompt

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ self.table.weight.t()


def test_generate_target_ends_and_loss_is_that_of_every_id(make: Any, characters: Any, items: Any) -> None:
    head = make("generate", BuildContext(dims=(6,), vocabulary=characters), label_smoothing=0.1)
    targets = Ragged.of([head.target("ab"), head.target(""), head.target(["cab", "taxi"])])
    assert [t.tolist() for t in targets.split()] == [[3, 4, 1], [1], [5, 3, 4, 1]]
    table = Table(characters.size + 3, 6)
    hidden = items(targets.sizes, 6)
    loss = head.loss([Scores(hidden.values, hidden.lengths, table, 3, characters.size)], targets)
    logits = table.logits(hidden.values)[:, 3:]
    expected = functional.cross_entropy(logits, targets.values, label_smoothing=0.1)
    torch.testing.assert_close(loss.total / loss.count, expected)
    assert head.predict([targets]) == ["ab", "", "cab"]


def test_generate_refuses_or_cuts_long_targets(make: Any, characters: Any) -> None:
    context = BuildContext(vocabulary=characters)
    with pytest.raises(mmkit.SampleError) as caught:
        make("generate", context, max_length=3).target("abc")
    assert str(caught.value) == (
        "the target has 4 ids with its end id, at most 3 are allowed (head.max_length); head.truncate: true would cut it"
    )
    assert make("generate", context, max_length=4).target("abc").tolist() == [3, 4, 5, 1]
    assert make("generate", context, max_length=3, truncate=True).target("abc").tolist() == [3, 4, 5]


def test_generate_options_and_metrics_come_from_the_config(make: Any, characters: Any) -> None:
    head = make("generate", BuildContext(vocabulary=characters), beams=4, max_new_tokens=9, metrics=["wer", "rouge"])
    assert head.autoregressive
    assert dict(head.options()) == {
        "max_new_tokens": 9,
        "beams": 4,
        "temperature": 0.0,
        "top_k": None,
        "top_p": None,
        "length_penalty": 1.0,
        "guidance": 1.0,
        "seed": 0,
    }
    figures: dict[str, float] = {}
    for metric in head.metrics():
        metric.update(["a b"], ["a c"])
        figures |= metric.compute()
    assert figures == {"wer": 0.5, "rouge1": 0.5, "rouge2": 0.0, "rougeL": 0.5}


@pytest.mark.parametrize("name", ["generate", "ctc"])
def test_spelling_heads_need_a_vocabulary(make: Any, name: str) -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        make(name, DIM)
    assert str(caught.value) == (
        f"head '{name}': its output column is not of a vocabulary modality; see columns in the task"
    )


CLASSIFIERS: list[tuple[dict[str, Any], list[Any]]] = [
    ({"labels": ["x", "y", "z"]}, ["z", "x", "y"]),
    ({"labels": ["x", "y", "z"], "pool": "max", "class_weights": [1, 2, 0.5], "label_smoothing": 0.1}, ["z", "x", "y"]),
    ({"labels": [0, 1], "binary": True, "pool": "last", "class_weights": [1, 3]}, [1, 0, 1]),
    ({"labels": ["x", "y", "z"], "multi_label": True, "pool": "first"}, ["x|z", [], ["y"]]),
]


@pytest.mark.parametrize(("config", "raws"), CLASSIFIERS)
def test_classify_learns_and_is_the_same_alone(
    make: Any, rebuilt: Any, items: Any, config: dict[str, Any], raws: list[Any]
) -> None:
    torch.manual_seed(0)
    head = make("classify", DIM, **config)
    features = items([3, 1, 4], 6)
    targets = Ragged.of([head.target(raw) for raw in raws])
    optimizer = torch.optim.Adam(head.parameters(), 0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = head.loss([features], targets)
        loss.total.backward()
        optimizer.step()
    assert loss.count == 3
    together = rebuilt(head, "classify", DIM, **config).predict([features])
    wanted = [["x", "z"], [], ["y"]] if config.get("multi_label") else raws
    assert [p["labels" if config.get("multi_label") else "label"] for p in together] == wanted
    for index, expected in enumerate(together):
        alone = head.predict([features.select([index])])[0]["probabilities"]
        assert alone == pytest.approx(expected["probabilities"], abs=1e-6)


def test_class_weights_are_those_of_torch(make: Any, items: Any) -> None:
    features, weights = items([2, 3], 6), torch.tensor([1.0, 3.0])
    head = make("classify", DIM, labels=["x", "y"], class_weights=[1, 3])
    loss = head.loss([features], Ragged.of([head.target("x"), head.target("y")])).total
    expected = functional.cross_entropy(head._logits([features]), torch.tensor([0, 1]), weights, reduction="sum")
    torch.testing.assert_close(loss, expected)
    head = make("classify", DIM, labels=["x", "y"], class_weights=[1, 3], multi_label=True)
    loss = head.loss([features], Ragged.of([head.target("x"), head.target("x|y")])).total
    logits, hot = head._logits([features]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = functional.binary_cross_entropy_with_logits(logits, hot, pos_weight=weights) * 2
    torch.testing.assert_close(loss, expected)


def test_unknown_labels_are_named(make: Any) -> None:
    multi = make("classify", DIM, labels=["cat", "dog", 3], multi_label=True)
    assert multi.target("dog | 3").tolist() == [0, 1, 1]
    assert multi.target(["cat", 3]).tolist() == [1, 0, 1]
    with pytest.raises(mmkit.SampleError) as caught:
        multi.target("dog|cta")
    assert str(caught.value) == "label 'cta' is not in the head's labels; did you mean 'cat'?"
    with pytest.raises(mmkit.SampleError) as caught:
        multi.target(3)
    assert str(caught.value) == 'a multi_label target is a list of labels or a string "a|b", got int'
    with pytest.raises(mmkit.SampleError) as caught:
        make("classify", DIM, labels=["cat", "dog"]).target(["cat"])
    assert str(caught.value) == "one label is wanted, got 1 in a list; head.multi_label: true takes several"


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("classify", {"labels": ["a", "b", "c"], "binary": True}, "binary needs two labels, got 3"),
        ("classify", {"labels": ["1", 1]}, "a label is listed twice"),
        (
            "classify",
            {"labels": ["a", "b"], "binary": True, "multi_label": True},
            "binary and multi_label exclude each other: multi_label is one sigmoid a label",
        ),
        (
            "classify",
            {"labels": ["a|b", "b"], "multi_label": True},
            'multi_label: a label has "|", which separates labels',
        ),
        ("classify", {"labels": ["a", "b"], "class_weights": [1]}, "class_weights has 1 numbers for 2 labels"),
        ("regress", {"dims": 2, "mean": [1.0]}, "mean has 1 numbers for dims = 2"),
        ("regress", {"std": 0}, "std must be greater than 0"),
        ("regress", {"bounds": [2, 1]}, "bounds are [lowest, highest], got [2.0, 1.0]"),
        ("generate", {"truncate": True}, "truncate needs max_length"),
        (
            "generate",
            {"beams": 2, "temperature": 1},
            "beams > 1 and temperature > 0 exclude each other: beam search does not sample",
        ),
        ("linear", {"grid": [2, 2]}, "grid needs 2-D positions, got positions: none"),
    ],
)
def test_settings_that_exclude_each_other(make: Any, name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(name, DIM, **config)
    assert [error["msg"] for error in caught.value.errors()] == [f"Value error, {message}"]


@pytest.mark.parametrize(
    ("loss", "reference"),
    [("mse", functional.mse_loss), ("mae", functional.l1_loss), ("huber", functional.huber_loss)],
)
def test_regress_normalises_and_gives_back_the_units(
    make: Any, rebuilt: Any, items: Any, loss: str, reference: Any
) -> None:
    config = {"dims": 2, "loss": loss, "mean": [10, 0], "std": [2, 100], "bounds": [-500, 500]}
    head = make("regress", DIM, **config)
    features, raws = items([3, 1, 4], 6), [[11, 50], [8.0, -150], [10, 0]]
    targets = Ragged.of([head.target(raw) for raw in raws])
    scaled = torch.tensor([[0.5, 0.5], [-1, -1.5], [0, 0]])
    got = head._normalised([features])
    summed = head.loss([features], targets)
    assert summed.count == 3
    torch.testing.assert_close(summed.total / 3, reference(got, scaled))
    expected = got.double() * torch.tensor([2.0, 100]) + torch.tensor([10.0, 0])
    predictions = rebuilt(head, "regress", DIM, **config).predict([features])
    torch.testing.assert_close(torch.tensor(predictions).double(), expected, atol=1e-4, rtol=1e-5)
    alone = [head.predict([features.select([i])])[0] for i in range(3)]
    torch.testing.assert_close(torch.tensor(alone), torch.tensor(predictions), atol=1e-4, rtol=1e-5)
    tight = make("regress", DIM, bounds=[3, 4]).predict([features])
    assert all(3 <= value <= 4 for value in tight)


@pytest.mark.parametrize(
    ("config", "raw", "message"),
    [
        ({}, "3", "a regression target must be a number, got '3'"),
        ({}, True, "a regression target must be a number, got True"),
        ({"dims": 2}, [1.0], "a regression target must be a list of 2 numbers, got [1.0]"),
        ({}, float("nan"), "a regression target must be finite, got nan"),
        (
            {"bounds": [0, 1]},
            1.5,
            "target 1.5 is outside the head's bounds [0.0, 1.0]; correct the row, or widen head.bounds",
        ),
    ],
)
def test_regress_refuses_what_is_no_number(make: Any, config: dict[str, Any], raw: Any, message: str) -> None:
    with pytest.raises(mmkit.SampleError) as caught:
        make("regress", DIM, **config).target(raw)
    assert str(caught.value) == message


def test_units_are_exact_in_a_bfloat16_model(make: Any, items: Any) -> None:
    head = make("regress", DIM, mean=1234.5, std=3).to(torch.bfloat16)
    head.output.weight.data.zero_()
    head.output.bias.data.fill_(0.5)
    assert head.predict([items([2], 6).to(dtype=torch.bfloat16)]) == [1236.0]
