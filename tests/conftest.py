"""Shapes in signatures are enforced in every test; tests use one thread a process."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

_HOOK = install_import_hook(
    ["mmkit.ragged", "mmkit.interfaces", "mmkit.model", "mmkit_text", "mmkit_image", "mmkit_audio", "mmkit_tasks"],
    "beartype.beartype",
)


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache of features."""
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
