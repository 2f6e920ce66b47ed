"""The plan as an SVG picture: boxes in columns from raw values to tasks. Readable on light and on dark pages."""

from html import escape

from mmkit.wiring.draw import COLOURS, INK, LINE, Arrow, Box, graph
from mmkit.wiring.graph import Plan
from mmkit.wiring.layout import HEIGHT, Layout, layout

GAP, MARGIN, LEAST, LONGEST = 58.0, 12.0, 92.0, 34
_CHARACTER, _SMALL = 7.4, 6.3  # widths at 13 and 11 pixels of the widest common sans-serif faces


def to_svg(plan: Plan) -> str:
    """A self-contained SVG without a background; every box shows its name and its component, dotted arrows lead from
    a vocabulary to heads that spell with it."""
    drawn = graph(plan)
    placed = layout(drawn)
    boxes = {box.name: box for box in drawn.boxes}
    widths = [max((_width(boxes[n]) for n in row if isinstance(n, str)), default=LEAST) for row in placed.rows]
    starts = [MARGIN + sum(widths[:index]) + index * GAP for index in range(len(widths))]
    right = (starts[-1] + widths[-1] if widths else 0.0) + MARGIN
    bottom = placed.height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {bottom:.0f}" width="{right:.0f}" '
        f'height="{bottom:.0f}" role="img" font-family="system-ui, sans-serif" font-size="13">',
        "<title>The graph of the model</title>",
    ]
    lines += [_arrow(arrow, placed, starts, widths) for arrow in drawn.arrows]
    for box in drawn.boxes:
        column = placed.column[box.name]
        lines.append(_box(box, starts[column], MARGIN + placed.y[box.name], widths[column]))
    return "\n".join([*lines, "</svg>\n"])


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _width(box: Box) -> float:
    return max(LEAST, 24 + _CHARACTER * len(_short(box.name)), 24 + _SMALL * len(_short(box.component)))


def _box(box: Box, x: float, y: float, width: float) -> str:
    middle, top = x + width / 2, y - HEIGHT / 2
    text = (
        f'<text x="{middle:.1f}" y="{y + (-3 if box.component else 4.5):.1f}" text-anchor="middle" fill="{INK}">'
        f"{escape(_short(box.name))}</text>"
    )
    if box.component:
        text += (
            f'<text x="{middle:.1f}" y="{y + 14:.1f}" text-anchor="middle" font-size="11" fill="#495057">'
            f"{escape(_short(box.component))}</text>"
        )
    return (
        f'<g><title>{escape(f"{box.name} {box.component}".strip())}</title><rect x="{x:.1f}" y="{top:.1f}" '
        f'width="{width:.1f}" height="{HEIGHT:.0f}" rx="7" fill="{COLOURS[box.kind]}" stroke="{LINE}"/>{text}</g>'
    )


def _arrow(arrow: Arrow, placed: Layout, starts: list[float], widths: list[float]) -> str:
    """Curves between columns, straight lines across the columns that the arrow only passes."""
    way = placed.ways[arrow]
    x = starts[placed.column[way[0]]] + widths[placed.column[way[0]]]
    y = MARGIN + placed.y[way[0]]
    path = f"M{x:.1f},{y:.1f}"
    for step in way[1:]:
        column = placed.column[step]
        left, next_y = starts[column], MARGIN + placed.y[step]
        end = left - 7 if step == way[-1] else left
        bend = (end - x) / 2
        path += f" C{x + bend:.1f},{y:.1f} {end - bend:.1f},{next_y:.1f} {end:.1f},{next_y:.1f}"
        if step != way[-1]:
            path += f" H{left + widths[column]:.1f}"
        x, y = left + widths[column], next_y
    tip = starts[placed.column[way[-1]]]
    dots = ' stroke-dasharray="2 4" stroke-linecap="round"' if arrow.spells else ""
    return (
        f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.6"{dots}/>'
        f'<path d="M{tip - 8:.1f},{y - 4:.1f} L{tip:.1f},{y:.1f} L{tip - 8:.1f},{y + 4:.1f} Z" fill="{LINE}"/>'
    )
