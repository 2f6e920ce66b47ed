"""The page of an explanation: one file with its pictures inside."""

from html import escape
from typing import Any

from mmkit.explaining.explanation import Column, Explanation, Output, Part
from mmkit.explaining.heat import image, signed, title_of
from mmkit.explaining.plugged import drawn
from mmkit.explaining.written import colour_of, gap_of
from mmkit.model.rendering import html_of, is_plain, renderer_of

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}figure{margin:1rem 0}img{max-width:100%}
.words span{padding:.1rem .15rem;border-radius:.2rem;white-space:pre-wrap}small{color:#666}.bar{display:inline-block;
height:.7rem;background:#4a6fa5;vertical-align:middle}"""

NOT_WHY = (
    "Attention says what was read, not what decided: other weights may give the same answer (Jain and Wallace 2019)."
)


def page(given: Explanation) -> str:
    """HTML that loads nothing.

    Raises:
        MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
    """
    title, strongest = f"{given.task}: {answer_of(given)}", strongest_of(given)
    body = [
        f"<h1>{escape(given.task)}</h1><p>Answer: <b>{_answer(given)}</b></p>",
        f"<p>Explained: {escape(given.words)}, {given.score:.4g}; with nothing in its columns {given.baseline:.4g}. Red raises "
        "it, blue lowers it"
        f"{'' if given.attention is None else '; green was read'}.</p>",
        _table(given),
        *(_column(given, column, strongest) for column in given.columns),
        _attention(given),
        _outputs(given),
        f"<p><small>Integrated gradients, {given.steps} steps; they add up to score − baseline with an error of "
        f"{given.error:.2g}.</small></p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f"<!doctype html><html><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"


def answer_of(given: Explanation) -> str:
    """The answer as text; empty where it is none."""
    value = given.answer
    if isinstance(value, dict) and "label" in value:
        value = value["label"]
    return str(value) if is_plain(value) else ""


def _answer(given: Explanation) -> str:
    said = answer_of(given)
    renderer = None if said else renderer_of(given.answer)
    return html_of(given.answer, renderer) if renderer else escape(said)


def _table(given: Explanation) -> str:
    rows = "".join(
        f"<tr><td>{escape(c.name)}</td><td>{escape(c.modality)}</td><td>{c.share:.1%} "
        f'<span class="bar" style="width:{c.share * 6:.2f}rem"></span></td><td>{c.attribution:+.4g}</td>'
        f"<td>{'' if c.shapley is None else f'{c.shapley:+.4g}'}</td></tr>"
        for c in given.columns
    )
    head = "".join(f"<th>{name}</th>" for name in ("column", "modality", "share", "adds (gradients)", "adds (Shapley)"))
    return f"<table><tr>{head}</tr>{rows}</table>"


def _column(given: Explanation, column: Column, strongest: dict[str, float]) -> str:
    looked = given.attention.columns.get(column.name, ()) if given.attention is not None else ()
    parts = "".join(_part(column, part, strongest[part.key]) for part in (*column.parts, *looked) if part.pieces)
    maps = "".join(_part(column, part, 0.0) for part in (*column.parts, *looked) if not part.pieces)
    shown = parts + maps or "<p>The task does not read it.</p>"
    return f"<h2>{escape(column.name)}</h2><figure>{shown}</figure>"


def _part(column: Column, part: Part, strongest: float) -> str:
    if part.pieces:
        said = words(part.pieces, part.attribution.tolist(), strongest, signed(part))
        return f"{said}<figcaption><small>{escape(title_of(part))}</small></figcaption>"
    found = drawn(column, part)
    return found if isinstance(found, str) else image(found, escape(title_of(part)))


def strongest_of(given: Explanation) -> dict[str, float]:
    """The largest number of each kind of part among those that are written as words: their colours are on one scale."""
    found: dict[str, float] = {}
    looked = given.attention.columns if given.attention is not None else {}
    for part in (part for column in given.columns for part in (*column.parts, *looked.get(column.name, ()))):
        found[part.key] = max(found.get(part.key, 0.0), float(part.attribution.abs().max()) if part.pieces else 0.0)
    return found


def words(pieces: tuple[str, ...], numbers: list[float], strongest: float, sign: bool = True) -> str:
    """Pieces of text, each on a colour: red for more, blue for less; green where there is no sign."""
    spans = []
    for piece, number in zip(pieces, numbers, strict=True):
        red, green, blue, alpha = colour_of(number, strongest, sign)
        colour = f"rgba({red * 255:.0f},{green * 255:.0f},{blue * 255:.0f},{alpha:.2f})"
        spans.append(f'<span style="background:{colour}" title="{number:+.4g}">{escape(piece)}</span>')
    return f'<p class="words">{gap_of(pieces).join(spans)}</p>'


def _attention(given: Explanation) -> str:
    """Shares of what was read, and what that is not."""
    if given.attention is None:
        return ""
    one = given.attention
    rest = [(f"({name})", *shares) for name, shares in one.rest.items() if max(shares) > 0]
    rows = [*((name, one.rollout[name], one.relevance[name]) for name in one.columns), *rest]
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{a:.1%}</td><td>{b:.1%}</td></tr>" for name, a, b in rows)
    return (
        f"<h2>Attention</h2><p>{one.layers} layers of {one.heads} heads. {NOT_WHY}</p><table><tr><th>read</th><th>rollout</th>"
        f"<th>× gradient</th></tr>{cells}</table>"
    )


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
