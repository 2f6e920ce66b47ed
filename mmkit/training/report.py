"""The report of an evaluation: one HTML file of figures, answers beside references, and the sections of plugins."""

import html
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmkit.data.sources import Rows, open_all
from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, PluginError, SampleError
from mmkit.model.locate import located
from mmkit.model.model import Model
from mmkit.model.rendering import html_of, is_plain, renderer_of, renderers_of
from mmkit.registry.offers import Renderer, ReportSection
from mmkit.training.evaluate import TaskResult
from mmkit.wiring.graph import import_path
from mmkit.wiring.svg import to_svg

SHOWN = 12
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#212529;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.35rem .7rem;border-bottom:1px solid #dee2e6;text-align:left;
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
.wide img,.card img{image-rendering:pixelated}td audio{width:232px;display:block}
.cards{display:flex;flex-wrap:wrap;gap:12px}.card{border:1px solid #dee2e6;border-radius:8px;padding:10px;width:232px}
.card img{max-width:100%}.card audio{width:100%}.right{border-left:5px solid #40c057}.wrong{border-left:5px solid #fa5252}
.ref{color:#868e96}svg{max-width:100%;height:auto}
"""


@dataclass(frozen=True)
class Evaluation:
    """What a section of the report is made from.

    Attributes:
        model: the one that was evaluated. part: ``test``, ``valid`` or ``train``. results: by task.
    """

    model: Model
    part: str
    results: Mapping[str, TaskResult]

    def columns(self, task: str, kind: str) -> list[str]:
        """The input columns of a task whose values are of this kind (``image``, ``audio``, ``ecg`` …)."""
        planned = self.model.plan.tasks[task]
        found = []
        for column in planned.columns:
            if self.model.plan.modalities[planned.modality_of[column]].kind == kind:
                found.append(column)
        return found

    def value(self, task: str, index: int, column: str) -> Any:
        """A column of the row behind ``results[task].predictions[index]``, a path in it resolved; None where rows are
        streamed, which are not kept."""
        place = self._places.get((task, self.results[task].addresses[index]))
        if place is None:
            return None
        rows, number = place
        value = rows[number].get(column)
        data = self.model.plan.spec.data
        media = column in self.model.plan.tasks[task].modality_of and self._is_media(task, column)
        return located(value, rows.root, data.urls if data else None) if media else value

    def cards(self, kind: str, show: Callable[[Any], str]) -> str | None:
        """HTML with a card for each shown sample of every task that reads this kind of value; None where none does.

        Args:
            show: a value → HTML; a SampleError that it raises is shown in its place.
        """
        parts = []
        for task in self.results:
            for column in self.columns(task, kind):
                cards = "".join(self._card(task, index, column, show) for index in self.shown(task))
                parts.append(f"<h3>{html.escape(task)}</h3><div class=cards>{cards}</div>")
        return "".join(parts) or None

    def _card(self, task: str, index: int, column: str, show: Callable[[Any], str]) -> str:
        try:
            value = self.value(task, index, column)
            shown = "<em>(streamed)</em>" if value is None else show(value)
        except SampleError as error:
            shown = f"<em>{html.escape(str(error))}</em>"
        said, wanted = self.pair(task, index)
        mark = self._mark(task, index)
        below = f"<div><b>{said}</b></div><div class=ref>{wanted}</div>"
        if mark == "made":
            below = f"<div>output</div>{said}<div class=ref>reference</div>{wanted}"
        return f"<div class='card {mark}'>{shown}{below}</div>"

    def pair(self, task: str, index: int) -> tuple[str, str]:
        """A prediction and its reference as HTML: text, or what plugins make of pictures, sounds and the like."""
        result, several = self.results[task], bool(self.model.plan.tasks[task].written)
        said, wanted = answer(result.predictions[index]), result.references[index]
        if not several or not isinstance(wanted, Mapping):
            return rendered(said, wanted)
        known, outputs = renderers_of(self.model.plan, task), self.model.plan.tasks[task].outputs
        parts: list[tuple[str | None, Any]] = []
        for column, value in wanted.items():
            name = outputs[column]
            mixed = [] if name is not None else [one for part in value for one in part.items()]
            parts += mixed or [(name, value)]
        shown = [_html(part, known[name]) if name in known else html.escape(_short(part)) for name, part in parts]
        return _parts(said), "".join(f"<div>{part}</div>" for part in shown)

    def right(self, task: str, index: int) -> bool:
        """Whether the prediction is the reference; False for what is no text, number, or list or mapping of such."""
        said, wanted = answer(self.results[task].predictions[index]), self.results[task].references[index]
        return is_plain(said) and is_plain(wanted) and bool(said == wanted)

    def _mark(self, task: str, index: int) -> str:
        if self.model.plan.tasks[task].written or not is_plain(answer(self.results[task].predictions[index])):
            return "made"
        return "right" if self.right(task, index) else "wrong"

    def shown(self, task: str, count: int = SHOWN) -> list[int]:
        """Rows to show: half right and half wrong where there are as many, each spread over all rows."""
        rows = range(len(self.results[task].predictions))
        right = [index for index in rows if self.right(task, index)]
        wrong = [index for index in rows if not self.right(task, index)]
        failures = _spread(wrong, max(count // 2, count - len(right)))
        return [*_spread(right, count - len(failures)), *failures]

    def _is_media(self, task: str, column: str) -> bool:
        name = self.model.plan.tasks[task].modality_of[column]
        vocabulary = self.model.vocabularies.get(name)
        return vocabulary is None or vocabulary.strings_are_paths

    @cached_property
    def _places(self) -> dict[tuple[str, str], tuple[Rows, int]]:
        return {
            (rows.given.task, rows.address(number)): (rows, number)
            for rows in open_all(self.model.plan, self.part)
            if not rows.given.streaming
            for number in range(len(rows))
        }


def answer(prediction: Any) -> Any:
    """The label of a classification, else the prediction itself."""
    return prediction["label"] if isinstance(prediction, Mapping) and "label" in prediction else prediction


def write_report(path: Path, evaluation: Evaluation, title: str) -> None:
    """Write the page; a section that fails says so in its place.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_page(evaluation, title)), "utf-8")


def _page(evaluation: Evaluation, title: str) -> Iterator[str]:
    size = '<meta name="viewport" content="width=device-width">'
    yield f'<!doctype html><html lang="en"><meta charset="utf-8">{size}<title>{html.escape(title)}</title>'
    yield f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><div class=wide>{to_svg(evaluation.model.plan)}</div>"
    yield f"<h2>Figures</h2><p>On the {evaluation.part} rows.</p>"
    yield "<table><tr><th>task<th>rows<th>metric<th>value</tr>"
    for task, result in evaluation.results.items():
        for name, value in result.metrics.items():
            count = f"{len(result.predictions):,}"
            yield f"<tr><td>{html.escape(task)}<td class=n>{count}<td>{html.escape(name)}<td class=n>{value:.4g}</tr>"
    yield "</table>"
    for task in evaluation.results:
        yield from _answers(evaluation, task)
    for section in discover().sections:
        yield from _section(section, evaluation)


def _answers(evaluation: Evaluation, task: str) -> Iterator[str]:
    result, planned = evaluation.results[task], evaluation.model.plan.tasks[task]
    columns = [column for column in planned.columns if not evaluation._is_media(task, column)]
    shown = evaluation.shown(task)
    made = bool(shown) and all(evaluation._mark(task, index) == "made" for index in shown)
    about = "Right answers (green) and wrong ones (red), half of each where there are enough."
    if made:
        about = f"{len(shown)} of {len(result.predictions):,} outputs, beside their references."
    yield f"<h2>{html.escape(task)}</h2><p>{about}</p>"
    heads = "".join(f"<th>{html.escape(name)}" for name in (*columns, "output", "reference"))
    yield f"<div class=wide><table><tr>{heads}</tr>"
    for index in shown:
        given = [html.escape(_short(evaluation.value(task, index, column))) for column in columns]
        cells = [*given, *evaluation.pair(task, index)]
        yield f"<tr class={evaluation._mark(task, index)}>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>"
    yield "</table></div>"


def _section(section: ReportSection, evaluation: Evaluation) -> Iterator[str]:
    who = f"report section {section.name!r} of plugin {section.plugin!r}"
    try:
        text = import_path(section.function)(evaluation)
        if not isinstance(text, str | None):
            raise PluginError(f"it gives a {type(text).__name__}, wanted is HTML text or None")
    except Exception as error:
        said = str(error) if isinstance(error, MmkitError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"{who} fails: {said}", stacklevel=2)
        text = f"<p>This section could not be made: {html.escape(said)}</p>"
    if text is not None:
        yield f"<h2>{html.escape(section.title)}</h2>{text}"


def rendered(prediction: Any, reference: Any) -> tuple[str, str]:
    """Both as HTML. A reference is of its prediction's kind, though it may be the path or the bytes of a file."""
    renderer = renderer_of(prediction)
    if renderer is not None:
        return _html(prediction, renderer), "(nothing)" if reference is None else _html(reference, renderer)
    return _parts(prediction), _parts(reference)


def _parts(value: Any) -> str:
    """The parts of an output of several kinds, one after another."""
    renderer = renderer_of(value)
    if renderer is not None:
        return _html(value, renderer)
    if isinstance(value, list | tuple) and not is_plain(value):
        return "".join(f"<div>{_parts(part)}</div>" for part in value)
    if isinstance(value, Mapping) and not is_plain(value):
        return "".join(f"<div>{html.escape(str(name))}: {_parts(part)}</div>" for name, part in value.items())
    return html.escape(_short(value))


def _html(value: Any, renderer: Renderer) -> str:
    try:
        return html_of(value, renderer)
    except MmkitError as error:
        return f"<em>{html.escape(str(error))}</em>"


def _short(value: Any) -> str:
    text = "(nothing)" if value in (None, "") else str(value)
    return text if len(text) <= 500 else f"{text[:500]} …"


def _spread(rows: list[int], count: int) -> list[int]:
    kept = min(count, len(rows))
    return [rows[place * len(rows) // kept] for place in range(kept)]
