"""The plan of a model: named nodes with their components and validated configs. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from mmkit.errors import Problem, SpecError
from mmkit.registry.component import Component
from mmkit.spec.load import Location, Source, dotted
from mmkit.spec.schema import Spec
from mmkit.spec.template import Literal, Slot


@dataclass(frozen=True)
class Placed:
    """A component at its place in the model: node name (``image.encoder``), record, validated config."""

    node: str
    component: Component
    config: BaseModel
    location: Location

    def options(self) -> dict[str, Any]:
        """The config as keyword arguments for the builder."""
        return {name: getattr(self.config, name) for name in type(self.config).model_fields}

    def build(self, context: Any) -> Any:
        """What the builder gives, whatever it raises."""
        return import_path(self.component.builder)(context, **self.options())


@dataclass(frozen=True)
class ModalityPlan:
    """Either encoder (+ soft adapter), or a vocabulary, or a continuous adapter."""

    name: str
    encoder: Placed | None = None
    adapter: Placed | None = None
    vocabulary: Placed | None = None
    continuous: Placed | None = None

    @property
    def kind(self) -> str:
        """The kind of raw value, as the component that reads or writes it says: text, image, audio, ecg …; empty where it says none."""
        placed = self.encoder or self.vocabulary or self.continuous
        return (placed.component.modality or "") if placed else ""

    @property
    def node(self) -> str:
        """The node that the bare modality name means."""
        return f"{self.name}.adapter" if self.adapter else f"{self.name}.encoder"


@dataclass(frozen=True)
class BackbonePlan:
    """A backbone; ``reads`` is empty for the one that reads the templates' stream."""

    placed: Placed
    reads: tuple[tuple[str, Placed | None], ...] = ()


@dataclass(frozen=True)
class TaskPlan:
    """A task with its templates resolved.

    Attributes:
        modality_of: of every column in the input.
        output, output_modality: the column of the output, and how it is written; of several parts, None and a name of the
            task's own.
        written: the parts of an output that has several; ``written_as`` says what its columns are.
        mixed: the modalities of an output column whose values are lists of parts.
    """

    name: str
    parts: tuple[Literal | Slot, ...]
    modality_of: Mapping[str, str]
    output: str | None
    output_modality: str | None
    reads: tuple[str, ...]
    head: Placed
    weight: float
    written: tuple[Literal | Slot, ...] = ()
    written_as: Mapping[str, str] = field(default_factory=dict)
    mixed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, str | None]:
        """Column → modality of the output; None where a head writes a column without a modality, or with several."""
        if self.mixed:
            return {**self.written_as, **dict.fromkeys(self.mixed)}
        return dict(self.written_as) if self.written else {self.output: self.output_modality} if self.output else {}

    @property
    def output_modalities(self) -> list[str]:
        """Every modality that the output is written with."""
        named = [name for name in self.outputs.values() if name is not None]
        return list(dict.fromkeys([*named, *(name for several in self.mixed.values() for name in several)]))

    @property
    def spelt(self) -> bool:
        """Whether the output column is written as ids of its vocabulary."""
        return self.head.component.autoregressive or self.head.component.spells

    @property
    def by_adapter(self) -> bool:
        """Whether the output column is written by the adapter of its modality, as ids or as vectors."""
        return self.spelt or self.head.component.continuous

    @property
    def columns(self) -> list[str]:
        """Columns of the data that the input needs."""
        return [part.column for part in self.parts if isinstance(part, Slot)]


@dataclass(frozen=True)
class Plan:
    """Everything static about a model.

    Attributes:
        beside: sources, metrics and callbacks, which are no part of the model, by their place in the spec.
        absent: why some of them cannot be had.
    """

    spec: Spec
    source: Source
    modalities: dict[str, ModalityPlan]
    backbones: dict[str, BackbonePlan]
    tasks: dict[str, TaskPlan]
    beside: Mapping[Location, Placed] = field(default_factory=dict)
    absent: tuple[Problem, ...] = ()

    def beside_at(self, location: Location) -> Placed:
        """A source, metric or callback by its place.

        Raises:
            SpecError: it is missing, which is no fault as long as the saved model is only used.
        """
        if location not in self.beside:
            place = dotted(location)
            raise SpecError([problem for problem in self.absent if problem.path.startswith(place)])
        return self.beside[location]

    @cached_property
    def literals(self) -> str | None:
        """The modality that spells the templates' own text: the first vocabulary."""
        return next((m.name for m in self.modalities.values() if m.vocabulary), None)

    def generates(self, node: str) -> bool:
        """Whether a head decodes with this backbone."""
        return any(task.head.component.autoregressive and node in task.reads for task in self.tasks.values())

    def placed(self) -> list[Placed]:
        """Every component, in the order of building."""
        found = [p for m in self.modalities.values() for p in (m.vocabulary, m.continuous, m.encoder)]
        for backbone in self.backbones.values():
            found += [backbone.placed, *(adapter for _, adapter in backbone.reads)]
        found += [m.adapter for m in self.modalities.values()]
        found += [task.head for task in self.tasks.values()]
        return [p for p in found if p is not None]


def import_path(path: str) -> Any:
    """``module:name`` → the object."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def matches(parameter: str, pattern: str) -> bool:
    """Whether a stage's glob means a parameter (``image.adapter.0.weight``), by its own name or its node's."""
    return fnmatchcase(parameter, pattern) or fnmatchcase(parameter, f"{pattern}.*")
