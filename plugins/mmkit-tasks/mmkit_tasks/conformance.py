"""What the conformance kit tries the heads, adapters and metrics on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmkit import build
from mmkit.testing import Case

_TEXTS: dict[str, Any] = {"raws": ("ab", "cabin", "b", "dab"), "bad": (3, [3], [], b"ab")}
_CTC = {
    "compiles_whole": "the output of torch's CTC loss depends on the values of its input, which dynamo does not follow"
}


def generate() -> list[Case]:
    """Spelling a column."""
    return [Case(**_TEXTS), Case(config={"beams": 3, "label_smoothing": 0.1}, name="beams", **_TEXTS)]


def classify() -> list[Case]:
    """One label, one of two, any number."""
    return [
        Case({"labels": ["cat", "dog", "cow"]}, raws=("dog", "cat", "dog", "cow"), bad=("horse", 7, "", ["cat"])),
        Case({"labels": ["no", "yes"], "binary": True}, raws=("yes", "no", "no"), bad=("maybe", ""), name="binary"),
        Case(
            {"labels": ["red", "green", "blue"], "multi_label": True},
            raws=(["red", "blue"], [], ["green"]),
            bad=(["pink"], 3),
            name="multi-label",
        ),
    ]


def regress() -> list[Case]:
    """A number, and several."""
    return [
        Case(raws=(0.5, -1, 2.25, 0), bad=("half", float("nan"), float("inf"), [1.0, 2.0])),
        Case({"dims": 2, "loss": "huber"}, raws=([1.0, 2.0], [0.0, -1.0], [3, 4]), bad=([1.0], 2.0), name="vector"),
    ]


def ctc() -> list[Case]:
    """Spelling along the rows."""
    recurrent = {"rnn_layers": 1, "rnn_dim": 8, "beams": 3}
    return [Case(waive=_CTC, **_TEXTS), Case(recurrent, waive=_CTC, name="recurrent", **_TEXTS)]


def contrastive() -> list[Case]:
    """Pairs."""
    waive = {"loss_adds_up": "every pair is compared with every other pair of the batch"}
    return [Case({"dim": 8}, waive=waive), Case({"loss": "sigmoid", "dim": 8}, waive=waive, name="sigmoid")]


def flow() -> list[Case]:
    """Steered by one vector, attending to all rows, without guidance."""
    small: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "steps": 2}
    bad = ("half", [1.0], 3, [[1.0] * 8])
    return [
        Case(small, bad=bad),
        Case({**small, "attend": True, "solver": "heun", "pool": "last"}, bad=bad, name="attend"),
        Case(
            {**small, "guidance": 1, "condition_dropout": 0, "times": "uniform", "solver": "euler"},
            bad=bad,
            name="plain",
        ),
    ]


def positions() -> list[Case]:
    """Without positions and with them."""
    return [
        Case(),
        Case({"positions": "sinusoidal"}, name="sinusoidal"),
        Case({"positions": "learned"}, name="learned"),
    ]


def stack() -> list[Case]:
    """Two rows a token, four with a hidden layer."""
    return [Case({"factor": 2}), Case({"factor": 4, "hidden": 8, "norm": True}, name="hidden")]


def resampler() -> list[Case]:
    """A few queries."""
    return [Case({"tokens": 4, "layers": 1, "heads": 2})]


def pool() -> list[Case]:
    """Each way."""
    return [Case({"how": how}, name=how) for how in ("mean", "max", "first", "last", "attention")]


def _judge(spec: dict[str, Any]) -> Callable[[Path], dict[str, Any]]:
    """Options that name a small judge of texts, with weights as they come, saved in the case's folder."""

    def options(folder: Path) -> dict[str, Any]:
        whole = {
            "mmkit": 1,
            "modalities": {"text": {"adapter": "characters"}},
            "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
            "tasks": {"judge": {"input": "{text}", "output": "{label}", **spec}},
        }
        build(whole, fit={"text": ["abcd", "in"]}).save(folder / "judge")
        return {"model": "judge", "wanted": "asked", "batch_size": 2}

    return options


def judged() -> list[Case]:
    """A judge that classifies, and one that writes; of what a row asked for."""
    raws = [(text, None, {"asked": wanted}) for text, wanted in (("ab", "b"), ("cabin", "a"), ("b", "b"), ("dab", "a"))]
    classifies = {"head": {"use": "classify", "labels": ["a", "b"]}}
    writes = {"columns": {"label": "text"}, "head": {"use": "generate", "max_new_tokens": 3}}
    return [Case(_judge(classifies), raws=raws), Case(_judge(writes), raws=raws, name="writes")]


def codebook_use() -> list[Case]:
    """Letters as codes."""
    return [Case(raws=[("ab", "cabin"), ("b", "dab"), ("abba", "b")])]
