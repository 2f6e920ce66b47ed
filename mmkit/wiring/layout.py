"""Where the boxes of a graph go: columns from left to right, few crossings, straight arrows (Sugiyama et al. 1981)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from mmkit.wiring.draw import Arrow, Graph

HEIGHT, GAP, BEND_HEIGHT, BEND_GAP = 46.0, 18.0, 10.0, 12.0
_SWEEPS = 24


@dataclass
class Layout:
    """Middles of boxes: ``column`` from the left, ``y`` from the top; ``ways``: what each arrow passes, ends included.

    An arrow over several columns has a bend in every column between, named ``(arrow, column)``.
    """

    column: dict[object, int] = field(default_factory=dict)
    y: dict[object, float] = field(default_factory=dict)
    ways: dict[Arrow, list[object]] = field(default_factory=dict)
    rows: list[list[object]] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Of the whole picture, without a margin."""
        return max((y + HEIGHT / 2 for y in self.y.values()), default=0.0)


def layout(graph: Graph) -> Layout:
    """Columns, bends, order within the columns, then heights."""
    made = Layout()
    made.column.update(_columns(graph))
    for arrow in graph.arrows:
        first, last = made.column[arrow.source], made.column[arrow.target]
        bends: list[object] = [(arrow, column) for column in range(first + 1, last)]
        made.column.update({bend: first + 1 + index for index, bend in enumerate(bends)})
        made.ways[arrow] = [arrow.source, *bends, arrow.target]
    made.rows = [[] for _ in range(max(made.column.values(), default=0) + 1)]
    for name, column in made.column.items():
        made.rows[column].append(name)
    links = [pair for way in made.ways.values() for pair in itertools.pairwise(way)]
    made.rows = _ordered(made.rows, links)
    made.y = _heights(made.rows, links)
    return made


def _columns(graph: Graph) -> dict[str, int]:
    """Raw values first, heads last, everything else as near to what reads it as can be."""
    column = {box.name: 0 for box in graph.boxes}
    for box in graph.boxes:  # every arrow points forward in this order
        for arrow in graph.into(box.name):
            column[box.name] = max(column[box.name], column[arrow.source] + 1)
    last = max(column.values(), default=0)
    column |= {box.name: last for box in graph.boxes if box.kind == "head"}
    for box in reversed(graph.boxes):
        read_at = [column[arrow.target] for arrow in graph.arrows if arrow.source == box.name]
        if box.kind != "raw" and read_at:
            column[box.name] = min(read_at) - 1
    return column


def _neighbours(
    links: Sequence[tuple[object, object]],
) -> tuple[dict[object, list[object]], dict[object, list[object]]]:
    left: dict[object, list[object]] = {}
    right: dict[object, list[object]] = {}
    for source, target in links:
        right.setdefault(source, []).append(target)
        left.setdefault(target, []).append(source)
    return left, right


def _ordered(rows: list[list[object]], links: list[tuple[object, object]]) -> list[list[object]]:
    """The order with the fewest crossings among those that barycentres lead to."""
    left, right = _neighbours(links)
    best, fewest = [list(row) for row in rows], _crossings(rows, links)
    for sweep in range(_SWEEPS):
        beside = left if sweep % 2 == 0 else right
        for row in rows if sweep % 2 == 0 else reversed(rows):
            at = {name: index for other in rows for index, name in enumerate(other)}

            def middle(name: object, at: dict[object, int] = at, beside: dict[object, list[object]] = beside) -> float:
                others = beside.get(name, [])
                return sum(at[other] for other in others) / len(others) if others else at[name]

            row.sort(key=middle)
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: list[list[object]], links: list[tuple[object, object]]) -> int:
    at = {name: index for row in rows for index, name in enumerate(row)}
    column = {name: index for index, row in enumerate(rows) for name in row}
    count = 0
    for index, (a, b) in enumerate(links):
        for c, d in links[index + 1 :]:
            count += column[a] == column[c] and (at[a] - at[c]) * (at[b] - at[d]) < 0
    return count


def _heights(rows: list[list[object]], links: list[tuple[object, object]]) -> dict[object, float]:
    """Each row's places as near to the mean of their neighbours as their order and gaps allow."""
    left, right = _neighbours(links)
    y: dict[object, float] = {}
    for row in rows:
        y.update(zip(row, _spread(row, [0.0] * len(row)), strict=True))
    for sweep in range(_SWEEPS):
        both = sweep >= _SWEEPS - 4
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for name in row:
                others = left.get(name, []) if both or sweep % 2 == 0 else []
                others = others + (right.get(name, []) if both or sweep % 2 == 1 else [])
                wanted.append(sum(y[other] for other in others) / len(others) if others else y[name])
            y.update(zip(row, _spread(row, wanted), strict=True))
    top = min((value - _half(name) for name, value in y.items()), default=0.0)
    return {name: value - top for name, value in y.items()}


def _half(name: object) -> float:
    return (HEIGHT if isinstance(name, str) else BEND_HEIGHT) / 2


def _spread(row: list[object], wanted: list[float]) -> list[float]:
    """Nearest places (least squares) that keep order and gaps: isotonic regression after the gaps are taken out."""
    offsets = [0.0]
    for above, below in itertools.pairwise(row):
        gap = GAP if isinstance(above, str) and isinstance(below, str) else BEND_GAP
        offsets.append(offsets[-1] + _half(above) + gap + _half(below))
    pools: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        pools.append((value - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, m), (a, n) = pools.pop(), pools.pop()
            pools.append(((a * n + b * m) / (n + m), n + m))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
