"""The plan as edges and as Mermaid text."""

from mmkit.wiring.graph import Plan


def edges(plan: Plan) -> list[tuple[str, str]]:
    """Every connection between named nodes, columns and tasks."""
    found: list[tuple[str, str]] = []
    streamed: set[str] = set()
    for task in plan.tasks.values():
        streamed |= set(task.modality_of.values())
    for modality in plan.modalities.values():
        raw = f"{modality.name} (raw)"
        if modality.vocabulary:
            found.append((raw, f"{modality.name}.adapter"))
        else:
            found.append((raw, f"{modality.name}.encoder"))
            if modality.adapter:
                found.append((f"{modality.name}.encoder", f"{modality.name}.adapter"))
        if "backbone" in plan.backbones and modality.name in streamed:
            last = f"{modality.name}.adapter" if modality.vocabulary else modality.node
            found.append((last, "backbone"))
    for name, backbone in plan.backbones.items():
        for node, adapter in backbone.reads:
            found += [(node, adapter.node), (adapter.node, name)] if adapter else [(node, name)]
    for task in plan.tasks.values():
        found += [(node, task.head.node) for node in task.reads]
    return list(dict.fromkeys(found))


def to_mermaid(plan: Plan) -> str:
    """A ``graph LR`` that renders on GitHub and in MkDocs."""
    names = {p.node: f"{p.node}<br/><i>{p.component.name}</i>" for p in plan.placed()}
    pairs = edges(plan)
    ids = {node: f"n{index}" for index, node in enumerate(dict.fromkeys(n for pair in pairs for n in pair))}
    lines = ["graph LR"]
    lines += [f'  {key}["{names.get(node, node)}"]' for node, key in ids.items()]
    lines += [f"  {ids[a]} --> {ids[b]}" for a, b in pairs]
    return "\n".join(lines)
