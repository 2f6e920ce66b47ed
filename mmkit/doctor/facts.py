"""How the facts about this machine are found. What is missing on a system is None, and never an error."""

import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from mmkit.doctor.packages import Package

CGROUPS = Path("/sys/fs/cgroup")


def installed(name: str) -> str | None:
    """Version of a distribution."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def package(name: str) -> Package | None:
    """What the metadata of a distribution says, and the ``version.py`` that torch and its companions have."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    build = ""
    with contextlib.suppress(OSError):
        text = Path(str(found.locate_file(f"{name}/version.py"))).read_text("utf-8")
        given = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        build = given[1] if given else ""
    extras = tuple(found.metadata.get_all("Provides-Extra") or ())
    python = (found.metadata.get_all("Requires-Python") or [""])[0]
    return Package(found.name, found.version, tuple(found.requires or ()), extras, python, build)


def packages(names: Iterable[str]) -> list[Package]:
    """Those that are installed, each once."""
    return [found for found in map(package, dict.fromkeys(names)) if found is not None]


def nvidia_driver(devices: Path = Path("/dev"), driver: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Version of NVIDIA's driver; nothing where there is none, or where a container has been handed no GPU."""
    handed = any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists()  # the latter under WSL
    if sys.platform == "linux" and not handed:
        return ""
    with contextlib.suppress(OSError):
        found = re.search(r"\d{3,}\.[\d.]+", driver.read_text("utf-8"))
        if found:
            return found[0]
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        found = re.match(r"\d+[\d.]*", done.stdout)
        return found[0] if found else ""
    return ""


def no_device_is_visible() -> bool:
    """Whether CUDA_VISIBLE_DEVICES is given and names none."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")


def usable_cores(folder: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: its affinity, and the quota of its control group, rounded up."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(folder, own)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def cgroup_quota(folder: Path, own: Path) -> float | None:
    """Cores of the tightest quota (``cpu.max``, or ``cpu.cfs_quota_us`` of version 1) above this process."""
    group = Path("/")
    with contextlib.suppress(OSError):
        named = re.search(r"^0::(/.*)$", own.read_text("utf-8"), re.MULTILINE)
        group = Path(named[1]) if named else group
    quotas = []
    for place in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):
            most, period = (folder / str(place).lstrip("/") / "cpu.max").read_text("utf-8").split()
            quotas.append(float(most) / float(period))  # "max" is no number
    with contextlib.suppress(OSError, ValueError):
        most = (folder / "cpu" / "cpu.cfs_quota_us").read_text("utf-8")
        if float(most) > 0:
            quotas.append(float(most) / float((folder / "cpu" / "cpu.cfs_period_us").read_text("utf-8")))
    return min(quotas, default=None)


def shared_memory() -> int | None:
    """Bytes of /dev/shm."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage("/dev/shm").total
    return None


def there(path: Path) -> Path:
    """The nearest folder above that exists."""
    path = path.expanduser().absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def writable(folder: Path) -> bool:
    """Whether a file can be made there; one is, and goes at once."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def downloads() -> Path:
    """Where transformers and datasets keep what they fetch."""
    return Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
