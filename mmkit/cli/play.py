"""The command that opens a page to try a model on."""

from typing import Annotated

import typer

from mmkit.cli.model import Device, Folder, open_model


def play(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    max_upload: Annotated[float, typer.Option(metavar="MIB", min=0.001, help="Largest file.")] = 32,
    device: Device = None,
) -> None:
    """Open a page in which a saved model can be tried."""
    from mmkit.cli.progress import bars
    from mmkit.play.run import check_library, serve_page

    with bars() as shown:
        shown.wait("loading the model")
        check_library()
        model = open_model(folder, device)
    serve_page(model, folder.resolve().name, host, port, max_upload, typer.echo)
