"""torchaudio, imported only where it is used: it refuses to load beside a torch that it was not built for."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from mmkit import PluginError

FITS = "torch==2.14.1 torchvision==0.29.1 torchaudio==2.11.0"


def conformer_class() -> Any:
    """``torchaudio.models.Conformer``.

    Raises:
        PluginError: torchaudio is not installed, or does not load beside this torch.
    """
    try:
        from torchaudio.models import Conformer
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        lines = str(error).splitlines() or [""]
        raise PluginError(
            f"conformer needs torchaudio, which does not load: {type(error).__name__}: {lines[0]}\n"
            f"    got: torchaudio {_version('torchaudio')} beside torch {torch.__version__}\n"
            f"    fix: install builds for one CUDA version; seen to work together: pip install {FITS}"
        ) from None
    return Conformer


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
