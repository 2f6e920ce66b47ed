"""Diagrams of concepts.md."""

import re
from pathlib import Path

import yaml

from docs.drawing.canvas import Canvas
from mmkit.discovery import discover
from mmkit.wiring.planner import plan
from mmkit.wiring.svg import to_svg

DOCS = Path(__file__).parents[1]
SPEC = re.compile(r"^```yaml[^\n]*\n(mmkit: 1\n.*?)^```", re.MULTILINE | re.DOTALL)


def stream() -> str:
    """A picture and a text become one sequence of tokens."""
    drawn = Canvas(760, 330, "A picture and a text become the tokens of one stream, which the backbone reads")
    drawn.text(150, 18, "data worker, CPU", size=11)
    drawn.text(520, 18, "accelerator, all items of the batch at once", size=11)
    drawn.line((278, 8), (278, 180), dots=True)
    drawn.box(10, 30, 90, 42, "picture")
    drawn.arrow((100, 51), (150, 51))
    drawn.box(150, 30, 100, 42, "Processor", "blue")
    drawn.arrow((250, 51), (310, 51), words="item")
    drawn.box(310, 30, 100, 42, "Encoder", "blue")
    drawn.arrow((410, 51), (480, 51), words="features")
    drawn.box(480, 30, 110, 42, "SoftAdapter", "green")
    drawn.arrow((590, 51), (650, 51))
    drawn.box(650, 30, 100, 42, "16 vectors", "green")
    drawn.box(10, 110, 130, 42, "“Describe …”")
    drawn.arrow((140, 131), (160, 131))
    drawn.box(160, 110, 108, 42, "Vocabulary", "yellow", "Adapter")
    drawn.arrow((268, 131), (480, 131), words="4 ids")
    drawn.box(480, 110, 110, 42, "embedding", "orange", "of the backbone")
    drawn.arrow((590, 131), (650, 131))
    drawn.box(650, 110, 100, 42, "4 vectors", "yellow")
    for index in range(20):
        drawn.cell(180 + 20 * index, 200, 20, 24, "green" if index < 16 else "yellow")
    drawn.text(170, 217, "the stream: 20 tokens", "end")
    drawn.line((700, 152), (700, 174), (540, 174))
    drawn.arrow((540, 174), (540, 198))
    drawn.line((750, 51), (756, 51), (756, 184), (340, 184))
    drawn.arrow((340, 184), (340, 198))
    drawn.arrow((380, 224), (380, 262))
    drawn.box(320, 262, 120, 42, "Backbone", "orange")
    drawn.arrow((440, 283), (530, 283), words="hidden states")
    drawn.box(530, 262, 100, 42, "TaskHead", "violet")
    drawn.arrow((630, 283), (660, 283))
    drawn.box(660, 262, 90, 42, "loss, or", "plain", "prediction")
    return str(drawn)


def ragged() -> str:
    """Three items padded, and packed."""
    drawn = Canvas(640, 190, "Three items of 3, 1 and 2 rows: padded to a rectangle, and packed end to end")
    sizes, colours = [3, 1, 2], ["blue", "green", "yellow"]
    drawn.text(100, 18, "padded: 9 rows for 6")
    drawn.text(430, 18, "packed: Ragged")
    for item, (size, colour) in enumerate(zip(sizes, colours, strict=True)):
        for row in range(3):
            place = (40 + 40 * row, 34 + 34 * item)
            drawn.cell(*place, 40, 34, colour if row < size else "")
            if row >= size:
                drawn.line((place[0], place[1] + 34), (place[0] + 40, place[1]))
    row = 0
    for size, colour in zip(sizes, colours, strict=True):
        for index in range(size):
            drawn.cell(300 + 44 * row, 50, 44, 34, colour, str(index))
            row += 1
    drawn.text(290, 72, "positions", "end", size=11)
    drawn.text(290, 112, "segments", "end", size=11)
    drawn.text(290, 150, "offsets", "end", size=11)
    segments = [item for item, size in enumerate(sizes) for _ in range(size)]
    for place, item in enumerate(segments):
        drawn.text(322 + 44 * place, 112, str(item))
    for offset in (0, 3, 4, 6):
        drawn.line((300 + 44 * offset, 88), (300 + 44 * offset, 134), dots=True)
        drawn.text(300 + 44 * offset, 150, str(offset))
    drawn.text(432, 180, "lengths [3, 1, 2], always on the CPU", size=11)
    return str(drawn)


def graph(page: str) -> str:
    """What ``mmkit inspect --svg`` draws of the first spec of a page."""
    text = (DOCS / page).read_text("utf-8")
    return to_svg(plan(yaml.safe_load(SPEC.findall(text)[0]), discover()))


def stages() -> str:
    """Which nodes train in which stage."""
    drawn = Canvas(560, 236, "In stage align only image.adapter trains; in stage tune all but the heads do")
    nodes = ["image.encoder", "image.adapter", "backbone", "shape.head"]
    trains = {"align": {"image.adapter"}, "tune": {"image.encoder", "image.adapter", "backbone"}}
    for column, (stage, names) in enumerate(trains.items()):
        x = 150 + 200 * column
        drawn.text(x + 80, 20, f"stage {stage}")
        for row, node in enumerate(nodes):
            free = node in names
            drawn.box(x, 34 + 48 * row, 160, 38, "trains" if free else "frozen", "orange" if free else "plain")
        if column:
            drawn.arrow((x - 40, 127), (x, 127))
    for row, node in enumerate(nodes):
        drawn.text(140, 57 + 48 * row, node, "end")
    return str(drawn)
