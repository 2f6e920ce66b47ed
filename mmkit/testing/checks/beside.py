"""What sources and metrics promise."""

import math
import pickle
from collections.abc import Mapping

from mmkit.testing.beside import MetricSubject, SourceSubject
from mmkit.testing.check import check, require
from mmkit.testing.subject import Subject

_SOURCE = ("source",)
_METRIC = ("metric",)


@check("bronze", _SOURCE, "give mappings of columns to values; None where a row lacks one")
def rows_have_the_same_columns(subject: Subject) -> None:
    """There are rows, every one a mapping with the same columns."""
    assert isinstance(subject, SourceSubject)
    rows = subject.rows(subject.built)
    require(bool(rows), "there are no rows")
    for number, row in enumerate(rows):
        require(isinstance(row, Mapping), f"row {number + 1} is a {type(row).__name__}")
        require(set(row) == set(rows[0]), f"row {number + 1} has columns {sorted(row)}, the first {sorted(rows[0])}")


@check("bronze", _SOURCE, "begin anew in __iter__, and keep no position between calls of __getitem__")
def rows_come_again(subject: Subject) -> None:
    """Read a second time, from behind where they have numbers, the rows are the same."""
    assert isinstance(subject, SourceSubject)
    source = subject.built
    first, again = subject.rows(source), subject.rows(source)
    require(first == again, "the second reading gives other rows")
    if hasattr(source, "__len__"):
        behind = [source[index] for index in reversed(range(len(first)))]
        require(behind[::-1] == first, "read from behind, the rows are others")


@check("silver", _SOURCE, "open files and connections when a row is first read, not when the source is made")
def source_travels_to_workers(subject: Subject) -> None:
    """A pickled copy gives the same rows."""
    assert isinstance(subject, SourceSubject)
    copy = pickle.loads(pickle.dumps(subject.built))
    require(subject.rows(copy) == subject.rows(subject.built), "the copy gives other rows")


@check("bronze", _METRIC, "give a dict of floats in compute()")
def figures_are_named_numbers(subject: Subject) -> None:
    """The figures have names and are numbers."""
    figures = _figures(subject, whole=True)
    require(isinstance(figures, Mapping) and bool(figures), f"compute() gave {figures!r}")
    for name, value in figures.items():
        require(isinstance(value, int | float) and not isinstance(value, bool), f"{name} is {value!r}")


@check("bronze", _METRIC, "sum up in update(), and divide in compute()")
def figures_do_not_depend_on_batches(subject: Subject) -> None:
    """Figures are the same whether samples come at once or one by one."""
    whole, single = _figures(subject, whole=True), _figures(subject, whole=False)
    for name, value in whole.items():
        same = math.isclose(value, single[name], rel_tol=1e-6, abs_tol=1e-9) or value != value
        require(same, f"{name}: {single[name]}, at once {value}")


def _figures(subject: Subject, whole: bool) -> Mapping[str, float]:
    assert isinstance(subject, MetricSubject)
    metric, pairs = subject.build(), subject.pairs
    for batch in [pairs] if whole else [[pair] for pair in pairs]:
        subject.update(metric, batch)
    figures: Mapping[str, float] = metric.compute()
    return figures
