"""Commands that look at a spec: check and inspect."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mmkit.cli.output import count, note, print_json, show, write_text

if TYPE_CHECKING:
    from mmkit.wiring.check import NodeReport
    from mmkit.wiring.graph import Plan

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")]
SpecOrModel = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file, or the folder of a saved model.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def check(
    spec: SpecPath,
    static: Annotated[bool, typer.Option("--static", help="Only what needs no torch; in a moment.")] = False,
    flops: Annotated[bool, typer.Option("--flops", help="Count FLOPs, without weights; takes seconds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validate a spec before any weight is read, and say what the model costs."""
    from mmkit.cli.progress import bars
    from mmkit.wiring.check import check as run

    with bars() as shown:
        shown.wait("checking")
        rows = run(spec, static=static, flops=flops)
        private = None if static else _private(spec)
    if as_json:
        print_json(_as_json(rows, static) | ({"privacy": private} if private else {}))
    elif static:
        show(("node", "component"), [(row.node, row.component) for row in rows])
        _notes(rows, [])
    else:
        _table(rows, flops)
        if private:
            note(private)


def _private(spec: Path) -> str | None:
    """What ``train.privacy`` means, where its rows are there."""
    from mmkit.discovery import discover
    from mmkit.errors import DataError
    from mmkit.wiring.planner import plan

    planned = plan(spec, discover())
    if planned.spec.train is None or planned.spec.train.privacy is None:
        return None
    from mmkit.training.privacy.budget import planned_line

    try:
        return planned_line(planned)
    except DataError as error:
        return f"privacy: the noise follows from the number of rows, which is not known here: {error}"


def _table(rows: "Sequence[NodeReport]", counted: bool) -> None:
    stages = list(rows[0].stages)
    same = all(len(set(row.stages.values())) <= 1 for row in rows)
    trained = ["trained"] if same else [f"{stage} trains" for stage in stages]
    columns = ["node", "component", "width", "parameters", *trained, "tokens", "FLOPs", "MB", "MB to train"]
    cells = []
    for row in rows:
        shares = [f"{row.trainable:,}"] if same else [f"{row.stages[stage]:,}" for stage in stages]
        sizes = [f"{row.megabytes:,.1f}", f"{row.training_megabytes:,.1f}"]
        first = [row.node, row.component, str(row.width or ""), f"{row.parameters:,}"]
        cells.append([*first, *shares, _number(row.tokens), _flops(row), *sizes])
    totals = _totals(rows)
    shares = (
        [f"{max(totals['stages'].values(), default=0):,}"] if same else [f"{n:,}" for n in totals["stages"].values()]
    )
    sizes = [f"{totals['megabytes']:,.1f}", f"{totals['training_megabytes']:,.1f}"]
    cells.append(["total", "", "", f"{totals['parameters']:,}", *shares, "", "", *sizes])
    show(columns, cells, numbers=columns[2:], spare=("width", "MB", "FLOPs", "tokens"), total=True)
    items = dict.fromkeys(f"{row.node.partition('.')[0]}: {row.item}" for row in rows if row.item)
    how = "forward; ≈: two per parameter and token" + ("" if counted else " (--flops counts, encoders too)")
    said = [f"tokens: of one item ({', '.join(items)})"] if items else []
    said += [f"FLOPs: {how}", "MB to train: weights, gradients, AdamW's state in the heaviest stage; no activations"]
    _notes(rows, said)


def _notes(rows: "Sequence[NodeReport]", said: Sequence[str]) -> None:
    for line in [*said, *(f"{row.node}: {remark}" for row in rows for remark in row.notes)]:
        note(line)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _flops(row: "NodeReport") -> str:
    if row.flops is None:
        return ""
    return f"{'' if row.flops_counted else '≈ '}{count(row.flops)}/{row.flops_per}"


def _totals(rows: "Sequence[NodeReport]") -> dict[str, Any]:
    return {
        "parameters": sum(row.parameters for row in rows),
        "stages": {stage: sum(row.stages[stage] for row in rows) for stage in (rows[0].stages if rows else ())},
        "megabytes": sum(row.megabytes for row in rows),
        "training_megabytes": sum(row.training_megabytes for row in rows),
    }


def _as_json(rows: "Sequence[NodeReport]", static: bool) -> dict[str, Any]:
    if static:
        return {"nodes": [{"node": row.node, "component": row.component, "notes": row.notes} for row in rows]}
    return {"nodes": [asdict(row) for row in rows], "total": _totals(rows)}


def inspect_spec(
    spec: SpecOrModel,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print only the graph as Mermaid text.")] = False,
    svg: Annotated[Optional[Path], typer.Option(help="Also draw the graph into this file.")] = None,  # noqa: UP045
    as_json: AsJson = False,
) -> None:
    """The graph of a spec or a saved model, as a table, as Mermaid, and as a picture; and the privacy it was trained with."""
    from mmkit.discovery import discover
    from mmkit.errors import MmkitError
    from mmkit.wiring.draw import to_mermaid
    from mmkit.wiring.planner import plan

    if mermaid and as_json:
        raise MmkitError("--mermaid and --json exclude each other: each prints something else")
    private = _spent(spec) if spec.is_dir() else None
    planned = plan(spec / "spec.json" if spec.is_dir() else spec, discover())
    if svg is not None:
        from mmkit.wiring.svg import to_svg

        write_text(svg, to_svg(planned))
        typer.echo(f"wrote {svg}", err=True)
    if mermaid:
        typer.echo(to_mermaid(planned))
    elif as_json:
        print_json(_graph_json(planned) | ({"privacy": private} if private else {}))
    else:
        _graph_table(planned)
        if private:
            from mmkit.training.privacy.budget import said

            note(said(private))


def _spent(folder: Path) -> dict[str, Any] | None:
    """What a saved model says of a private training.

    Raises:
        CheckpointError: this is not the folder of a model.
    """
    from mmkit.model.checkpoint import FORMAT, PRIVACY
    from mmkit.model.folder import read_json, read_manifest

    read_manifest(folder, FORMAT)
    return dict(read_json(folder, PRIVACY)) if (folder / PRIVACY).is_file() else None


def _graph_table(planned: "Plan") -> None:
    from mmkit.wiring.draw import graph

    drawn, placed = graph(planned), {p.node: p.component.full_name for p in planned.placed()}
    rows = []
    for box in drawn.boxes:
        reads = [arrow.source for arrow in drawn.into(box.name) if not arrow.spells]
        spells = [arrow.source for arrow in drawn.into(box.name) if arrow.spells]
        if box.kind != "raw":
            rows.append((box.name, placed[box.name], ", ".join(reads), ", ".join(spells)))
    show(("node", "component", "reads", "spells with"), rows, wrap="reads")
    typer.echo()
    tasks = [(task.name, given.input, given.output or "") for task, given in _tasks(planned)]
    show(("task", "input", "output"), tasks, wrap="input")
    for name in drawn.unread():
        note(f"{name}: no task reads it")


def _tasks(planned: "Plan") -> list[Any]:
    return [(task, planned.spec.tasks[task.name]) for task in planned.tasks.values()]


def _graph_json(planned: "Plan") -> dict[str, Any]:
    from mmkit.wiring.draw import graph

    drawn, placed = graph(planned), {p.node: p.component for p in planned.placed()}
    nodes = [
        {"name": box.name, "kind": box.kind, "component": placed[box.name].full_name if box.name in placed else None}
        for box in drawn.boxes
    ]
    tasks = [
        {"name": task.name, "input": given.input, "output": given.output, "columns": dict(task.modality_of)}
        | {"head": task.head.node, "reads": list(task.reads)}
        for task, given in _tasks(planned)
    ]
    edges = [{"from": arrow.source, "to": arrow.target, "spells": arrow.spells} for arrow in drawn.arrows]
    return {"nodes": nodes, "edges": edges, "tasks": tasks}
