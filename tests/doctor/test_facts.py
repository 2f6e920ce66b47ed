"""How facts about the machine are found."""

import sys
from pathlib import Path

import pytest

from mmkit.doctor import facts


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000", "cpu.max": "400000 100000"}, 2.5),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ("", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
    ],
)
def test_the_quota_of_a_control_group(tmp_path: Path, own: str, files: dict[str, str], quota: float | None) -> None:
    write(tmp_path / "own", own)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert facts.cgroup_quota(tmp_path / "groups", tmp_path / "own") == quota


def test_cores_are_no_more_than_the_quota_and_at_least_one(tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/\n")
    write(tmp_path / "cpu.max", "10000 100000")
    assert facts.usable_cores(tmp_path, tmp_path / "own") == 1
    write(tmp_path / "cpu.max", "max 100000")
    assert facts.usable_cores(tmp_path, tmp_path / "own") >= 1


def test_a_package_says_what_it_was_built_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "buildlib-1.0.dist-info"
    requires = "Requires-Dist: torch==2.0\nProvides-Extra: more\nRequires-Dist: numpy; extra == 'more'\n"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: buildlib\nVersion: 1.0\nRequires-Python: >=3.8\n{requires}")
    write(tmp_path / "buildlib" / "version.py", "__version__ = '1.0+cu130'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = facts.package("buildlib")
    assert package is not None
    assert (package.version, package.build, package.python, package.extras) == ("1.0", "1.0+cu130", ">=3.8", ("more",))
    assert [str(need) for need in package.needs()] == ["torch==2.0"]
    assert [need.name for need in package.needs("more")] == ["numpy"]
    assert facts.package("no-such-distribution") is None
    assert facts.installed("no-such-distribution") is None
    assert facts.installed("buildlib") == "1.0"
    assert [found.name for found in facts.packages(["buildlib", "no-such-distribution", "buildlib"])] == ["buildlib"]


def test_folders_that_do_not_exist_yet_are_judged_by_the_one_above(tmp_path: Path) -> None:
    assert facts.there(tmp_path / "a" / "b") == tmp_path
    assert facts.writable(tmp_path)
    assert not facts.writable(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("given", "hidden"), [(None, False), ("0,1", False), ("", True), ("-1", True)])
def test_hidden_devices(given: str | None, hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert facts.no_device_is_visible() is hidden


@pytest.mark.skipif(sys.platform != "linux", reason="devices are files")
def test_the_driver_counts_where_a_gpu_is_handed_in(tmp_path: Path) -> None:
    version = (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: gcc 12.2.0\n"
    )
    write(tmp_path / "version", version)
    devices = tmp_path / "dev"
    devices.mkdir()
    assert facts.nvidia_driver(devices, tmp_path / "version") == ""
    (devices / "nvidiactl").touch()
    assert facts.nvidia_driver(devices, tmp_path / "version") == ""
    (devices / "nvidia0").touch()
    assert facts.nvidia_driver(devices, tmp_path / "version") == "580.65.06"
