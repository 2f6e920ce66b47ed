"""Every metric against its library."""

from typing import Any

import jiwer
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

import mmkit

GOT = ["the cat sat on the mat", "a dog runs fast", "hello", ""]
WANTED = ["the cat sat on a mat", "the dog runs very fast", "hello", "not empty"]


def figures(names: list[str], got: list[Any], wanted: list[Any]) -> dict[str, float]:
    from mmkit_tasks.metrics import text_metrics

    found: dict[str, float] = {}
    for metric in text_metrics(names):
        metric.update(got[:1], wanted[:1])
        metric.update(got[1:], wanted[1:])
        found |= metric.compute()
    return found


def test_text_metrics_are_those_of_their_libraries() -> None:
    found = figures(["bleu", "chrf", "rouge", "wer", "cer", "exact"], GOT, WANTED)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    rouge = [scorer.score(w, g) for w, g in zip(WANTED, GOT, strict=True)]
    assert found == pytest.approx(
        {
            "bleu": corpus_bleu(GOT, [WANTED]).score,
            "chrf": corpus_chrf(GOT, [WANTED]).score,
            **{name: sum(row[name].fmeasure for row in rouge) / 4 for name in ("rouge1", "rouge2", "rougeL")},
            "wer": jiwer.wer(WANTED, GOT),
            "cer": jiwer.cer(WANTED, GOT),
            "exact": 0.25,
        }
    )
    assert found["bleu"] > 0


def test_several_references_of_different_number() -> None:
    several = [[WANTED[0], GOT[0]], [WANTED[1]], "hello", ["a", "b", "c"]]
    found = figures(["bleu", "chrf", "wer", "exact"], GOT, several)
    streams: list[Any] = [[WANTED[0], WANTED[1], "hello", "a"], [GOT[0], None, None, "b"], [None, None, None, "c"]]
    assert found["bleu"] == pytest.approx(corpus_bleu(GOT, streams).score)
    assert found["chrf"] == pytest.approx(corpus_chrf(GOT, streams).score)
    assert found["exact"] == 0.5
    assert found["wer"] == pytest.approx(jiwer.wer([GOT[0], WANTED[1], "hello", "a"], GOT))


@pytest.mark.parametrize("name", ["wer", "cer"])
def test_empty_references_add_their_insertions(name: str) -> None:
    library = getattr(jiwer, name)
    got, wanted = ["x y", "a c"], ["", "a b"]
    assert figures([name], got, wanted) == pytest.approx({name: library(wanted, got)})
    assert figures([name], ["x y"], [""]) == {name: 1.0}
    assert figures([name], [""], [""]) == {name: 0.0}


def test_chinese_bleu_needs_its_tokenizer() -> None:
    from mmkit_tasks.metrics import Bleu

    got, wanted = ["我今天很高兴去学校"], ["我今天很高兴去公园"]
    metric = Bleu("zh")
    metric.update(got, wanted)
    assert metric.compute()["bleu"] == pytest.approx(corpus_bleu(got, [wanted], tokenize="zh").score)
    assert metric.compute()["bleu"] > figures(["bleu"], got, wanted)["bleu"]


def test_what_is_no_text_is_refused_or_left_out(make: Any, characters: Any) -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        figures(["bleu"], [torch.zeros(2)], ["a"])
    assert str(caught.value) == "metric 'bleu' compares texts, got Tensor and str; leave it out of head.metrics"
    head = make("generate", mmkit.BuildContext(vocabulary=characters))
    for metric in head.metrics():
        metric.update([torch.zeros(2)], ["file.png"])
        assert metric.compute() == {}
    for metric in head.metrics():
        metric.update(["a"], ["a"])
        assert set(metric.compute()) <= {"bleu", "chrf", "exact"}
        assert metric.compute()


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_label_scores_are_those_of_torchmetrics(kind: str) -> None:
    from mmkit_tasks.label_metrics import LabelScores
    from torchmetrics.functional import classification as tm

    generator = torch.Generator().manual_seed(0)
    count = 2 if kind == "binary" else 3
    logits = torch.randn(30, count, generator=generator)
    given = logits.sigmoid() if kind == "multilabel" else logits.softmax(-1)
    hot = torch.randint(0, 2, (30, 3), generator=generator)
    labels = torch.randint(0, count, (30,), generator=generator)
    wanted = hot if kind == "multilabel" else labels
    metric = LabelScores(kind, count, lambda raw: raw)
    raws = [row.nonzero().flatten().tolist() for row in hot] if kind == "multilabel" else [[i] for i in labels.tolist()]
    predictions = [{"probabilities": dict(enumerate(row))} for row in given.tolist()]
    metric.update(predictions[:10], raws[:10])
    metric.update(predictions[10:], raws[10:])
    arguments: tuple[Any, ...] = (given[:, 1], wanted) if kind == "binary" else (given, wanted, count)
    micro = {} if kind == "binary" else {"average": "micro"}
    assert metric.compute() == pytest.approx(
        {
            "accuracy": float(getattr(tm, f"{kind}_accuracy")(*arguments, **micro)),
            "f1": float(getattr(tm, f"{kind}_f1_score")(*arguments)),
            "auroc": float(getattr(tm, f"{kind}_auroc")(*arguments)),
        }
    )


def test_auroc_without_both_kinds_of_samples_is_left_out() -> None:
    from mmkit_tasks.label_metrics import LabelScores

    metric = LabelScores("binary", 2, lambda raw: [raw])
    metric.update([{"probabilities": {"x": 0.2, "y": 0.8}}] * 2, [1, 1])
    assert metric.compute() == {"accuracy": 1.0, "f1": 1.0}
    assert LabelScores("binary", 2, lambda raw: [raw]).compute() == {}


def test_number_scores_are_those_of_torchmetrics() -> None:
    from mmkit_tasks.label_metrics import NumberScores
    from torchmetrics import MeanAbsoluteError, MeanSquaredError, PearsonCorrCoef

    got, wanted = torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(0)).double().unbind()
    metric = NumberScores()
    metric.update(got[:7].tolist(), wanted[:7].tolist())
    metric.update(got[7:].tolist(), wanted[7:].tolist())
    assert metric.compute() == pytest.approx(
        {
            "mae": float(MeanAbsoluteError()(got, wanted)),
            "rmse": float(MeanSquaredError(squared=False)(got.flatten(), wanted.flatten())),
            "pearson": float(PearsonCorrCoef(num_outputs=2)(got, wanted).mean()),
        },
        abs=1e-6,
    )
    constant = NumberScores()
    constant.update([1.0, 2.0], [3, 3])
    assert constant.compute() == pytest.approx({"mae": 1.5, "rmse": 2.5**0.5})
