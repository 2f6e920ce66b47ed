"""Metrics of text. Each library is imported when a figure is computed."""

from collections.abc import Callable, Sequence
from typing import Any

from mmkit import Metric, PluginError


class TextPairs:
    """Collects predicted texts and their references: one text, or a list of equally good ones."""

    name = "text"

    def __init__(self) -> None:
        self.predictions: list[str] = []
        self.references: list[list[str]] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch.

        Raises:
            PluginError: something is not text.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            texts = [reference] if isinstance(reference, str) else reference
            if not isinstance(prediction, str) or not _all_text(texts):
                raise PluginError(
                    f"metric {self.name!r} compares texts, got {type(prediction).__name__} and "
                    f"{type(reference).__name__}; leave it out of head.metrics"
                )
            self.predictions.append(prediction)
            self.references.append(list(texts))

    def streams(self) -> list[Any]:
        """First references, second references …; None where a prediction has fewer."""
        most = max(len(texts) for texts in self.references)
        return [[texts[i] if i < len(texts) else None for texts in self.references] for i in range(most)]


class Bleu(TextPairs):
    """``bleu``: corpus BLEU, 0 to 100 (Papineni et al. 2002; sacrebleu, Post 2018)."""

    name = "bleu"

    def __init__(self, tokenize: str = "13a") -> None:
        super().__init__()
        self.tokenize = tokenize

    def compute(self) -> dict[str, float]:
        """``bleu``."""
        if not self.predictions:
            return {}
        from sacrebleu.metrics.bleu import BLEU

        return {"bleu": float(BLEU(tokenize=self.tokenize).corpus_score(self.predictions, self.streams()).score)}


class Chrf(TextPairs):
    """``chrf``: corpus chrF2, 0 to 100 (Popović 2015; sacrebleu)."""

    name = "chrf"

    def compute(self) -> dict[str, float]:
        """``chrf``."""
        if not self.predictions:
            return {}
        from sacrebleu.metrics.chrf import CHRF

        return {"chrf": float(CHRF().corpus_score(self.predictions, self.streams()).score)}


class Rouge(TextPairs):
    """``rouge1``, ``rouge2``, ``rougeL``: mean F-measures, 0 to 1 (Lin 2004; rouge-score, which reads a-z and 0-9 only)."""

    name = "rouge"

    def compute(self) -> dict[str, float]:
        """The three figures; of several references, the best counts."""
        if not self.predictions:
            return {}
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
        rows = [scorer.score_multi(r, p) for p, r in zip(self.predictions, self.references, strict=True)]
        return {name: sum(row[name].fmeasure for row in rows) / len(rows) for name in ("rouge1", "rouge2", "rougeL")}


class ErrorRate(TextPairs):
    """``wer`` or ``cer``: edits over the words or characters of the references, 0 upwards (jiwer).

    Of several references, the one with the lowest rate counts. Empty references add their insertions. Where all
    references are empty the rate is the number of insertions, at most 1. Case and punctuation count.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def compute(self) -> dict[str, float]:
        """The rate over the whole corpus."""
        if not self.predictions:
            return {}
        import jiwer

        if self.name == "wer":
            process: Any = jiwer.process_words
        else:
            process = jiwer.process_characters
        errors = length = 0
        for prediction, texts in zip(self.predictions, self.references, strict=True):
            counts = []
            for text in texts:
                out = process(text, prediction)
                size = out.hits + out.substitutions + out.deletions
                wrong = out.substitutions + out.deletions + out.insertions
                counts.append((wrong / max(1, size), wrong, size))
            _, wrong, size = min(counts)
            errors, length = errors + wrong, length + size
        return {self.name: errors / length if length else float(min(1, errors))}


class Exact(TextPairs):
    """``exact``: share of predictions that equal a reference, white space at the ends aside."""

    name = "exact"

    def compute(self) -> dict[str, float]:
        """``exact``."""
        if not self.predictions:
            return {}
        pairs = zip(self.predictions, self.references, strict=True)
        same = [prediction.strip() in [text.strip() for text in texts] for prediction, texts in pairs]
        return {"exact": sum(same) / len(same)}


class OnlyText:
    """A text metric that is left out where predictions are not text, for outputs such as images."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch, if it is text."""
        if all(isinstance(prediction, str) for prediction in predictions):
            self.metric.update(predictions, references)

    def compute(self) -> dict[str, float]:
        """The metric's figures; empty where there was no text."""
        return self.metric.compute()


def text_metrics(names: Sequence[str], bleu_tokenize: str = "13a") -> list[Metric]:
    """Fresh metrics by name: bleu, chrf, rouge, wer, cer, exact."""
    makers: dict[str, Callable[[], Metric]] = {
        "bleu": lambda: Bleu(bleu_tokenize),
        "chrf": Chrf,
        "rouge": Rouge,
        "wer": lambda: ErrorRate("wer"),
        "cer": lambda: ErrorRate("cer"),
        "exact": Exact,
    }
    return [makers[name]() for name in dict.fromkeys(names)]


def _all_text(texts: Any) -> bool:
    return isinstance(texts, list | tuple) and bool(texts) and all(isinstance(text, str) for text in texts)
