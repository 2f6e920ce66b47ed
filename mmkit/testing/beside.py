"""Sources, metrics and callbacks under test: components that are no part of a model."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mmkit.interfaces import BuildContext, Metric, RowMetric, RunContext, SourceContext
from mmkit.testing.bench import Letters
from mmkit.testing.check import NotApplicable
from mmkit.testing.subject import (
    AdapterSubject,
    BackboneSubject,
    ContinuousSubject,
    EncoderSubject,
    HeadSubject,
    Place,
    Subject,
    VocabularySubject,
    seeded,
)
from mmkit.wiring.graph import import_path

MOST = 50
"""Rows of a source that are looked at."""


class BesideSubject(Subject):
    """Built with a context of its kind; there is nothing to run it on but what its own checks know."""

    def build(self, seed: int = 0, assets: Path | None = None, load_weights: bool = True) -> Any:
        """A fresh one."""
        options = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        with seeded(seed):
            return import_path(self.component.builder)(self.made_for, **options)

    @property
    def made_for(self) -> Any:
        """The first argument of the builder."""
        return BuildContext()

    @property
    def inputs(self) -> list[Any]:
        """What the case gives."""
        return self.values("raws")

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """It is no module."""
        raise NotApplicable("it is no part of a model")


class _HasRows(type):
    def __instancecheck__(cls, source: object) -> bool:
        return hasattr(source, "__iter__") or (hasattr(source, "__len__") and hasattr(source, "__getitem__"))


class Rows(metaclass=_HasRows):
    """What has a length and numbered items, or can be iterated."""


class SourceSubject(BesideSubject):
    """Rows, in order."""

    interface = Rows

    @property
    def made_for(self) -> Any:
        """Its folder."""
        return SourceContext(self.folder)

    def rows(self, source: Any) -> list[Mapping[str, Any]]:
        """The first ones, by number where they have numbers."""
        if hasattr(source, "__len__"):
            return [source[index] for index in range(min(MOST, len(source)))]
        return list(islice(iter(source), MOST))


class MetricSubject(BesideSubject):
    """Raw values are pairs of a prediction and a reference, with the row's columns where the metric wants some."""

    interface = Metric

    @property
    def made_for(self) -> Any:
        """An output that is spelt with the kit's own vocabulary."""
        return BuildContext(vocabulary=Letters())

    @property
    def pairs(self) -> list[tuple[Any, ...]]:
        """Of the case."""
        pairs = self.inputs
        if len(pairs) < 2:
            raise NotApplicable("nothing to try it on: give raws in its case, pairs of a prediction and a reference")
        return pairs

    def update(self, metric: Any, pairs: Sequence[tuple[Any, ...]]) -> None:
        """As an evaluation does."""
        given = [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
        if isinstance(metric, RowMetric):
            rows = [pair[2] if len(pair) > 2 else {} for pair in pairs]
            given.append([{column: row[column] for column in metric.row_columns} for row in rows])
        metric.update(*given)


class CallbackSubject(BesideSubject):
    """Made for a run without a model."""

    @property
    def interface(self) -> type:
        """As transformers has it."""
        from transformers import TrainerCallback

        return TrainerCallback

    @property
    def made_for(self) -> Any:
        """A run in its folder."""
        return RunContext(self.folder, None)


SUBJECTS: dict[str, type[Subject]] = {
    "encoder": EncoderSubject,
    "adapter": AdapterSubject,
    "vocabulary": VocabularySubject,
    "continuous": ContinuousSubject,
    "backbone": BackboneSubject,
    "head": HeadSubject,
    "source": SourceSubject,
    "metric": MetricSubject,
    "callback": CallbackSubject,
}
