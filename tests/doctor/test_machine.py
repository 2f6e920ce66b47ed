"""Accelerator, threads, shared memory, disks: every answer there is."""

from pathlib import Path
from typing import Any

import pytest

from mmkit.doctor.finding import Finding
from mmkit.doctor.machine import GB, accelerator, disk, runs_on, shared_memory, threads

NOTHING: dict[str, Any] = {"cuda": "13.0", "rocm": "", "mps": False, "kernels": [], "devices": [], "said": ""}
H100 = {"name": "NVIDIA H100", "free": 79 * GB, "total": 80 * GB, "capability": [9, 0]}
KERNELS = ["sm_75", "sm_90", "compute_120"]


def found(driver: str = "", hidden: bool = False, **facts: Any) -> tuple[str, str, str]:
    finding = accelerator({**NOTHING, **facts}, driver, hidden)
    assert finding.check == "accelerator"
    return finding.status, finding.text, finding.fix


def test_no_accelerator() -> None:
    assert found() == ("note", "none: models run on the CPU", "")
    assert found(mps=True) == ("ok", "Apple GPU (MPS)", "")


def test_devices_are_named_with_their_memory() -> None:
    assert found("580.65", devices=[H100], kernels=KERNELS) == (
        "ok",
        "NVIDIA H100, 79.0 of 80.0 GB free (CUDA 13.0, driver 580.65)",
        "",
    )
    amd = {**H100, "name": "MI300X"}
    assert found(devices=[amd], kernels=["gfx942"], rocm="7.1") == ("ok", "MI300X, 79.0 of 80.0 GB free (ROCm 7.1)", "")


def test_memory_that_others_hold_is_noted() -> None:
    assert found(devices=[H100, {**H100, "free": GB}], kernels=KERNELS) == (
        "note",
        "NVIDIA H100, 79.0 of 80.0 GB free; NVIDIA H100, 1.0 of 80.0 GB free (CUDA 13.0)",
        "end the processes that hold its memory: `nvidia-smi` lists them",
    )


def test_a_torch_without_kernels_for_the_device() -> None:
    old = {**H100, "name": "Tesla V100", "capability": [7, 0]}
    assert found("580.65", devices=[old], kernels=KERNELS) == (
        "problem",
        "torch is built for sm_75, sm_90, compute_120, not for Tesla V100",
        "install a torch built for sm_70",
    )


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((9, 0), ["sm_90"], True),
        ((8, 9), ["sm_80"], True),
        ((8, 0), ["sm_89"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["compute_80"], True),
        ((12, 0), ["sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 4), ["gfx942"], True),
        ((9, 0), [], True),
    ],
)
def test_which_kernels_run_where(capability: tuple[int, int], kernels: list[str], runs: bool) -> None:
    assert runs_on(capability, kernels) is runs


@pytest.mark.parametrize(
    ("driver", "facts", "status", "text", "fix"),
    [
        ("550.54.14", {"cuda": ""}, "note", "torch is built without CUDA and does not use the GPU of NVIDIA driver 550.54.14",
         "install a torch built for CUDA"),
        ("550.54.14", {}, "problem", "NVIDIA driver 550.54.14 is too old for torch's CUDA 13.0",
         "update the driver to 580 or newer, or install a torch built for an older CUDA"),
        ("590.1", {"said": "no device"}, "problem", "torch's CUDA 13.0 finds no GPU beside NVIDIA driver 590.1 (no device)",
         "see whether `nvidia-smi` lists the GPU; a container needs it handed in (docker run --gpus all)"),
        ("590.1", {"hidden": True}, "note", "hidden by CUDA_VISIBLE_DEVICES: models run on the CPU", "unset CUDA_VISIBLE_DEVICES"),
        ("590.1", {"error": "RuntimeError: oh"}, "problem", "torch cannot say: RuntimeError: oh",
         "see whether `nvidia-smi` works on this machine"),
    ],
)  # fmt: skip
def test_a_gpu_that_torch_does_not_use(driver: str, facts: dict[str, Any], status: str, text: str, fix: str) -> None:
    assert found(driver, **facts) == (status, text, fix)


@pytest.mark.parametrize(
    ("computing", "cores", "given", "finding"),
    [
        (8, 8, None, Finding("threads", "ok", "torch computes with 8 threads on 8 cores")),
        (4, 8, None, Finding("threads", "ok", "torch computes with 4 threads on 8 cores")),  # one a physical core
        (None, 8, None, Finding("threads", "ok", "8 cores")),
        (
            8,
            2,
            None,
            Finding(
                "threads",
                "problem",
                "torch computes with 8 threads on 2 of 8 cores (affinity or quota of the container): they wait for each other",
                "export OMP_NUM_THREADS=2",
            ),
        ),
        (
            1,
            8,
            "1",
            Finding(
                "threads",
                "note",
                "OMP_NUM_THREADS=1: torch computes with 1 thread on 8 cores",
                "unset OMP_NUM_THREADS, unless several processes share the cores",
            ),
        ),
        (
            8,
            8,
            "many",
            Finding("threads", "problem", "OMP_NUM_THREADS is 'many', which is no number", "export OMP_NUM_THREADS=8"),
        ),
        (8, 8, "8,1", Finding("threads", "ok", "torch computes with 8 threads on 8 cores")),
    ],
)
def test_threads(computing: int | None, cores: int, given: str | None, finding: Finding) -> None:
    assert threads(computing, cores, 8, given) == finding


def test_shared_memory() -> None:
    fix = "docker run --shm-size=8g (or --ipc=host), or `data.workers: 0` in the spec"
    text = "0.067 GB in /dev/shm: data workers die of it (bus error)"
    assert shared_memory(None) is None
    assert shared_memory(67_108_864) == Finding("shared memory", "problem", text, fix)
    little = "0.5 GB in /dev/shm: little for several data workers"
    assert shared_memory(GB // 2) == Finding("shared memory", "note", little, fix)
    assert shared_memory(8 * GB) == Finding("shared memory", "ok", "8 GB in /dev/shm")


def test_disks() -> None:
    place, elsewhere = Path("/data"), "set MMKIT_CACHE"
    assert disk("cache", place, 50 * GB, True, elsewhere) == Finding("cache", "ok", "50.0 GB free for /data")
    assert disk("cache", place, 5 * GB, True, elsewhere) == Finding(
        "cache", "note", "5.0 GB free for /data", "make room, or set MMKIT_CACHE"
    )
    assert disk("cache", place, GB // 2, True, elsewhere) == Finding(
        "cache", "problem", "0.5 GB free for /data", "make room, or set MMKIT_CACHE"
    )
    assert disk("cache", place, GB, False, elsewhere) == Finding(
        "cache", "problem", "/data cannot be written", elsewhere
    )
    assert disk("downloads", place, GB, False, elsewhere, needed=False).status == "note"
