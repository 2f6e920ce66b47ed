"""Generated values, judged by a model of their own: class consistency of pictures, round trip of speech."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mmkit import BuildContext, Model, PluginError, SampleError, load
from mmkit_tasks.metrics import text_metrics


class Judged:
    """What another model says of each prediction, compared with what was wanted.

    Of a judge that gives a label: ``NAME_accuracy``. Of one that writes text: ``NAME_wer``, ``NAME_cer`` and ``NAME_exact``.
    A prediction that it cannot read, such as an empty sound, counts as a wrong label or an empty text;
    ``NAME_unreadable`` says how many there are, if any.

    Args:
        model: the judge; it stays as it is. column: of its input. wanted: column of the row that says what was wanted;
            None: the reference. labels: what was wanted → the judge's name for it, where that is another one.
    """

    def __init__(
        self,
        model: Model,
        task: str,
        column: str,
        wanted: str | None,
        labels: Mapping[str, str | int],
        name: str,
        batch_size: int,
    ) -> None:
        self.model, self.task, self.column, self.wanted = model, task, column, wanted
        self.labels, self.name, self.batch_size = dict(labels), name, batch_size
        self.row_columns = () if wanted is None else (wanted,)
        self.texts = text_metrics(["wer", "cer", "exact"]) if model.plan.tasks[task].spelt else []
        self.right = self.count = self.unreadable = 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch.

        Raises:
            PluginError: the judge gives neither one label nor text.
        """
        wanted = list(references) if self.wanted is None else [row[self.wanted] for row in rows]
        said: list[Any] = []
        for start in range(0, len(predictions), self.batch_size):
            part = predictions[start : start + self.batch_size]
            said += self._said([{self.column: prediction} for prediction in part])
        self.unreadable += said.count(None)
        self.count += len(said)
        if self.texts:
            for metric in self.texts:
                metric.update(["" if text is None else text for text in said], [self._named(text) for text in wanted])
        else:
            self.right += sum(_same(label, self._named(name)) for label, name in zip(said, wanted, strict=True))

    def _named(self, wanted: Any) -> Any:
        return self.labels.get(str(wanted), wanted) if self.labels else wanted

    def _said(self, rows: list[dict[str, Any]]) -> list[Any]:
        """A label or a text a row, None where it cannot be read; all at once, or each for itself where one cannot."""
        try:
            with torch.autocast(self.model.device.type, enabled=False):
                return [self._answer(given) for given in self.model.predict(self.task, rows)]
        except SampleError:
            return [None] if len(rows) == 1 else [answer for row in rows for answer in self._said([row])]

    def _answer(self, given: Any) -> Any:
        answer = given["label"] if isinstance(given, Mapping) and "label" in given else given
        if isinstance(answer, str) if self.texts else answer is not given:
            return answer
        raise PluginError(
            f"metric 'judged': task {self.task!r} of the judge gives a {type(given).__name__}, wanted is one label or text"
        )

    def compute(self) -> dict[str, float]:
        """The figures; empty where nothing was added."""
        if not self.count:
            return {}
        found: dict[str, float] = {}
        for metric in self.texts:
            found |= metric.compute()
        if not self.texts:
            found["accuracy"] = self.right / self.count
        if self.unreadable:
            found["unreadable"] = self.unreadable
        return {f"{self.name}_{figure}": value for figure, value in found.items()}


def _same(label: Any, wanted: Any) -> bool:
    return label is not None and str(label) == str(wanted)


@lru_cache(maxsize=2)
def _loaded(folder: Path, device: str, written: int) -> Model:
    """Once for all evaluations of a run; anew where the folder was written anew."""
    return load(folder, device=device).eval()


def build(
    context: BuildContext,
    *,
    model: Path,
    task: str | None,
    column: str | None,
    wanted: str | None,
    labels: dict[str, str | int],
    name: str,
    batch_size: int,
) -> Judged:
    """With the model of a folder, on a GPU if there is one."""
    manifest = model / "manifest.json"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    judge = _loaded(model, device, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    chosen = _one(task, list(judge.plan.tasks), f"the model in {model}", "task")
    columns = list(dict.fromkeys(judge.plan.tasks[chosen].columns))
    return Judged(
        judge, chosen, _one(column, columns, f"task {chosen!r} of {model}", "column"), wanted, labels, name, batch_size
    )


def _one(given: str | None, names: list[str], where: str, what: str) -> str:
    """The one that is named, or the only one.

    Raises:
        PluginError: there is no such, or there are several and none is named.
    """
    if given in names:
        return str(given)
    if given is None and len(names) == 1:
        return names[0]
    if given is None:
        raise PluginError(f"metric 'judged': {where} has the {what}s {', '.join(names)}: say {what} with one of them")
    close = get_close_matches(given, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(names)}"
    raise PluginError(f"metric 'judged': {where} has no {what} {given!r}: {hint}")
