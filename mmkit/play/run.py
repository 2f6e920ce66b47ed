"""Opening the page: nothing is sent to other hosts, and no file of the machine can be read through it."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmkit.errors import MmkitError
from mmkit.model.model import Model

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' data: blob:; frame-ancestors 'self'"
)
"""Browsers load nothing from other hosts, whatever Gradio's own page names."""


def check_library() -> None:
    """Raises MmkitError where Gradio is missing."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise MmkitError("mmkit play needs Gradio, which is not installed: pip install 'mmkit[play]'") from None


def launch(model: Model, title: str, folder: Path, host: str, port: int, upload_mib: float) -> tuple[Any, str]:
    """Start the page in threads of this process; gives it, with ``close()``, and its address.

    Args:
        folder: for uploads and answers, of this page alone. port: 0: any that is free.

    Raises:
        MmkitError: Gradio is missing, or the address cannot be listened on.
    """
    check_library()
    os.environ["GRADIO_TEMP_DIR"] = str(folder.resolve())
    import gradio as gr

    from mmkit.play.page import CSS, page

    blocks, _ = page(model, folder, title)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _app, address, _ = blocks.launch(
            server_name=host, server_port=port or _free(host), prevent_thread_lock=True, quiet=True, share=False,
            show_error=False, max_file_size=int(upload_mib * 2**20), allowed_paths=[], footer_links=[], ssr_mode=False,
            pwa=False, mcp_server=False, enable_monitoring=False, theme=theme, css=CSS, inbrowser=False,
            app_kwargs={"middleware": [_policy()]},
        )  # fmt: skip
    except OSError as error:
        raise MmkitError(f"cannot listen on {host}:{port}: {error}; choose another with --port, or --port 0") from None
    return blocks, address


def _policy() -> Any:
    """A middleware that adds ``POLICY`` to answers."""
    from starlette.middleware import Middleware

    return Middleware(_Policy)


class _Policy:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self.app(scope, receive, sent)


def _free(host: str) -> int:
    import socket

    with socket.socket() as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])


def serve_page(model: Model, title: str, host: str, port: int, upload_mib: float, say: Callable[[str], None]) -> None:
    """Open the page, say its address, and stay until Ctrl+C or SIGTERM; uploads are deleted then."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="mmkit-play-") as folder:
        blocks, address = launch(model, title, Path(folder), host, port, upload_mib)
        say(f"{title} is at {address}  (Ctrl+C ends it)")
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)
