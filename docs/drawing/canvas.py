"""A canvas that becomes an SVG, readable on light and on dark pages: what lies on the page follows the page's colours."""

from collections.abc import Sequence
from html import escape

COLOURS = {
    "plain": "#f1f3f5",
    "blue": "#d0ebff",
    "green": "#d3f9d8",
    "yellow": "#fff3bf",
    "orange": "#ffe8cc",
    "violet": "#e5dbff",
    "red": "#ffc9c9",
    "strong": "#4dabf7",
}
STYLE = (
    "text{fill:#495057}.in{fill:#212529}.line{stroke:#868e96;fill:none}.tip{fill:#868e96}.way{stroke:#e8590c;fill:none}"
    ".hot{fill:#e8590c}.void{fill:none;stroke:#868e96}"
    "@media(prefers-color-scheme:dark){text{fill:#ced4da}.in{fill:#212529}.way{stroke:#ff922b}.hot{fill:#ff922b}}"
)


class Canvas:
    """Shapes are added one by one, in pixels; later ones lie on earlier ones."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
        ]

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])

    def text(self, x: float, y: float, words: str, anchor: str = "middle", kind: str = "", size: float = 13) -> None:
        """``kind``: in (on a filled shape), hot (stressed), or as the page's text."""
        marks = f' class="{kind}"' if kind else ""
        marks += f' font-size="{size:g}"' if size != 13 else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{marks}>{escape(words)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, words: str = "", colour: str = "plain", below: str = ""
    ) -> None:
        """A filled box with a line of text, and a smaller one."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{COLOURS[colour]}" '
            'stroke="#868e96"/>'
        )
        middle, centre = x + width / 2, y + height / 2
        if words:
            self.text(middle, centre + (-2 if below else 4.5), words, kind="in")
        if below:
            self.text(middle, centre + 14, below, kind="in", size=11)

    def cell(self, x: float, y: float, width: float, height: float, colour: str = "", words: str = "") -> None:
        """A cell of a table; without a colour, an empty one."""
        fill = f'fill="{COLOURS[colour]}" stroke="#868e96"' if colour else 'class="void"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {fill}/>')
        if words:
            self.text(x + width / 2, y + height / 2 + 4.5, words, kind="in" if colour else "")

    def circle(self, x: float, y: float, radius: float, colour: str = "", words: str = "") -> None:
        """A circle, with text in it."""
        fill = f'fill="{COLOURS[colour]}" stroke="#868e96"' if colour else 'class="void"'
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" {fill}/>')
        if words:
            self.text(x, y + 4.5, words, kind="in" if colour else "")

    def line(self, *points: tuple[float, float], kind: str = "line", width: float = 1.6, dots: bool = False) -> None:
        """Straight pieces from point to point."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="3 4"' if dots else ""
        self.parts.append(f'<polyline points="{path}" class="{kind}" stroke-width="{width:g}"{dash}/>')

    def arrow(self, *points: tuple[float, float], kind: str = "line", words: str = "") -> None:
        """Straight pieces that end in a tip; ``words`` stand above the first piece."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        along, across = (x1 - x0) / length, (y1 - y0) / length
        back = (x1 - 7 * along, y1 - 7 * across)
        self.line(*points[:-1], back, kind=kind)
        corners: Sequence[tuple[float, float]] = (
            (x1, y1),
            (back[0] - 4 * across, back[1] + 4 * along),
            (back[0] + 4 * across, back[1] - 4 * along),
        )
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self.parts.append(f'<polygon points="{path}" class="{"tip" if kind == "line" else "hot"}"/>')
        if words:
            (xa, ya), (xb, yb) = points[:2]
            self.text((xa + xb) / 2, (ya + yb) / 2 - 6, words, size=11)
