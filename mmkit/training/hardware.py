"""Peak rates of known GPUs, and the memory that was used."""

import sys
from types import ModuleType

import torch

resource: ModuleType | None
try:
    import resource
except ImportError:  # not on Windows
    resource = None

# name in the device's name → dense FLOP/s in bf16 (fp16 where it has none) and in fp32 without TF32, from the makers'
# data sheets; the first that fits counts
PEAKS = {
    "B200": (2250e12, 75e12),
    "GH200": (989e12, 67e12),
    "H200": (989e12, 67e12),
    "H100 PCIe": (756e12, 51e12),
    "H100": (989e12, 67e12),
    "H20": (148e12, 44e12),
    "A100": (312e12, 19.5e12),
    "L40S": (362e12, 91.6e12),
    "L40": (181e12, 90.5e12),
    "L4": (121e12, 30.3e12),
    "A10": (125e12, 31.2e12),
    "V100": (125e12, 15.7e12),
    "T4": (65e12, 8.1e12),
    "RTX 4090": (165e12, 82.6e12),
    "RTX 3090": (71e12, 35.6e12),
    "MI300X": (1307e12, 163.4e12),
}


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s that the device can reach at most; None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    found = next((peaks for known, peaks in PEAKS.items() if known in name), None)
    return None if found is None else found[0 if precision == "bf16" else 1]


def peak_memory(device: torch.device) -> int:
    """Bytes at most held so far: by tensors on a GPU, by the whole process on the CPU (0 where unknown)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
