"""The checks as tests: a plugin's test file derives a class and names the plugin."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mmkit.testing.runner import Trial
    from mmkit.testing.subject import Subject


class Conformance:
    """Every check on every component of a plugin::

        from mmkit.testing import Conformance

        class TestConformance(Conformance):
            plugin = "ecg"

    Attributes:
        plugin: name of the plugin or of its distribution.
        only: names of components; empty for all.
    """

    plugin: ClassVar[str] = ""
    only: ClassVar[tuple[str, ...]] = ()
    _subjects: ClassVar[dict[tuple[str, str, str], "Subject"]] = {}

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """One test a check and case.

        Raises:
            PluginError: the plugin is not installed, or its cases cannot be had.
        """
        if "trial" not in metafunc.fixturenames:
            return
        from mmkit.testing.runner import installed, trials

        components = [c for c in installed(self.plugin).components if not self.only or c.name in self.only]
        found = trials(components)
        metafunc.parametrize("trial", found, ids=[trial.name for trial in found])

    def test_component(
        self,
        trial: "Trial",
        tmp_path_factory: "pytest.TempPathFactory",
        record_property: Callable[[str, Any], None],
    ) -> None:
        """What the check says is true of the component."""
        __tracebackhide__ = True
        import pytest

        outcome = trial.run(self._subject(trial, lambda: tmp_path_factory.mktemp("conformance")))
        record_property("mmkit", [outcome.component, outcome.kind, trial.check.level, outcome.status, outcome.text])
        if outcome.status == "failed":
            pytest.fail(f"{trial.check.about}: {outcome.text}\n  to mend: {trial.check.mend}", pytrace=False)
        if outcome.status != "passed":
            pytest.skip(f"{outcome.status}: {outcome.text}")

    def _subject(self, trial: "Trial", folder: "Callable[[], Path]") -> "Subject":
        """One a case, shared by its checks in this process."""
        from mmkit.testing.beside import SUBJECTS

        component = trial.component
        key = (component.kind, component.full_name, trial.case.name)
        if key not in self._subjects:
            self._subjects[key] = SUBJECTS[component.kind](component, trial.case, folder())
        return self._subjects[key]
