"""``mmkit serve``: what is said before anything is served."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mmkit.cli import main
from mmkit.cli.serve import serve as command
from mmkit.serve import run
from mmkit.serve.run import Address
from mmkit.serve.settings import Settings


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(["serve", *arguments])
    return int(left.value.code or 0), capsys.readouterr().err.strip()


def test_a_folder_that_is_no_model_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said(capsys, str(tmp_path), "--port", "0") == (
        2,
        f"error: {tmp_path} is not a saved mmkit model: it has no manifest.json",
    )


def test_a_missing_library_is_named_with_the_extra(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkit.serve.needs.find_spec", lambda name: None if name == "uvicorn" else name)
    text = "error: mmkit serve needs uvicorn, not installed here: pip install 'mmkit[serve]'"
    assert said(capsys, str(tmp_path)) == (2, text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--ssl-keyfile", "k"], "--ssl-certfile and --ssl-keyfile belong together: give both, or neither"),
        (["--name", "a/b"], "--name 'a/b' cannot be a model's name: no slash, at most 100 signs"),
        (["--ssl-keyfile", "no", "--ssl-certfile", "none"], "--ssl-certfile none: there is no such file"),
    ],
)
def test_options_that_do_not_fit_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], text: str
) -> None:
    assert said(capsys, str(tmp_path), *options) == (2, f"error: {text}")


def test_options_become_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[Any] = []
    monkeypatch.setattr("mmkit.cli.serve.open_model", lambda folder, device, quantize: f"model in {quantize}")
    monkeypatch.setattr(run, "serve", lambda *given: found.append(given[:3]))
    monkeypatch.setenv("MMKIT_API_KEYS", "")
    folder = tmp_path / "captions"
    assert said(
        capsys,
        str(folder),
        "--port",
        "0",
        "--max-body",
        "1",
        "--allow-urls",
        "a.example",
        "--allow-urls",
        "b.example",
        "--quantize",
        "int8",
    ) == (
        0,
        "",
    )
    expected = Settings(name="captions", max_body=2**20, max_buffered=2**23, url_hosts=("a.example", "b.example"),
                        hosts=("localhost", "127.0.0.1", "[::1]"))  # fmt: skip
    assert found.pop() == ("model in int8", expected, Address(port=0))
    warning = "warning: whoever reaches 0.0.0.0 may ask: there are no API keys (--api-key-file)"
    assert said(capsys, str(folder), "--host", "0.0.0.0", "--port", "0") == (0, warning)
    _, settings, address = found.pop()
    assert (settings.hosts, address) == ((), Address("0.0.0.0", 0))


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = f"cannot listen at 127.0.0.1:{port}: Address already in use; choose another --port or --host"
        assert said(capsys, str(tmp_path), "--port", str(port)) == (1, f"error: {text}")


def test_addresses_are_written_as_clients_need_them() -> None:
    assert Address().url(8000) == "http://127.0.0.1:8000"
    assert Address("::1", certificate=Path("c")).url(1) == "https://[::1]:1"


def test_the_command_imports_neither_torch_nor_fastapi_to_be_listed() -> None:
    import subprocess

    code = "import sys, mmkit.cli.app; print([m for m in ('torch', 'fastapi', 'uvicorn', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert command.__doc__ == "Serve a saved model by the HTTP API of OpenAI."
