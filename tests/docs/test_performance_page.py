"""docs/performance.md: a section for every benchmark, renewed from its JSON, and text by hand that is never touched."""

from pathlib import Path

import pytest

from benchmarks.all import BENCHMARKS, Benchmark
from benchmarks.table import PAGE, SECTION, renewed

ROOT = Path(__file__).parents[2]
HELP = {"__init__", "all", "common", "table", "reference_data", "reference_peer", "reference_plugin"}
ONE = Benchmark("one", "First", "≥ 2 ×")
RESULT = {
    "command": "python -m benchmarks.one --runs 3",
    "date": "2026-01-02",
    "commit": "abc1234",
    "machine": {"python": "3.11.7", "torch": "2.14.1", "transformers": "5.23.0", "cores": 2},
    "shown": "| what |\n|---|\n| 3 × |",
}
SHOWN = """<!-- benchmark: one -->
## First

`python -m benchmarks.one --runs 3` – to reach: ≥ 2 ×.

| what |
|---|
| 3 × |

*2026-01-02, commit abc1234, python 3.11.7, torch 2.14.1, transformers 5.23.0, 2 CPU cores*
<!-- end -->"""


def test_every_benchmark_has_one_section_and_every_program_is_a_benchmark() -> None:
    sections = [match["name"] for match in SECTION.finditer(PAGE.read_text("utf-8"))]
    assert sorted(sections) == sorted(benchmark.module for benchmark in BENCHMARKS)
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - HELP
    assert programs <= {benchmark.module for benchmark in BENCHMARKS}


@pytest.mark.parametrize("before", ["", "older figures\n"])
def test_a_result_replaces_the_section_and_nothing_else(before: str) -> None:
    page = f"# Title\n\nby hand\n\n<!-- benchmark: one -->\n{before}<!-- end -->\n\nbelow, by hand\n"
    assert renewed(page, {"one": RESULT}, [ONE]) == f"# Title\n\nby hand\n\n{SHOWN}\n\nbelow, by hand\n"
    assert renewed(renewed(page, {"one": RESULT}, [ONE]), {"one": RESULT}, [ONE]) == renewed(
        page, {"one": RESULT}, [ONE]
    )


def test_what_was_not_run_here_keeps_its_figures_or_says_that_it_was_not_measured() -> None:
    kept = "<!-- benchmark: one -->\nolder figures\n<!-- end -->\n"
    assert renewed(kept, {}, [ONE]) == kept
    missing = "## First\n\n`python -m benchmarks.one` – to reach: ≥ 2 ×.\n\nNot measured yet."
    assert renewed("# Title\n", {}, [ONE]) == f"# Title\n\n<!-- benchmark: one -->\n{missing}\n<!-- end -->\n"


def test_a_result_without_a_table_says_so() -> None:
    shown = renewed("# Title\n", {"one": {"machine": {"python": "3.11.7"}}}, [ONE])
    assert shown.endswith("Measured, but its file has no table: run it again.\n\n*python 3.11.7*\n<!-- end -->\n")
