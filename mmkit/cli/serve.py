"""The command that puts a model behind an HTTP address."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.model import Device, Folder, open_model, staying
from mmkit.errors import MmkitError

if TYPE_CHECKING:
    from socket import socket

    from mmkit.serve.run import Address
    from mmkit.serve.settings import Settings

_File = Optional[Path]  # noqa: UP045
_Names = Optional[list[str]]  # noqa: UP045
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")]
Name = Annotated[str, typer.Option(help="What clients call the model; default: name of the folder.")]
KeyFile = Annotated[_File, typer.Option(metavar="FILE", help="API keys, one a line; also MMKIT_API_KEYS, with commas.")]
Rate = Annotated[int, typer.Option(min=0, help="Of a key, or an address; 0: no limit.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="Longest time of a request.")]
Drain = Annotated[float, typer.Option(min=0, help="For requests to end after SIGTERM.")]
Body = Annotated[float, typer.Option(metavar="MIB", min=0.001, help="Largest body of a request.")]
Tokens = Annotated[int, typer.Option(min=1, help="Longest input.")]
NewTokens = Annotated[int, typer.Option(min=1, help="Most that a request may ask for.")]
Queue = Annotated[int, typer.Option(min=1, help="Requests at once; further ones get 429.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Requests that are predicted at once.")]
Streams = Annotated[int, typer.Option(min=1, help="Answers that are streamed at once.")]
Features = Annotated[
    float, typer.Option(metavar="MIB", min=0, help="Memory for features of media that were seen before.")
]
Urls = Annotated[_Names, typer.Option(metavar="HOST", help="Fetch URLs of this host; may be repeated.")]
Origins = Annotated[_Names, typer.Option(metavar="ORIGIN", help="Pages of this origin may ask; may be repeated.")]
Certificate = Annotated[_File, typer.Option(metavar="PEM", help="Certificate: speak HTTPS.")]
CertificateKey = Annotated[_File, typer.Option(metavar="PEM", help="Its key.")]
Quantize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="KIND", help="int8 or nf4: linear layers of backbones and encoders in fewer bits, in less memory."
    ),
]
Details = Annotated[
    bool, typer.Option("--log-details", help="Messages of errors into the log; they may hold what was sent.")
]


def serve(
    folder: Folder,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    name: Name = "",
    api_key_file: KeyFile = None,
    requests_per_minute: Rate = 0,
    seconds: Seconds = 60,
    drain_seconds: Drain = 30,
    max_body: Body = 32,
    max_tokens: Tokens = 8192,
    max_new_tokens: NewTokens = 2048,
    queue: Queue = 256,
    batch: BatchSize = 64,
    streams: Streams = 16,
    feature_cache: Features = 0,
    allow_urls: Urls = None,
    cors: Origins = None,
    ssl_certfile: Certificate = None,
    ssl_keyfile: CertificateKey = None,
    log_details: Details = False,
    device: Device = None,
    quantize: Quantize = None,
) -> None:
    """Serve a saved model by the HTTP API of OpenAI."""
    from mmkit.cli.progress import bars
    from mmkit.serve.keys import read_keys
    from mmkit.serve.needs import check_libraries
    from mmkit.serve.settings import MEBIBYTE, Settings

    check_libraries()
    _check_files(ssl_certfile, ssl_keyfile)
    settings = Settings(
        name=_name(name or folder.resolve().name),
        keys=read_keys(api_key_file, os.environ.get("MMKIT_API_KEYS", "")),
        requests_per_minute=requests_per_minute,
        seconds=seconds,
        drain_seconds=drain_seconds,
        max_body=int(max_body * MEBIBYTE),
        max_buffered=int(8 * max_body * MEBIBYTE),
        max_tokens=max_tokens,
        max_new_tokens=max_new_tokens,
        queue_requests=queue,
        batch_requests=batch,
        streams=streams,
        feature_cache=int(feature_cache * MEBIBYTE),
        url_hosts=tuple(allow_urls or ()),
        origins=tuple(cors or ()),
        log_details=log_details,
    )
    with staying(frozen=True):
        from mmkit.serve.run import Address, serve

        address = Address(host, port, ssl_certfile, ssl_keyfile)
        settings, bound = _place(settings, address)
        with bars() as shown:
            shown.wait("loading the model")
            model = open_model(folder, device, quantize)
    serve(model, settings, address, typer.echo, bound)


def _place(settings: "Settings", address: "Address") -> "tuple[Settings, socket]":
    """Where it listens, and the settings for that."""
    from dataclasses import replace

    from mmkit.serve.run import LOOPBACK

    if address.local:
        settings = replace(settings, hosts=LOOPBACK)
    elif not settings.keys:
        typer.echo(f"warning: whoever reaches {address.host} may ask: there are no API keys (--api-key-file)", err=True)
    return settings, address.bound()


def _check_files(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise MmkitError("--ssl-certfile and --ssl-keyfile belong together: give both, or neither")
    for option, file in (("--ssl-certfile", certificate), ("--ssl-keyfile", key)):
        if file is not None and not file.is_file():
            raise MmkitError(f"{option} {file}: there is no such file")


def _name(name: str) -> str:
    if "/" in name or not name.isprintable() or len(name) > 100:
        raise MmkitError(f"--name {name!r} cannot be a model's name: no slash, at most 100 signs")
    return name
