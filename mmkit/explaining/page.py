"""The page of an explanation: one file with its pictures inside."""

from html import escape
from typing import Any

from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, PluginError
from mmkit.explaining.explanation import Column, Explanation, Output, Part
from mmkit.explaining.heat import heat_map
from mmkit.model.rendering import html_of, is_plain, renderer_of
from mmkit.wiring.graph import import_path

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}figure{margin:1rem 0}img{max-width:100%}
.words span{padding:.1rem .15rem;border-radius:.2rem;white-space:pre-wrap}small{color:#666}.bar{display:inline-block;
height:.7rem;background:#4a6fa5;vertical-align:middle}"""


def page(given: Explanation) -> str:
    """HTML that loads nothing.

    Raises:
        MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
    """
    title = f"{given.task}: {_answer(given, plain=True)}"
    strongest = max((float(p.attribution.abs().max()) for c in given.columns for p in c.parts if p.pieces), default=0.0)
    body = [
        f"<h1>{escape(given.task)}</h1><p>Answer: <b>{_answer(given)}</b></p>",
        f"<p>Explained: {escape(given.words)}, {given.score:.4g}; with nothing in its columns {given.baseline:.4g}. Red raises "
        "it, blue lowers it.</p>",
        _table(given),
        *(_column(column, strongest) for column in given.columns),
        _outputs(given),
        f"<p><small>Integrated gradients, {given.steps} steps; they add up to score − baseline with an error of "
        f"{given.error:.2g}.</small></p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f"<!doctype html><html><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"


def _answer(given: Explanation, plain: bool = False) -> str:
    value = given.answer
    if isinstance(value, dict) and "label" in value:
        value = value["label"]
    if is_plain(value):
        return str(value) if plain else escape(str(value))
    renderer = None if plain else renderer_of(value)
    return html_of(value, renderer) if renderer else ""


def _table(given: Explanation) -> str:
    rows = "".join(
        f"<tr><td>{escape(c.name)}</td><td>{escape(c.modality)}</td><td>{c.share:.1%} "
        f'<span class="bar" style="width:{c.share * 6:.2f}rem"></span></td><td>{c.attribution:+.4g}</td>'
        f"<td>{'' if c.shapley is None else f'{c.shapley:+.4g}'}</td></tr>"
        for c in given.columns
    )
    head = "".join(f"<th>{name}</th>" for name in ("column", "modality", "share", "adds (gradients)", "adds (Shapley)"))
    return f"<table><tr>{head}</tr>{rows}</table>"


def _column(column: Column, strongest: float) -> str:
    drawn = _by_plugin(column)
    if drawn is None:
        drawn = "".join(_part(part, strongest) for part in column.parts) or "<p>The task does not read it.</p>"
    return f"<h2>{escape(column.name)}</h2><figure>{drawn}</figure>"


def _by_plugin(column: Column) -> str | None:
    """What a plugin draws for values of this kind; None where none does."""
    tensors = {part.key: part.attribution for part in column.parts if not part.pieces}
    if not tensors:
        return None
    for renderer in discover().renderers:
        if renderer.attribution and renderer.name == column.kind:
            try:
                found: str | None = import_path(renderer.attribution)(column.raw, tensors)
            except Exception as error:
                said = str(error) if isinstance(error, MmkitError) else f"{type(error).__name__}: {error}"
                who = f"renderer {renderer.name!r} of plugin {renderer.plugin!r}"
                raise PluginError(f"{who} fails in {renderer.attribution}: {said}") from error
            if found is not None:
                return found
    return None


def _part(part: Part, strongest: float) -> str:
    if part.pieces:
        return words(part.pieces, part.attribution.tolist(), strongest)
    attribution = part.attribution.sum(-1) if part.key == "features" else part.attribution
    value = part.value.mean(-1) if part.key == "features" else part.value
    return f"{heat_map(attribution, value)}<figcaption><small>{escape(part.key)} {list(part.value.shape)}</small></figcaption>"


def words(pieces: tuple[str, ...], numbers: list[float], strongest: float) -> str:
    """Pieces of text, each on a colour: red for more, blue for less."""
    gap = " " if any(len(piece) > 1 for piece in pieces) else ""
    return f'<p class="words">{gap.join(_word(*one, strongest) for one in zip(pieces, numbers, strict=True))}</p>'


def _word(text: str, number: float, strongest: float) -> str:
    strength = abs(number) / strongest if strongest else 0.0
    red, green, blue = (200, 40, 40) if number > 0 else (40, 80, 200)
    colour = f"rgba({red},{green},{blue},{0.75 * strength:.2f})"
    return f'<span style="background:{colour}" title="{number:+.4g}">{escape(text)}</span>'


def _outputs(given: Explanation) -> str:
    """Of a generated answer: what is written, and which column made it write that."""
    if len(given.outputs) < 2:
        return ""
    names = list(given.outputs[0].attribution)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("written", "log-probability", *names))
    rows = "".join(f"<tr><td>{escape(one.text)}</td><td>{one.score:.3f}</td>{_sums(one)}</tr>" for one in given.outputs)
    return f"<h2>Answer</h2><table><tr>{head}</tr>{rows}</table>"


def _sums(output: Output) -> str:
    sums: list[Any] = [sum(float(part.sum()) for part in parts) for parts in output.attribution.values()]
    return "".join(f"<td>{number:+.3g}</td>" for number in sums)
