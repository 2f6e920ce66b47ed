"""The plan as a graph of boxes and arrows, and as Mermaid text. Imports no torch."""

from dataclasses import dataclass

from mmkit.spec.template import Literal
from mmkit.wiring.graph import ModalityPlan, Plan, TaskPlan

COLOURS = {
    "raw": "#f1f3f5",
    "encoder": "#d0ebff",
    "adapter": "#d3f9d8",
    "vocabulary": "#fff3bf",
    "continuous": "#c5f6fa",
    "backbone": "#ffe8cc",
    "head": "#e5dbff",
}
INK, LINE = "#212529", "#868e96"


@dataclass(frozen=True)
class Box:
    """A node of the picture; ``kind`` is the component's, or ``raw`` for the values of a modality."""

    name: str
    component: str
    kind: str


@dataclass(frozen=True)
class Arrow:
    """Values flow from one box to another; ``spells``: a head writes its answers with a vocabulary or a
    continuous adapter."""

    source: str
    target: str
    spells: bool = False


@dataclass(frozen=True)
class Graph:
    """Boxes in the order of the flow, and arrows."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def into(self, name: str) -> list[Arrow]:
        """Arrows that end at a box."""
        return [arrow for arrow in self.arrows if arrow.target == name]

    def unread(self) -> list[str]:
        """Boxes that nothing reads, though they are no head."""
        read = {arrow.source for arrow in self.arrows}
        return [box.name for box in self.boxes if box.kind != "head" and box.name not in read]


def graph(plan: Plan) -> Graph:
    """What flows where when all tasks of the plan run."""
    arrows: dict[Arrow, None] = {}
    for modality in plan.modalities.values():
        if modality.encoder:
            arrows[Arrow(f"{modality.name} (raw)", f"{modality.name}.encoder")] = None
            if modality.adapter:
                arrows[Arrow(f"{modality.name}.encoder", f"{modality.name}.adapter")] = None
    for task in plan.tasks.values():
        arrows |= dict.fromkeys(_of_task(plan, task))
    kinds = {placed.node: placed.component for placed in plan.placed()}
    names = [p.node for p in plan.placed()]
    names += [name for arrow in arrows for name in (arrow.source, arrow.target)]
    boxes = [
        Box(name, kinds[name].name if name in kinds else "", kinds[name].kind if name in kinds else "raw")
        for name in _in_flow(list(dict.fromkeys(names)), list(arrows))
    ]
    return Graph(tuple(boxes), tuple(arrows))


def edges(plan: Plan) -> list[tuple[str, str]]:
    """Source and target of every arrow that values flow along."""
    return [(arrow.source, arrow.target) for arrow in graph(plan).arrows if not arrow.spells]


def _of_task(plan: Plan, task: TaskPlan) -> list[Arrow]:
    """The arrows that a task needs: from its head back to raw values."""
    found = [Arrow(node, task.head.node) for node in task.reads]
    queue, seen = list(task.reads), set(task.reads)
    while queue:
        node = queue.pop(0)
        if node not in plan.backbones:
            continue
        reads = plan.backbones[node].reads
        for source, adapter in reads:
            found += [Arrow(source, adapter.node), Arrow(adapter.node, node)] if adapter else [Arrow(source, node)]
            if source not in seen:
                seen.add(source)
                queue.append(source)
        if not reads:
            found += _stream(plan, task, node)
    if task.by_adapter:
        found += [Arrow(f"{name}.adapter", task.head.node, spells=True) for name in task.output_modalities]
    return found


def _stream(plan: Plan, task: TaskPlan, backbone: str) -> list[Arrow]:
    """What the task's template puts into the stream."""
    found = []
    for name in dict.fromkeys(task.modality_of.values()):
        modality = plan.modalities[name]
        if modality.vocabulary:
            found.append(Arrow(f"{name} (raw)", f"{name}.adapter"))
        found.append(Arrow(_last(modality), backbone))
    if plan.literals is not None and any(isinstance(part, Literal) for part in task.parts):
        found.append(Arrow(f"{plan.literals}.adapter", backbone))
    return found


def _last(modality: ModalityPlan) -> str:
    return f"{modality.name}.adapter" if modality.vocabulary else modality.node


def _in_flow(names: list[str], arrows: list[Arrow]) -> list[str]:
    """Names ordered so that every arrow points forward; otherwise the given order."""
    sources: dict[str, list[str]] = {name: [] for name in names}
    for arrow in arrows:
        sources[arrow.target].append(arrow.source)
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for source in sources[name]:
                visit(source)
            order[name] = None

    for name in names:
        visit(name)
    return list(order)


def to_mermaid(plan: Plan) -> str:
    """A ``graph LR`` that renders on GitHub and in MkDocs; dotted arrows lead from the adapter that
    writes its answers to a head."""
    drawn = graph(plan)
    ids = {box.name: f"n{index}" for index, box in enumerate(drawn.boxes)}
    lines = ["graph LR"]
    for box in drawn.boxes:
        text = f"{box.name}<br/><i>{box.component}</i>" if box.component else box.name
        lines.append(f'  {ids[box.name]}["{text}"]:::{box.kind}')
    for arrow in drawn.arrows:
        lines.append(f"  {ids[arrow.source]} {'-.->' if arrow.spells else '-->'} {ids[arrow.target]}")
    used = {box.kind for box in drawn.boxes}
    for kind, colour in COLOURS.items():
        if kind in used:
            lines.append(f"  classDef {kind} fill:{colour},stroke:{LINE},color:{INK}")
    return "\n".join(lines)
