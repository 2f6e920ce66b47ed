"""One row of data → one prepared sample, in a data worker. Picklable; holds no weights."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from mmkit.errors import MmkitError, PluginError, SampleError
from mmkit.interfaces import ContinuousAdapter, Grammar, Processor, SoftAdapter, TaskHead, VocabularyAdapter
from mmkit.model.batch import Ids, Media, Sample
from mmkit.model.cached import FeatureReader
from mmkit.model.content import content_key, item_key
from mmkit.model.locate import located
from mmkit.model.weightless import weightless
from mmkit.spec.template import Literal
from mmkit.wiring.construct import Parts
from mmkit.wiring.graph import Plan
from mmkit.wiring.interleaved import parts_of


@dataclass(frozen=True)
class Preparer:
    """Calls processors and vocabularies by the tasks' templates."""

    plan: Plan
    processors: Mapping[str, Processor]
    vocabularies: Mapping[str, VocabularyAdapter]
    offsets: Mapping[str, int]
    adapters: Mapping[str, SoftAdapter]
    heads: Mapping[str, TaskHead]
    root: Path | None = None
    literals: dict[str, Ids] = field(default_factory=dict)
    caches: Mapping[str, FeatureReader] = field(default_factory=dict)
    continuous: Mapping[str, ContinuousAdapter] = field(default_factory=dict)
    training: bool = False
    kept: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, plan: Plan, parts: Parts, root: str | Path | None = None, caches: Mapping[str, FeatureReader] | None = None
    ) -> "Preparer":
        """From built components, whose weights stay behind; ``caches`` hold features of items by modality."""
        processors = {name: encoder.processor() for name, encoder in parts.encoders.items()}
        adapters = {name: weightless(adapter) for name, adapter in parts.adapters.items()}
        heads = {name: weightless(head) for name, head in parts.heads.items()}
        known = (parts.vocabularies, parts.offsets, adapters, heads)
        place = None if root is None else Path(root)
        return cls(plan, processors, *known, place, caches=caches or {}, continuous=parts.continuous)

    def __reduce__(self) -> tuple[Any, ...]:
        """Components travel as bytes: a plugin that is lost in a worker is told there, and does not end the worker."""
        return _arrived, (pickle.dumps({known.name: getattr(self, known.name) for known in fields(self)}),)

    def __call__(self, task: str, row: Mapping[str, Any], target: bool = True, address: str = "") -> Sample:
        """Prepare one row.

        Raises:
            SampleError: a column is missing or its value cannot be used.
        """
        planned, rate = self.plan.tasks[task], self.heads[task].input_dropout if self.training else 0.0
        dropped = rate > 0 and float(torch.rand(())) < rate
        parts: list[Ids | Media] = []
        for part in planned.parts:
            if isinstance(part, Literal):
                parts.append(self._literal(part.text))
            elif not dropped:
                parts.append(self._part(planned.modality_of[part.column], part.column, row))
        wanted: Any = None
        reference: Any = None
        if planned.outputs and (target or all(column in row for column in planned.outputs)):
            found = {column: self._output(task, column, row) for column in planned.outputs}
            reference = found if planned.written else found[planned.output or ""]
            if target:
                wanted = self._target(task, ", ".join(planned.outputs), reference)
        whole = isinstance(self.vocabularies.get(planned.output_modality or ""), Grammar)
        columns = {column: self._output(task, column, row) for column in self.kept}
        return Sample(task, tuple(parts), wanted, reference, address, whole, columns)

    def file_columns(self, task: str) -> set[str]:
        """Columns whose texts are names of files."""
        planned = self.plan.tasks[task]
        typed = {**{column: name for column, name in planned.outputs.items() if name}, **planned.modality_of}
        found = {column for column, name in typed.items() if self._opens_files(name)}
        return found | {column for column, names in planned.mixed.items() if any(map(self._opens_files, names))}

    def without_input(self, task: str) -> Sample:
        """The prompt of a task without its columns."""
        own = [part.text for part in self.plan.tasks[task].parts if isinstance(part, Literal)]
        return Sample(task, tuple(self._literal(text) for text in own))

    def alone(self, task: str, column: str, value: Any) -> Sample:
        """One column of a task and nothing else of its template, for the embedding of its node.

        Raises:
            SampleError: the value cannot be used.
        """
        return Sample(task, (self._part(self.plan.tasks[task].modality_of[column], column, {column: value}),))

    def _value(self, column: str, row: Mapping[str, Any]) -> Any:
        if column not in row:
            raise SampleError(f"there is no column {column!r}; the row has: {', '.join(map(str, row))}")
        if row[column] is None:
            raise SampleError(f"column {column!r} is empty")
        return row[column]

    def _output(self, task: str, column: str, row: Mapping[str, Any]) -> Any:
        """The value of an output column, or one that metrics want; of a modality that files hold, as one that may be opened."""
        planned, raw = self.plan.tasks[task], self._value(column, row)
        if column in planned.mixed:
            try:
                parts = parts_of(raw, planned.mixed[column])
                return [{name: self._located(name, value)} for name, value in parts]
            except SampleError as error:
                raise SampleError(f"column {column!r}: {error}") from None
        spelt = planned.outputs.get(column) if planned.by_adapter else None
        named = self.plan.spec.tasks[task].columns.get(column, column)
        typed = planned.modality_of.get(column) or (named if isinstance(named, str) else column)
        try:
            return self._located(spelt or typed, raw)
        except SampleError as error:
            raise SampleError(f"column {column!r}: {error}") from None

    def _opens_files(self, modality: str) -> bool:
        """Whether a string of this modality is the name of a file."""
        reader = self.processors.get(modality) or self.vocabularies.get(modality) or self.continuous.get(modality)
        return reader is not None and reader.strings_are_paths

    def _located(self, modality: str, raw: Any) -> Any:
        """A value whose strings are files, with its paths inside the data root; any other as it is."""
        if self.root is None or not self._opens_files(modality):
            return raw
        data = self.plan.spec.data
        return located(raw, self.root, data.urls if data else None)

    def _part(self, modality: str, column: str, row: Mapping[str, Any]) -> Ids | Media:
        raw = self._value(column, row)
        try:
            if modality in self.vocabularies:
                return self._ids(modality, self._located(modality, raw), column)
            return self._media(modality, raw)
        except SampleError as error:
            raise SampleError(f"column {column!r}: {error}") from None
        except Exception as error:
            planned = self.plan.modalities[modality]
            used = [p.component.full_name for p in (planned.vocabulary, planned.encoder, planned.adapter) if p]
            raise _broken(" with ".join(used), column, error) from error

    def _target(self, task: str, column: str, reference: Any) -> Any:
        planned = self.plan.tasks[task]
        try:
            target = self.heads[task].target(reference)
        except SampleError:
            raise
        except Exception as error:
            raise _broken(planned.head.component.full_name, column, error) from error
        if planned.spelt and planned.output_modality is not None:
            self._in_range(planned.output_modality, column, target.tolist())
        return target

    def _in_range(self, modality: str, column: str, ids: Sequence[int]) -> None:
        """Hold a vocabulary to its size: an id beyond it would be one of another modality."""
        size = self.vocabularies[modality].size
        if ids and not (min(ids) >= 0 and max(ids) < size):
            wrong = next(i for i in ids if not 0 <= i < size)
            known = self.plan.modalities.get(modality)
            who = known.vocabulary.component.full_name if known and known.vocabulary else modality
            raise PluginError(
                f"{who} gave id {wrong} for column {column!r}, its ids go from 0 to {size - 1}; "
                "is a file of codes damaged, or were they made with another codec?"
            )

    def _literal(self, text: str) -> Ids:
        """The template's own text, spelt once."""
        if text not in self.literals:
            assert self.plan.literals is not None
            self.literals[text] = self._ids(self.plan.literals, text)
        return self.literals[text]

    def _ids(self, modality: str, raw: Any, column: str = "") -> Ids:
        vocabulary, offset = self.vocabularies[modality], self.offsets[modality]
        ids = vocabulary.encode(raw)
        self._in_range(modality, column, ids)
        return Ids(tuple([offset + i for i in ids]) if offset else tuple(ids), isinstance(vocabulary, Grammar))

    def _media(self, modality: str, raw: Any) -> Media:
        processor, raw = self.processors[modality], self._located(modality, raw)
        cache = self.caches.get(modality)
        key = None if cache is None else content_key(raw, processor.strings_are_paths)
        rows = None if cache is None or key is None else cache.find(key)
        item = processor(raw) if rows is None else {}
        if cache is not None and key is None:
            key = item_key(item)
            rows = cache.find(key)
        features = processor.num_features(item) if rows is None else rows.shape[0]
        adapter = self.adapters.get(f"{modality}.adapter")
        tokens = features if adapter is None else adapter.num_tokens(features)
        return Media(modality, item if rows is None else {}, features, tokens, key, rows)


def _broken(who: str, column: str, error: Exception) -> Exception:
    """What a component raised beside the errors it may raise, as its own fault; the rest as it is."""
    if isinstance(error, MmkitError | MemoryError):
        return error
    return PluginError(f"{who} failed on column {column!r}: {type(error).__name__}: {error}")


@dataclass(frozen=True)
class _Lost:
    """In place of a preparer whose components could not be brought to this process."""

    reason: str

    def __call__(self, *_: Any, **__: Any) -> Sample:
        raise PluginError(f"a data worker cannot use the components: {self.reason}")


def _arrived(data: bytes) -> Preparer | _Lost:
    try:
        return Preparer(**pickle.loads(data))
    except Exception as error:
        return _Lost(f"{type(error).__name__}: {error}")
