"""What a plugin offers beside components: taken up where it is sound, named with cause and cure where it is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.discovery.loader import discover
from mmkit.registry.offers import Command, Migration, ReportSection

HEAD = "from mmkit import Command, Component, Migration, ReportSection, hookimpl\n"
HOOK = "@hookimpl\ndef mmkit_{0}():\n    return {1}\n"
WRONG = {
    ("commands", "3"): ("mmkit_commands returned a int", "return a list of mmkit.Command"),
    ("commands", "[Migration('head', 'x', was='y')]"): (
        "mmkit_commands returned a Migration among its records",
        "return mmkit.Command records",
    ),
    ("commands", "[Command('Two words', '', 'a:b')]"): (
        "command 'Two words' cannot be typed",
        "use lower-case letters, digits, '-', '_' and '.', none of them first",
    ),
    ("commands", "[Command('x', '', 'a.b')]"): ("command 'x' has function 'a.b'", "give an import path, module:name"),
    ("commands", "[Command('x', '', 'a:b')] * 2"): ("declared twice: command x", "give each its own name"),
    ("report_sections", "[ReportSection('x', 'X', 'a')]"): (
        "report section 'x' has function 'a'",
        "give an import path, module:name",
    ),
    ("report_sections", "[ReportSection('', 'X', 'a:b')]"): (
        "report section '' is no name",
        "use lower-case letters, digits, '-', '_' and '.', none of them first",
    ),
    ("migrations", "[Migration('head', 'x')]"): (
        "migration of 'x' says neither was nor options",
        "say by what an old spec is known",
    ),
    ("migrations", "[Migration('head', 'x', options=('a',))]"): (
        "migration of 'x' has options and no function",
        "say what becomes of the options",
    ),
    ("migrations", "[Migration('hed', 'x', was='y')]"): ("migration of 'x' has kind 'hed'", "did you mean 'head'?"),
    ("migrations", "[Migration('head', 'x', was='y')] * 2"): (
        "declared twice: migration of head y ()",
        "give each its own name",
    ),
}


@pytest.mark.parametrize(("hook", "value"), WRONG)
def test_a_record_that_cannot_be_used_is_named(install: Callable[..., Path], hook: str, value: str) -> None:
    install("lab", HEAD + HOOK.format(hook, value))
    report = next(report for report in discover().reports if report.name == "lab")
    assert (report.status, report.reason, report.fix) == ("failed", *WRONG[hook, value])


def test_a_plugin_may_offer_no_component(install: Callable[..., Path]) -> None:
    code = HEAD + HOOK.format("commands", "[Command('tables', 'Lists tables.', 'lab:tables')]")
    code += HOOK.format("report_sections", "[ReportSection('sums', 'Sums', 'lab:sums')]")
    code += HOOK.format("migrations", "[Migration('head', 'classify', was='klassify')]")
    install("lab", code)
    registry = discover()
    assert Command("tables", "Lists tables.", "lab:tables", "lab") in registry.commands
    assert ReportSection("sums", "Sums", "lab:sums", "lab") in registry.sections
    assert registry.migrations == (Migration("head", "classify", was="klassify", plugin="lab"),)
