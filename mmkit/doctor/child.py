"""Runs in a process of its own, since importing a library may hang or end it: imports what is named, one JSON line each."""

import json
import os
import sys
import time
import warnings
from importlib import import_module
from typing import Any

ACCELERATOR = "accelerator"
"""The step that asks torch for its devices."""


def accelerator() -> dict[str, Any]:
    """What torch says about the machine: what it was built for, its devices, its threads."""
    import torch

    found: dict[str, Any] = {
        "cuda": torch.version.cuda or "",
        "rocm": torch.version.hip or "",
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
        "kernels": torch.cuda.get_arch_list(),
        "devices": [],
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            free, total = torch.cuda.mem_get_info(index)
            capability = list(torch.cuda.get_device_capability(index))
            name = torch.cuda.get_device_name(index)
            found["devices"].append({"name": name, "free": free, "total": total, "capability": capability})
    return {**found, "said": str(said[0].message).partition("\n")[0] if said else ""}


def look(step: str) -> dict[str, Any]:
    """Import a library, or ask for the accelerator; what went wrong is in ``error``."""
    started = time.perf_counter()
    try:
        found = accelerator() if step == ACCELERATOR else {"version": str(import_module(step).__version__)}
    except Exception as error:
        lines = str(error).splitlines()
        found = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")}
    return {"step": step, "seconds": time.perf_counter() - started, **found}


def main() -> None:
    """One line for each step; what the libraries print goes nowhere."""
    with os.fdopen(os.dup(1), "w") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        for step in sys.argv[1:]:
            print(json.dumps(look(step)), file=out, flush=True)


if __name__ == "__main__":
    main()
