"""The libraries of ``mmkit[serve]``, or what to do where they are not there."""

from importlib.util import find_spec

from mmkit.errors import MmkitError

LIBRARIES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
}


def check_libraries() -> None:
    """Say what is missing before anything is loaded.

    Raises:
        MmkitError: with the command that installs it.
    """
    missing = [name for module, name in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise MmkitError(f"mmkit serve needs {', '.join(missing)}, not installed here: pip install 'mmkit[serve]'")
