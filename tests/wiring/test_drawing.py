"""The graph: only what the tasks use, every arrow forward, no box over another, nothing under a box."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from mmkit.discovery import discover
from mmkit.wiring.draw import Arrow, edges, graph, to_mermaid
from mmkit.wiring.graph import Plan
from mmkit.wiring.layout import BEND_HEIGHT, HEIGHT, layout
from mmkit.wiring.planner import plan
from mmkit.wiring.svg import to_svg

RECIPES = Path(__file__).parents[2] / "recipes"
SVG = "{http://www.w3.org/2000/svg}"
NODES: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "image": {"encoder": {"use": "cnn"}, "adapter": "linear"},
        "audio": {"encoder": {"use": "log-mel"}, "adapter": {"use": "stack"}},
        "text": {"adapter": "words"},
        "letters": {"adapter": "characters"},
    },
    "backbone": "lstm",
    "nodes": {
        "talker": {
            "backbone": {"use": "lstm"},
            "reads": [{"node": "backbone", "adapter": "linear"}, {"node": "audio.adapter", "adapter": "linear"}],
        },
        "judge": {"backbone": {"use": "transformer"}, "reads": [{"node": "talker"}, {"node": "image.encoder"}]},
    },
    "tasks": {
        "caption": {"input": "{image} What?", "output": "{said}", "columns": {"said": "text"}, "head": "generate"},
        "speak": {
            "input": "{audio}", "output": "{said}", "columns": {"said": "letters"}, "reads": "talker", "head": "generate",
        },
        "good": {"input": "{text}{image}", "reads": "judge", "output": "{l}", "head": {"use": "classify", "labels": ["a", "b"]}},
        "match": {"input": "{image}{audio}", "reads": ["image.encoder", "audio.encoder"], "head": "contrastive"},
    },
}  # fmt: skip


def planned(spec: Any) -> Plan:
    return plan(spec, discover())


PLANS = {"nodes": NODES, "quickstart": RECIPES / "quickstart" / "spec.yaml"}


def test_arrows_follow_the_tasks() -> None:
    drawn = graph(planned(NODES))
    assert Arrow("text.adapter", "backbone") in drawn.arrows  # the template's own words
    assert Arrow("letters.adapter", "speak.head", spells=True) in drawn.arrows
    assert "letters (raw)" not in [box.name for box in drawn.boxes]
    assert ("talker.reads0", "talker") in edges(planned(NODES))
    assert ("letters.adapter", "speak.head") not in edges(planned(NODES))
    assert drawn.unread() == []
    places = {box.name: index for index, box in enumerate(drawn.boxes)}
    assert all(places[arrow.source] < places[arrow.target] for arrow in drawn.arrows)


def test_what_no_task_reads_is_known() -> None:
    assert graph(planned(PLANS["quickstart"])).unread() == []
    spec = yaml.safe_load(PLANS["quickstart"].read_text("utf-8"))
    spec["modalities"]["audio"]["adapter"] = "linear"
    assert graph(planned(spec)).unread() == ["audio.adapter"]


def test_mermaid_has_every_box_and_arrow_and_colours_for_any_page() -> None:
    text = to_mermaid(planned(NODES))
    drawn = graph(planned(NODES))
    lines = text.splitlines()
    assert lines[0] == "graph LR"
    assert sum('["' in line for line in lines) == len(drawn.boxes)
    assert sum("-->" in line for line in lines) == sum(not arrow.spells for arrow in drawn.arrows)
    assert sum("-.->" in line for line in lines) == sum(arrow.spells for arrow in drawn.arrows)
    assert {line.split()[1] for line in lines if "classDef" in line} == {box.kind for box in drawn.boxes}
    assert all("color:#212529" in line for line in lines if "classDef" in line)


@pytest.mark.parametrize("name", PLANS)
def test_no_two_boxes_or_bends_touch_and_arrows_point_right(name: str) -> None:
    placed = layout(graph(planned(PLANS[name])))
    for row in placed.rows:
        ordered = sorted(row, key=lambda item: placed.y[item])
        for above, below in pairwise(ordered):
            halves = sum(HEIGHT if isinstance(item, str) else BEND_HEIGHT for item in (above, below)) / 2
            assert placed.y[below] - placed.y[above] >= halves + 10
    for way in placed.ways.values():
        columns = [placed.column[step] for step in way]
        assert columns == list(range(columns[0], columns[-1] + 1))
    heads = {placed.column[box.name] for box in graph(planned(PLANS[name])).boxes if box.kind == "head"}
    assert heads == {len(placed.rows) - 1}


@pytest.mark.parametrize("name", PLANS)
def test_the_picture_fits_its_frame_and_names_fit_their_boxes(name: str) -> None:
    root = ElementTree.fromstring(to_svg(planned(PLANS[name])))
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    boxes = root.findall(f".//{SVG}rect")
    assert len(boxes) == len(graph(planned(PLANS[name])).boxes)  # no background: any page shows through
    for box in boxes:
        x, y, wide, high = (float(box.attrib[side]) for side in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + wide <= width + 0.5
        assert y + high <= height + 0.5
    for group in root.findall(f"{SVG}g"):
        wide = float(group.findall(f"{SVG}rect")[0].attrib["width"])
        for text in group.findall(f"{SVG}text"):
            assert 6 * len(text.text or "") < wide


def test_names_are_escaped_and_long_ones_are_cut() -> None:
    spec = {**NODES, "tasks": {"a" * 60: NODES["tasks"]["caption"]}}
    text = to_svg(planned(spec))
    assert "a" * 33 + "…" in text
    assert f"<title>{'a' * 60}.head generate</title>" in text
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;|#)", text)
