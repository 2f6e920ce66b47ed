"""Versions: Python, requirements, extras, and whether torchvision and torchaudio fit torch."""

from collections.abc import Mapping

import pytest

from mmkit.doctor.finding import Finding
from mmkit.doctor.packages import Package, extras, fitting, hardware, misfit, python_version, requirements

HERE = {"torch": "2.14.1", "numpy": "2.0", "optuna": "5.0.0", "mmkit": "0.1.0"}
TORCH = Package("torch", "2.14.1", build="2.14.1+cu130")
INDEX = "install torch, torchvision and torchaudio from one index of PyTorch, the one that ends in "


def own(*requires: str, extras: tuple[str, ...] = ()) -> Package:
    return Package("mmkit", "0.1.0", requires, extras, ">=3.11")


def required(package: Package, versions: Mapping[str, str] = HERE) -> list[Finding]:
    return list(requirements([package], versions.get))


def test_python() -> None:
    assert python_version("3.12.1", own()) == Finding("python", "ok", "3.12.1")
    assert python_version("3.10.0", own()) == Finding(
        "python",
        "problem",
        "3.10.0, and mmkit 0.1.0 needs >=3.11",
        "make a new environment with such a Python, and install mmkit there",
    )


def test_requirements_that_are_met_are_one_line() -> None:
    package = own("torch>=2.11", "numpy", "nothing>=1; python_version < '3'", "optuna>=9; extra == 'tune'")
    assert required(package) == [Finding("requirements", "ok", "all 2 of mmkit 0.1.0")]


def test_a_requirement_that_is_missing_or_too_old_is_named_with_its_command() -> None:
    assert required(own("ray[data]>=2.51", "numpy>=3")) == [
        Finding(
            "requirements",
            "problem",
            "mmkit 0.1.0 needs ray[data]>=2.51, which is not installed",
            "pip install 'ray[data]>=2.51'",
        ),
        Finding("requirements", "problem", "mmkit 0.1.0 needs numpy>=3, installed is 2.0", "pip install 'numpy>=3'"),
    ]


def test_extras_are_there_or_absent_or_too_old() -> None:
    package = own(
        "optuna>=4; extra == 'tune'",
        "wandb; extra == 'wandb'",
        "numpy>=3; extra == 'numbers'",
        "mmkit[tune,wandb]; extra == 'all'",
        extras=("tune", "wandb", "numbers", "all"),
    )
    assert list(extras([package], HERE.get)) == [
        Finding("extra", "ok", "mmkit[tune]: optuna 5.0.0"),
        Finding("extra", "note", "mmkit[wandb] is not installed: wandb", "pip install 'mmkit[wandb]'"),
        Finding("extra", "problem", "mmkit[numbers] needs numpy>=3, installed is 2.0", "pip install 'mmkit[numbers]'"),
        Finding("extra", "note", "mmkit[all] is not installed: wandb", "pip install 'mmkit[all]'"),
    ]


@pytest.mark.parametrize(
    ("name", "torch", "wanted"),
    [
        ("torchvision", "2.14.1", "0.29.*"),
        ("torchvision", "2.8.0", "0.23.*"),
        ("torchaudio", "2.8.0", "2.8.*"),
        ("torchaudio", "2.14.1", "2.11.*"),
        ("torchaudio", "3.0.0", ""),
    ],
)
def test_the_version_that_is_made_for_a_torch(name: str, torch: str, wanted: str) -> None:
    assert fitting(name, torch) == wanted


@pytest.mark.parametrize(
    ("build", "hardware_of_it"),
    [("2.1+cu130", "CUDA 13"), ("2.1+cpu", "the CPU"), ("2.1+rocm6.4", "ROCm 6"), ("2.1", ""), ("2.1+gitabc", "")],
)
def test_the_end_of_a_version_says_what_it_is_built_for(build: str, hardware_of_it: str) -> None:
    assert hardware(build) == hardware_of_it


@pytest.mark.parametrize(
    "other",
    [
        Package("torchvision", "0.29.1", ("torch>=2.14.0",), build="0.29.1+cu130"),
        Package("torchvision", "0.29.1", ("torch>=2.14.0",), build="0.29.1+cu131"),
        Package("torchvision", "0.30.0", ("torch>=2.14.0",)),  # says itself that it takes this torch
        Package("torchaudio", "2.11.0", build="2.11.0+cu130"),
        Package("torchaudio", "2.11.0a0", build="2.11.0a0"),
    ],
    ids=lambda other: f"{other.name}-{other.build or other.version}",
)
def test_what_fits_is_no_finding(other: Package) -> None:
    assert misfit(other, TORCH) is None


def test_a_declared_torch_that_is_not_the_installed_one() -> None:
    assert misfit(Package("torchvision", "0.28.0", ("torch==2.13.0", "numpy")), TORCH) == Finding(
        "torchvision",
        "problem",
        "0.28.0 is made for torch==2.13.0, installed is torch 2.14.1",
        "pip install 'torchvision==0.29.*'",
    )
    assert misfit(Package("torchaudio", "2.13.0", ("torch==2.13.0",)), Package("torch", "3.0.0")) == Finding(
        "torchaudio",
        "problem",
        "2.13.0 is made for torch==2.13.0, installed is torch 3.0.0",
        "install the torchaudio released with your torch",
    )


def test_a_version_that_declares_nothing_is_looked_up() -> None:
    assert misfit(Package("torchaudio", "2.11.0"), Package("torch", "2.10.0")) == Finding(
        "torchaudio",
        "problem",
        "2.11.0 does not fit torch 2.10.0, 2.10.* does",
        "pip install 'torchaudio==2.10.*'",
    )


@pytest.mark.parametrize(
    ("build", "torch", "status", "text"),
    [
        ("2.11.0+cu128", "2.14.1+cu130", "problem", "2.11.0+cu128 is built for CUDA 12, torch 2.14.1+cu130 for CUDA 13"),
        ("2.11.0+cu130", "2.14.1+cpu", "problem", "2.11.0+cu130 is built for CUDA 13, torch 2.14.1+cpu for the CPU"),
        ("2.11.0+cu130", "2.14.1+rocm7.1", "problem", "2.11.0+cu130 is built for CUDA 13, torch 2.14.1+rocm7.1 for ROCm 7"),
        (
            "2.11.0+cpu",
            "2.14.1+cu130",
            "note",
            "2.11.0+cpu is built for the CPU, torch 2.14.1+cu130 for CUDA 13: it does not compute on the GPU",
        ),
    ],
)  # fmt: skip
def test_other_hardware_than_torch(build: str, torch: str, status: str, text: str) -> None:
    found = misfit(Package("torchaudio", "2.11.0", build=build), Package("torch", "2.14.1", build=torch))
    assert found == Finding("torchaudio", status, text, INDEX + torch.partition("+")[2])
