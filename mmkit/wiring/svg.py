"""The plan as an SVG picture: nodes in columns from raw values to tasks, edges between them."""

from html import escape

from mmkit.wiring.draw import edges
from mmkit.wiring.graph import Plan

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 168, 46, 56, 18, 16
COLOURS = {"raw": "#f1f3f5", "encoder": "#d0ebff", "adapter": "#d3f9d8", "backbone": "#ffe8cc", "head": "#e5dbff"}


def to_svg(plan: Plan) -> str:
    """A self-contained SVG; every node shows its name and its component."""
    pairs = edges(plan)
    names = list(dict.fromkeys(node for pair in pairs for node in pair))
    column = _columns(names, pairs)
    rows: dict[int, list[str]] = {}
    for name in names:
        rows.setdefault(column[name], []).append(name)
    tallest = max(len(group) for group in rows.values())
    place = {}
    for x, group in rows.items():
        top = (tallest - len(group)) * (HEIGHT + GAP_Y) / 2
        for y, name in enumerate(group):
            place[name] = (MARGIN + x * (WIDTH + GAP_X), MARGIN + top + y * (HEIGHT + GAP_Y))
    width = 2 * MARGIN + (max(rows) + 1) * (WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + tallest * (HEIGHT + GAP_Y) - GAP_Y
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
    ]
    lines += [_edge(place[a], place[b]) for a, b in pairs]
    components = {p.node: p.component.name for p in plan.placed()}
    lines += [_box(name, components.get(name, ""), *place[name], _colour(name, plan)) for name in names]
    return "\n".join([*lines, "</svg>\n"])


def _columns(names: list[str], pairs: list[tuple[str, str]]) -> dict[str, int]:
    """The longest way to a node from any node without a predecessor."""
    column = dict.fromkeys(names, 0)
    for _ in names:
        for source, target in pairs:
            column[target] = max(column[target], column[source] + 1)
    last = max(column.values(), default=0)
    return {name: last if name.endswith(".head") else at for name, at in column.items()}


def _colour(name: str, plan: Plan) -> str:
    if name in plan.backbones:
        return COLOURS["backbone"]
    if name.endswith("(raw)"):
        return COLOURS["raw"]
    return COLOURS.get(name.rpartition(".")[2], COLOURS["adapter"])


def _box(name: str, component: str, x: float, y: float, colour: str) -> str:
    middle = x + WIDTH / 2
    box = f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{colour}" stroke="#868e96"/>'
    text = f'<text x="{middle}" y="{y + (19 if component else 28)}" text-anchor="middle">{escape(name)}</text>'
    if component:
        text += (
            f'<text x="{middle}" y="{y + 36}" text-anchor="middle" font-size="11" fill="#495057">'
            f"{escape(component)}</text>"
        )
    return box + text


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT / 2, end[0], end[1] + HEIGHT / 2
    bend = max(24.0, (x2 - x1) / 2)
    path = f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2 - 6},{y2}"
    arrow = f"M{x2 - 7},{y2 - 4} L{x2},{y2} L{x2 - 7},{y2 + 4} Z"
    return f'<path d="{path}" fill="none" stroke="#868e96" stroke-width="1.4"/><path d="{arrow}" fill="#868e96"/>'
