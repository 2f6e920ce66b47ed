"""The commands that bring models out of mmkit, and those of others in."""

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from mmkit.cli.model import Folder, open_model, tasks_of

HELP = {"help_option_names": ["--help", "-h"]}
export = typer.Typer(help="Write a saved model as other programs read it.", context_settings=HELP, no_args_is_help=True)
bring = typer.Typer(
    help="Make a saved model of what other programs wrote.", context_settings=HELP, no_args_is_help=True
)
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not be there yet.")]


@export.command("hf")
def export_hf(
    folder: Folder,
    out: Out,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Meant where inputs name none; default: the first that generates.", autocompletion=tasks_of),
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Leave the spec's sections data and train out.")] = False,
    push: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME/REPO", help="Then upload OUT to this repository of the Hugging Face hub."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: a repository that only you see.")] = False,
    license: Annotated[  # noqa: A002
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="For the card, as the hub calls it: apache-2.0, mit, cc-by-4.0, other …"),
    ] = None,
    license_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="With --license other: its name."),
    ] = None,
    license_link: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="LINK", help="With --license other: its address, or LICENSE, a file that you add."),
    ] = None,
) -> None:
    """A folder of transformers: AutoModel, AutoProcessor, generate, Trainer, peft, pipeline; with a model card."""
    from mmkit.errors import MmkitError
    from mmkit.exchange.card_license import license_of
    from mmkit.exchange.hf_export import export_hf as write
    from mmkit.training.figures import FIGURES, kept

    if private and push is None:
        raise MmkitError("--private says what kind of repository --push makes; name one: --push NAME/REPO --private")
    stated = license_of(license, license_name, license_link)
    _quiet()
    if push is not None:
        from mmkit.exchange.hf_push import require_hub

        require_hub(push)
    model, figures = open_model(folder, "cpu"), kept(folder)
    if figures is None:
        typer.echo(f"{folder / FIGURES} is of an older model and not shown; mmkit evaluate {folder} --keep", err=True)
    count = write(
        model,
        out,
        task=task,
        bare=bare,
        figures=figures or (),
        name=push,
        license=license,
        license_name=license_name,
        license_link=license_link,
    )
    typer.echo(f"read back: {count} tensors, bit for bit", err=True)
    if push is not None:
        _push(out, push, private, stated)
    typer.echo(out)


Tasks = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--task", help="Name of a task, several times for several; default: all that can.", autocompletion=tasks_of
    ),
]


@export.command("torch")
def export_torch(folder: Folder, out: Out, task: Tasks = None) -> None:
    """A file of torch.export for each task that answers in one pass, run again and compared; used without mmkit."""
    _graphs(folder, out, "torch", task)


@export.command("onnx")
def export_onnx(folder: Folder, out: Out, task: Tasks = None) -> None:
    """A file of ONNX for each task that answers in one pass, run with onnxruntime and compared; used without mmkit."""
    _graphs(folder, out, "onnx", task)


def _graphs(folder: Path, out: Path, form: Literal["torch", "onnx"], tasks: list[str] | None) -> None:
    from mmkit.exchange.graph_export import export_graphs

    _quiet()
    done, left = export_graphs(open_model(folder, "cpu"), out, form, tasks or ())
    for task, reason in left.items():
        typer.echo(f"left out: task {task!r}: {reason}", err=True)
    for one in done:
        typer.echo(
            f"read back and run: {one.file}, {one.rows} samples ({one.source}), largest difference {one.difference:.1e}",
            err=True,
        )
    typer.echo(out)


def _push(out: Path, repo: str, private: bool, stated: Any) -> None:
    """Upload what is written; it stays, whatever happens."""
    from mmkit.errors import MmkitError
    from mmkit.exchange.hf_push import push

    try:
        done = push(out, repo, private=private or None, stated=stated)
    except MmkitError as error:
        again = f"hf upload {repo} {out}" + " --private" * private
        raise MmkitError(f"{error}\n  {out} is written and stays; later: {again}") from error.__cause__
    typer.echo(f"uploaded to {done.url}", err=True)
    if done.card_stays:
        stays = f"which stays, with license: {stated.id}" if stated is not None else "which stays"
        typer.echo(f"{repo} has a card already, {stays}; the new one is {out / 'README.md'}", err=True)


@bring.command("hf")
def import_hf(
    folder: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of transformers.")], out: Out
) -> None:
    """A model of mmkit out of a folder of transformers: one that mmkit exported, or of a type that a plugin imports."""
    from mmkit.exchange.imports import bring_in as read

    _quiet()
    read(folder, out)
    typer.echo(out)


def _quiet() -> None:
    """No progress bars of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
