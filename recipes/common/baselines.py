"""Scores of answers that need no model, with the field's own metric libraries."""

from collections import Counter
from collections.abc import Sequence


def bleu(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU and chrF (sacrebleu, its defaults), 0…100."""
    import sacrebleu

    return {
        "bleu": round(sacrebleu.corpus_bleu(list(answers), [list(references)]).score, 2),
        "chrf": round(sacrebleu.corpus_chrf(list(answers), [list(references)]).score, 2),
    }


def rouge(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of ROUGE-1, -2 and -L (rouge-score, stemmed), 0…1."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(kinds, use_stemmer=True)
    totals = dict.fromkeys(kinds, 0.0)
    for answer, reference in zip(answers, references, strict=True):
        for kind, score in scorer.score(reference, answer).items():
            totals[kind] += score.fmeasure
    return {kind: round(total / len(references), 4) for kind, total in totals.items()}


def error_rates(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Word and character error rate (jiwer) over the whole set."""
    import jiwer

    return {
        "wer": round(jiwer.wer(list(references), list(answers)), 4),
        "cer": round(jiwer.cer(list(references), list(answers)), 4),
    }


def majority(train: Sequence[str], test: Sequence[str]) -> dict[str, float | str]:
    """Accuracy of always answering the commonest training label."""
    label = Counter(train).most_common(1)[0][0]
    return {"label": label, "accuracy": round(sum(got == label for got in test) / len(test), 4)}


def most_typical(texts: Sequence[str]) -> str:
    """The commonest text; of equally common ones, that whose words are on average the commonest."""
    counts = Counter(texts)
    words = Counter(word for text in texts for word in text.lower().split())

    def rank(text: str) -> tuple[int, float, str]:
        parts = text.lower().split()
        return counts[text], sum(words[word] for word in parts) / max(1, len(parts)), text

    return max(counts, key=rank)
