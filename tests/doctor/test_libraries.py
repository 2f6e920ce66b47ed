"""Libraries are imported in another process: one that fails, ends it or hangs is named, and the rest goes on."""

import os
from pathlib import Path

import pytest

from mmkit.doctor.finding import Finding
from mmkit.doctor.libraries import library
from mmkit.doctor.packages import Package
from mmkit.doctor.probe import probe

TORCH = Package("torch", "2.14.1", build="2.14.1+cpu")
AUDIO = Package("torchaudio", "2.11.0", build="2.11.0+cu130")
TIMM = Package("timm", "1.0.31")
MISSING = "OSError: libcudart.so.13: cannot open shared object file"


def test_a_library_that_is_imported() -> None:
    assert library(TORCH, TORCH, {"version": "2.14.1", "seconds": 1.52}) == Finding(
        "torch", "ok", "2.14.1+cpu, imported in 1.5 s"
    )
    assert library(TIMM, None, {"version": "1.0.31", "seconds": 6.0}) == Finding(
        "timm", "note", "1.0.31, imported in 6.0 s: the machine is busy, or its disk is slow"
    )


def test_one_that_does_not_fit_torch_says_so_first_and_what_it_leads_to() -> None:
    text = "2.11.0+cu130 is built for CUDA 13, torch 2.14.1+cpu for the CPU"
    fix = "install torch, torchvision and torchaudio from one index of PyTorch, the one that ends in cpu"
    assert library(AUDIO, TORCH, {"seconds": 0.1}) == Finding("torchaudio", "problem", text, fix)
    assert library(AUDIO, TORCH, {"seconds": 0.1, "error": MISSING}) == Finding(
        "torchaudio", "problem", f"{text}; it cannot be imported: {MISSING}", fix
    )


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        ("ImportError: no name", "pip install --force-reinstall 'timm==1.0.31'"),
        (
            MISSING,
            "pip install --force-reinstall 'timm==1.0.31'; a library of the system is missing, or of another version "
            "than the one it was built for",
        ),
        (
            "it was not there after 10 s",
            "see whether the machine is busy or its disk slow: python -X importtime -c 'import timm'",
        ),
    ],
)
def test_one_that_cannot_be_imported_has_a_cure(error: str, fix: str) -> None:
    assert library(TIMM, TORCH, {"error": error}) == Finding(
        "timm", "problem", f"1.0.31 cannot be imported: {error}", fix
    )


def test_the_others_are_imported_whatever_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "fine": "__version__ = '1'\nprint('noise')\n",
        "broken": "raise OSError('no such library\\nand more')\n",
        "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "exits": "import sys\nsys.exit(3)\n",
        "hangs": "import time\ntime.sleep(60)\n",
        "last": "__version__ = '2'\n",
    }
    for name, code in files.items():
        (tmp_path / f"library_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {answer["step"]: answer for answer in probe([f"library_{name}" for name in files], patience=2)}
    assert [found[f"library_{name}"].get("version") for name in files] == ["1", None, None, None, None, "2"]
    assert {name: found[f"library_{name}"].get("error") for name in list(files)[1:5]} == {
        "broken": "OSError: no such library",
        "crashes": "it ends the process (signal SIGSEGV)",
        "exits": "it ends the process (exit code 3)",
        "hangs": "it was not there after 2 s",
    }


def test_torch_says_what_it_can_use() -> None:
    (found,) = probe(["accelerator"], patience=60)
    assert found["threads"] == int(os.environ["OMP_NUM_THREADS"])
    assert {"cuda", "rocm", "mps", "kernels", "devices", "said"} < found.keys()
