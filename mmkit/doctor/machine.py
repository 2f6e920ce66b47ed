"""The machine: accelerator, threads, shared memory, disks."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkit.doctor.finding import Finding, note, ok, problem

LEAST_DRIVER = {"11": 450, "12": 525, "13": 580}
"""The NVIDIA driver that each major version of CUDA needs at least, from NVIDIA's release notes."""
GB = 10**9


def accelerator(found: Mapping[str, Any], driver: str, hidden: bool) -> Finding:
    """The devices torch can use, or why it cannot use the one that is there.

    Args:
        found: what the child says. driver: version of NVIDIA's driver, nothing where there is none.
        hidden: whether CUDA_VISIBLE_DEVICES names no device.
    """
    check, cuda = "accelerator", found.get("cuda", "")
    if found.get("error"):
        return problem(check, f"torch cannot say: {found['error']}", "see whether `nvidia-smi` works on this machine")
    if found["devices"]:
        return _devices(check, found, driver)
    if found["mps"]:
        return ok(check, "Apple GPU (MPS)")
    if not driver:
        return note(check, "none: models run on the CPU")
    if hidden:
        return note(check, "hidden by CUDA_VISIBLE_DEVICES: models run on the CPU", "unset CUDA_VISIBLE_DEVICES")
    if not cuda:
        text = f"torch is built without CUDA and does not use the GPU of NVIDIA driver {driver}"
        return note(check, text, "install a torch built for CUDA")
    least = LEAST_DRIVER.get(cuda.partition(".")[0], 0)
    if int(driver.partition(".")[0]) < least:
        fix = f"update the driver to {least} or newer, or install a torch built for an older CUDA"
        return problem(check, f"NVIDIA driver {driver} is too old for torch's CUDA {cuda}", fix)
    said = f" ({found['said']})" if found["said"] else ""
    fix = "see whether `nvidia-smi` lists the GPU; a container needs it handed in (docker run --gpus all)"
    return problem(check, f"torch's CUDA {cuda} finds no GPU beside NVIDIA driver {driver}{said}", fix)


def _devices(check: str, found: Mapping[str, Any], driver: str) -> Finding:
    lines, full = [], False
    for device in found["devices"]:
        if not runs_on(device["capability"], found["kernels"]):
            text = f"torch is built for {', '.join(found['kernels'])}, not for {device['name']}"
            number = "".join(map(str, device["capability"]))
            return problem(check, text, f"install a torch built for sm_{number}")
        full = full or device["free"] < device["total"] / 10
        lines.append(f"{device['name']}, {device['free'] / GB:.1f} of {device['total'] / GB:.1f} GB free")
    built = f"ROCm {found['rocm']}" if found["rocm"] else f"CUDA {found['cuda']}"
    text = "; ".join(lines) + f" ({built}{f', driver {driver}' if driver else ''})"
    if full:
        return note(check, text, "end the processes that hold its memory: `nvidia-smi` lists them")
    return ok(check, text)


def runs_on(capability: Sequence[int], kernels: Sequence[str]) -> bool:
    """Whether one of the architectures (``sm_90``, ``compute_80``) runs on a device of this compute capability."""
    major, minor = capability
    numbers = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", kernel) for kernel in kernels]
    if not any(numbers):  # not NVIDIA's
        return True
    for found in filter(None, numbers):
        least = (int(found[2]), int(found[3]))
        if least <= (major, minor) and (found[1] == "compute" or least[0] == major):
            return True
    return False


def threads(computing: int | None, cores: int, machine: int, given: str | None) -> Finding:
    """Whether torch computes with as many threads as this process may use cores.

    Args:
        computing: threads of torch, None where that is not known. cores: that this process may use, by its affinity and
            the quota of its control group. machine: cores there are. given: OMP_NUM_THREADS.
    """
    check = "threads"
    has = f"{cores} cores" if cores == machine else f"{cores} of {machine} cores (affinity or quota of the container)"
    torch = f"torch computes with {computing} thread{'' if computing == 1 else 's'} on {has}"
    if given and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", given):
        return problem(check, f"OMP_NUM_THREADS is {given!r}, which is no number", f"export OMP_NUM_THREADS={cores}")
    if computing is None:
        return ok(check, has)
    if computing > cores:
        return problem(check, f"{torch}: they wait for each other", f"export OMP_NUM_THREADS={cores}")
    if given and computing < cores:
        return note(
            check,
            f"OMP_NUM_THREADS={given}: {torch}",
            "unset OMP_NUM_THREADS, unless several processes share the cores",
        )
    return ok(check, torch)


def shared_memory(size: int | None) -> Finding | None:
    """Whether data workers have room to hand over their batches; None where the system has no such limit."""
    if size is None:
        return None
    check, text = "shared memory", f"{size / GB:.2g} GB in /dev/shm"
    fix = "docker run --shm-size=8g (or --ipc=host), or `data.workers: 0` in the spec"
    if size < GB // 4:
        return problem(check, f"{text}: data workers die of it (bus error)", fix)
    return note(check, f"{text}: little for several data workers", fix) if size < GB else ok(check, text)


def disk(check: str, path: Path, free: int, writable: bool, elsewhere: str, needed: bool = True) -> Finding:
    """Whether a folder can be written and has room.

    Args:
        elsewhere: how to use another folder. needed: whether mmkit cannot do without writing there.
    """
    if not writable:
        return Finding(check, "problem" if needed else "note", f"{path} cannot be written", elsewhere)
    text = f"{free / GB:.1f} GB free for {path}"
    if free < GB:
        return problem(check, text, f"make room, or {elsewhere}")
    return note(check, text, f"make room, or {elsewhere}") if free < 10 * GB else ok(check, text)
