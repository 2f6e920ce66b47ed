"""Renews docs/performance.md from ``benchmarks/results/*.json``: ``python -m benchmarks.table``.

A section between ``<!-- benchmark: NAME -->`` and ``<!-- end -->`` is written anew where its JSON is there, and kept as it is
where not; a benchmark without a section gets one at the end. Text outside the markers is never touched.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.all import BENCHMARKS, Benchmark
from benchmarks.common import RESULTS, ROOT

PAGE = ROOT / "docs" / "performance.md"
SECTION = re.compile(r"<!-- benchmark: (?P<name>\w+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)


def section(benchmark: Benchmark, result: Mapping[str, Any] | None) -> str:
    """Title, command, goal, table, and when and with what it was measured."""
    command = " ".join(["python -m", f"benchmarks.{benchmark.module}", *benchmark.arguments])
    shown, made = "Not measured yet.", ""
    if result is not None:
        command = result.get("command", command)
        shown, made = result.get("shown", "Measured, but its file has no table: run it again."), provenance(result)
    parts = [f"## {benchmark.title}", f"`{command}` – to reach: {benchmark.goal}.", shown, made]
    text = "\n\n".join(part for part in parts if part)
    return f"<!-- benchmark: {benchmark.module} -->\n{text}\n<!-- end -->"


def provenance(result: Mapping[str, Any]) -> str:
    """Date, commit, versions and processors in one line."""
    machine = result.get("machine", {})
    versions = [f"{name} {machine[name]}" for name in ("python", "torch", "transformers") if name in machine]
    where = machine.get("gpu") or (f"{machine['cores']} CPU cores" if "cores" in machine else "")
    words = [result.get("date", ""), f"commit {result['commit']}" if "commit" in result else "", *versions, where]
    return f"*{', '.join(word for word in words if word)}*"


def renewed(page: str, results: Mapping[str, Mapping[str, Any]], benchmarks: Sequence[Benchmark] = BENCHMARKS) -> str:
    """The page with every section whose result is known, and a section for every benchmark."""
    known = {benchmark.module: benchmark for benchmark in benchmarks}

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        kept = name not in known or (name not in results and match["text"].strip())
        return match[0] if kept else section(known[name], results.get(name))

    there = {match["name"] for match in SECTION.finditer(page)}
    page = SECTION.sub(replace, page)
    added = [section(one, results.get(name)) for name, one in known.items() if name not in there]
    return "\n\n".join([page.rstrip(), *added]) + "\n"


def results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What was measured here."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def main() -> None:
    """Write the page."""
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), results()), "utf-8")


if __name__ == "__main__":
    main()
