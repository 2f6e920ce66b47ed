"""The pytest plugin: at the end of a run, the level of every component that was checked, and what was waived and why."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from mmkit.testing.check import MINIMUM, enough, reached

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print the scorecards."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if name == "mmkit" and getattr(report, "when", "") == "call":
                    found[value[1], value[0]].append(value)
    if not found:
        return
    terminalreporter.section("mmkit conformance")
    for (kind, component), values in sorted(found.items()):
        counts = Counter(status for *_, status, _ in values)
        failed = {level for _, _, level, status, _ in values if status == "failed"}
        ran = enough(kind, [status for *_, status, _ in values])
        level = (reached(failed) or "no level") if ran else f"no level, for it needs {MINIMUM[kind]} checks"
        shown = ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "waived") if counts[status])
        terminalreporter.write_line(f"{kind} {component}: {level} ({shown})")
        for text in dict.fromkeys(text for *_, status, text in values if status == "waived"):
            terminalreporter.write_line(f"    waived: {text}")
