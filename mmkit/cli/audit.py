"""The command that attacks a model."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from mmkit.cli.model import Device, Folder, open_model, tasks_of
from mmkit.cli.output import note, print_json, show


def audit(
    folder: Folder,
    task: Annotated[str, typer.Option(help="Name of the task.", autocompletion=tasks_of)],
    members: Annotated[Path, typer.Option(metavar="FILE", help="Rows that the model was trained on.")],
    others: Annotated[Path, typer.Option(metavar="FILE", help="Rows of the same kind that it was not trained on.")],
    reference: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Saved model of the same task that was trained on other rows, to calibrate."),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Most rows of each file.")] = None,  # noqa: UP045
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """How well an attacker can tell which rows a model was trained on."""
    from mmkit.cli.progress import bars

    with bars() as shown:
        shown.wait("loading the model")
        model = open_model(folder, device)
        calibration = open_model(reference, device) if reference else None
        shown.wait("attacking it")
        from mmkit.audit import audit as run

        found = run(model, task, members, others, reference=calibration, limit=limit)
    if as_json:
        print_json({**asdict(found), "words": found.words()})
        return
    rows = [
        (name, label, f"{figure.value:.3f}", f"{figure.low:.3f} – {figure.high:.3f}")
        for name, figures in found.attacks.items()
        for label, figure in figures.items()
    ]
    show(("attack", "figure", "value", "95% interval"), rows, numbers=("value",))
    note(
        f"{found.members:,} members with a mean loss of {found.losses[0]:.3f}, {found.others:,} others with {found.losses[1]:.3f}"
    )
    for line in found.words():
        note(line)
