"""Running checks on components."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, PluginError, nearest
from mmkit.registry.component import Component
from mmkit.registry.registry import PluginReport
from mmkit.testing.beside import SUBJECTS
from mmkit.testing.case import Case, cases_of
from mmkit.testing.check import ALL, BrokenError, Check, NotApplicable, enough, reached
from mmkit.testing.checks import CHECKS, of_kind
from mmkit.testing.subject import Subject


@dataclass(frozen=True)
class Outcome:
    """What came of one check on one case of a component.

    Attributes:
        status: passed, failed, waived or skipped (it says nothing about this component).
        text: why, unless it passed.
    """

    component: str
    kind: str
    case: str
    check: Check
    status: str
    text: str
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One check to be run on one case."""

    component: Component
    case: Case
    check: Check

    @property
    def name(self) -> str:
        """As the test is called: ``encoder-ecg-alone_is_packed``."""
        case = f"-{self.case.name}" if self.case.name else ""
        return f"{self.component.kind}-{self.component.name}{case}-{self.check.name}"

    def run(self, subject: Subject) -> Outcome:
        """Run it; never raises for a fault of the component."""
        started = time.perf_counter()
        status, text = "passed", ""
        if self.check.name in self.case.waive:
            status, text = "waived", self.case.waive[self.check.name]
        else:
            try:
                self.check.run(subject)
            except NotApplicable as reason:
                status, text = "skipped", str(reason)
            except BrokenError as fault:
                status, text = "failed", str(fault)
            except Exception as error:
                status, text = "failed", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        component = self.component
        return Outcome(component.full_name, component.kind, self.case.name, self.check, status, text, seconds)


@dataclass(frozen=True)
class Score:
    """All outcomes of one component.

    Attributes:
        level: gold, silver, bronze, or empty.
    """

    component: str
    kind: str
    outcomes: tuple[Outcome, ...]

    def count(self, status: str) -> int:
        """How many checks ended so."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def enough(self) -> bool:
        """Whether as many checks ran as the kind asks for."""
        return enough(self.kind, [outcome.status for outcome in self.outcomes])

    @property
    def level(self) -> str:
        """The highest level of which no check, nor any of a lower one, failed."""
        failed = {outcome.check.level for outcome in self.outcomes if outcome.status == "failed"}
        return reached(failed) if self.enough else ""

    @property
    def seconds(self) -> float:
        """All checks together."""
        return sum(outcome.seconds for outcome in self.outcomes)


def trials(components: Iterable[Component]) -> list[Trial]:
    """Every check of every case.

    Raises:
        PluginError: a component's cases cannot be had, or waive a check that is not there or without a reason.
    """
    found = []
    known = [check.name for check in CHECKS]
    for component in components:
        if component.kind not in ALL:
            continue
        try:
            cases = cases_of(component)
        except Exception as error:
            raise PluginError(f"the cases of {component.full_name}: {type(error).__name__}: {error}") from error
        for case in cases:
            for name, reason in case.waive.items():
                if name not in known:
                    raise PluginError(f"{component.full_name} waives {name!r}: {nearest(name, known)}")
                if len(reason.split()) < 3:
                    raise PluginError(f"{component.full_name} waives {name!r} without a reason: got {reason!r}")
            found += [Trial(component, case, check) for check in of_kind(component.kind)]
    return found


def installed(name: str) -> PluginReport:
    """A plugin by its own name or that of its distribution.

    Raises:
        PluginError: it is not installed, or not loaded.
    """
    reports = discover().reports
    for report in reports:
        if name in (report.name, report.distribution):
            if report.status != "loaded":
                raise PluginError(str(report))
            return report
    names = [report.distribution for report in reports] + [report.name for report in reports]
    raise PluginError(f"no plugin {name!r} is installed: {nearest(name, names)}")


def conform(
    name: str, component: str | None = None, said: Callable[[Outcome], None] = lambda outcome: None
) -> Iterator[Score]:
    """The scores of a plugin's components, one after another.

    Args:
        name: of the plugin or its distribution. component: only that one.
        said: told every outcome as it comes.

    Raises:
        PluginError: the plugin is not there, or its cases cannot be had.
        MmkitError: it has no such component.
    """
    report = installed(name)
    chosen = [c for c in report.components if component in (None, c.name, c.full_name)]
    if not chosen:
        names = [c.name for c in report.components]
        raise MmkitError(f"plugin {report.name!r} has no component {component!r}: {nearest(str(component), names)}")
    for one in chosen:
        outcomes = []
        with tempfile.TemporaryDirectory() as folder:
            subjects: dict[str, Subject] = {}
            for trial in trials([one]):
                key = trial.case.name
                if key not in subjects:
                    place = Path(folder) / (key or "case")
                    place.mkdir()
                    subjects[key] = SUBJECTS[one.kind](one, trial.case, place)
                outcomes.append(trial.run(subjects[key]))
                said(outcomes[-1])
        if outcomes:
            yield Score(one.full_name, one.kind, tuple(outcomes))
