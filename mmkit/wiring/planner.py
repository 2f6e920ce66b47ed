"""spec → plan: every problem that can be found without torch, all at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmkit.errors import PluginError, Problem, SpecError, nearest
from mmkit.registry.registry import Registry
from mmkit.spec.errors import problems_of
from mmkit.spec.load import Location, Source, read_source
from mmkit.spec.schema import Spec, Task, Use
from mmkit.spec.template import Literal, Slot, parse
from mmkit.wiring.graph import BackbonePlan, ModalityPlan, Placed, Plan, TaskPlan, import_path
from mmkit.wiring.migrate import migrate
from mmkit.wiring.output_columns import OutputColumns
from mmkit.wiring.places import walk


def plan(
    spec: "str | os.PathLike[str] | Mapping[str, Any] | Source",
    registry: Registry,
    root: Path | None = None,
    *,
    model_only: bool = False,
) -> Plan:
    """Validate everything that can be validated without torch.

    Args:
        model_only: of a saved model, which can be used without what reads its data, measures it or watched its training:
            such components may be missing, until they are asked for.

    Raises:
        SpecError: with every problem found.
    """
    source = read_source(spec, root)
    if not isinstance(source.data, dict):
        raise SpecError([source.problem((), f"a spec is a mapping, got {type(source.data).__name__}")])
    source = migrate(source, registry)
    try:
        parsed = Spec.model_validate(source.data)
    except ValidationError as error:
        problems = problems_of(error, source, Spec)
        problems += _Planner(source, registry).loose_components()
        raise SpecError(problems) from None
    planner = _Planner(source, registry, model_only)
    result = planner.plan(parsed)
    if planner.problems or result is None:
        raise SpecError(planner.problems)
    return result


class _Planner:
    def __init__(self, source: Source, registry: Registry, model_only: bool = False) -> None:
        self.source = source
        self.registry = registry
        self.model_only = model_only
        self.problems: list[Problem] = []
        self.continuous: list[str] = []

    def loose_components(self) -> list[Problem]:
        """Problems of components in a spec whose form is already known to be wrong."""

        def look(value: Any, kinds: tuple[str, ...], location: Location) -> Any:
            if isinstance(value, dict) and isinstance(value.get("use"), str):
                self._place("", Use(**value), location, *kinds)
            return value

        walk(self.source.data, look)
        return self.problems

    def _say(self, location: Location, message: str, fix: str = "") -> None:
        self.problems.append(self.source.problem(location, message, fix))

    def _place(self, node: str, use: Use | None, location: Location, *kinds: str) -> Placed | None:
        if use is None:
            return None
        try:
            component = self.registry.find(kinds, use.use)
            config_class = import_path(component.config)
        except PluginError as error:
            self._say((*location, "use"), str(error), "see `mmkit components`")
            return None
        except Exception as error:
            self._say((*location, "use"), f"{use.use!r} cannot be configured: {type(error).__name__}: {error}")
            return None
        try:
            config = config_class.model_validate(use.options, context={"root": self.source.root})
        except ValidationError as error:
            self.problems += problems_of(error, self.source, config_class, location)
            return None
        return Placed(node, component, config, location)

    def plan(self, spec: Spec) -> Plan | None:
        modalities = {name: self._modality(name, spec) for name in spec.modalities}
        backbones: dict[str, BackbonePlan] = {}
        if spec.backbone:
            placed = self._place("backbone", spec.backbone, ("backbone",), "backbone")
            if placed:
                backbones["backbone"] = BackbonePlan(placed)
        nodes = self._node_names(spec, modalities)
        for name, node in spec.nodes.items():
            at: Location = ("nodes", name)
            if not name or name in modalities or name == "backbone" or "." in name:
                self._say(at, f"the name {name!r} is empty, taken or has a dot", "choose another name")
            placed = self._place(name, node.backbone, (*at, "backbone"), "backbone")
            reads = []
            for index, read in enumerate(node.reads):
                target = self._node(read.node, nodes, (*at, "reads", index, "node"))
                adapter = self._place(f"{name}.reads{index}", read.adapter, (*at, "reads", index, "adapter"), "adapter")
                reads.append((target, adapter))
            if placed:
                backbones[name] = BackbonePlan(placed, tuple(reads))
        tasks = {name: self._task(name, spec, modalities, backbones, nodes) for name in spec.tasks}
        self._sources(spec)
        self._cycles(backbones)
        beside, absent = self._beside(spec)
        if self.problems:
            return None
        planned = {name: task for name, task in tasks.items() if task is not None}
        return Plan(spec, self.source, modalities, backbones, planned, beside, absent)

    def _beside(self, spec: Spec) -> tuple[dict[Location, Placed], tuple[Problem, ...]]:
        """The components that are no part of the model, by their place; and what is wrong with them, where that waits."""
        uses: list[tuple[Location, Use, str]] = []
        for part in ("train", "valid", "test"):
            for index, given in enumerate(getattr(spec.data, part) if spec.data else []):
                if given.source is not None:
                    uses.append((("data", part, index, "source"), given.source, "source"))
        for name, task in spec.tasks.items():
            uses += [(("tasks", name, "metrics", index), use, "metric") for index, use in enumerate(task.metrics)]
        callbacks = spec.train.callbacks if spec.train else []
        uses += [(("train", "callbacks", index), use, "callback") for index, use in enumerate(callbacks)]
        before = len(self.problems)
        placed = {location: self._place("", use, location, kind) for location, use, kind in uses}
        absent: list[Problem] = []
        if self.model_only:
            self.problems, absent = self.problems[:before], self.problems[before:]
        return {location: found for location, found in placed.items() if found is not None}, tuple(absent)

    def _modality(self, name: str, spec: Spec) -> ModalityPlan:
        at: Location = ("modalities", name)
        if not name.isidentifier():
            self._say(at, f"{name!r} is not a plain name", "use letters, digits and _")
        given = spec.modalities[name]
        encoder = self._place(f"{name}.encoder", given.encoder, (*at, "encoder"), "encoder")
        if given.encoder is not None:
            adapter = self._place(f"{name}.adapter", given.adapter, (*at, "adapter"), "adapter")
            return ModalityPlan(name, encoder=encoder, adapter=adapter)
        written = self._place(f"{name}.adapter", given.adapter, (*at, "adapter"), "vocabulary", "continuous")
        if written is not None and written.component.kind == "continuous":
            self.continuous.append(name)
            return ModalityPlan(name, continuous=written)
        return ModalityPlan(name, vocabulary=written)

    def _vocabularies(self, spec: Spec) -> list[str]:
        return [name for name, m in spec.modalities.items() if m.encoder is None and name not in self.continuous]

    @staticmethod
    def _node_names(spec: Spec, modalities: dict[str, ModalityPlan]) -> dict[str, str]:
        """Every name that may be read → the node it means."""
        names = {}
        for name, given in spec.modalities.items():
            if given.encoder is not None:
                names[f"{name}.encoder"] = f"{name}.encoder"
                names[name] = f"{name}.adapter" if given.adapter else f"{name}.encoder"
                if given.adapter:
                    names[f"{name}.adapter"] = f"{name}.adapter"
        if spec.backbone:
            names["backbone"] = "backbone"
        names.update({name: name for name in spec.nodes})
        return names

    def _node(self, name: str, nodes: dict[str, str], location: Location) -> str:
        if name not in nodes:
            self._say(location, f"there is no node {name!r}: {nearest(name, list(nodes))}")
        return nodes.get(name, name)

    def _task(
        self,
        name: str,
        spec: Spec,
        modalities: dict[str, ModalityPlan],
        backbones: dict[str, BackbonePlan],
        nodes: dict[str, str],
    ) -> TaskPlan | None:
        at: Location = ("tasks", name)
        task = spec.tasks[name]
        before = len(self.problems)
        if not name or "." in name:
            self._say(at, f"the name {name!r} is empty or has a dot", "choose another name")
        head = self._place(f"{name}.head", task.head, (*at, "head"), "head")
        parts = self._template(task.input, (*at, "input"))
        if not task.input.strip():
            self._say((*at, "input"), "the template is empty", "name a column, for example {text}")
        writing = OutputColumns(
            self._say, task, head, at, list(spec.modalities), tuple(self._vocabularies(spec)), tuple(self.continuous)
        )
        template = None if task.output is None else self._template(task.output, (*at, "output"))
        written = writing.parts(template or ())
        output = written[0].column if len(written) == 1 and isinstance(written[0], Slot) else None
        types = {p.column: self._type(p.column, task, spec, (*at, "input")) for p in parts if isinstance(p, Slot)}
        used = [*types, *(part.column for part in written if isinstance(part, Slot))]
        self._columns(task, used, list(types), spec, at)
        columns = [part.column for part in written if isinstance(part, Slot)]
        mixed = {column: found for column in columns if (found := writing.several(column))}
        written_as = {column: writing.modality(column) or "" for column in columns if column not in mixed}
        several = len(written) > 1 or bool(mixed)
        for column, modality in types.items():
            if modality in self.continuous:
                self._say(
                    (*at, "input"),
                    f"column {column!r} is of modality {modality!r}, which is written as vectors and cannot be read",
                    f"give it another modality, one with an encoder: columns: {{{column}: …}}",
                )
        reads = self._reads(task, types, spec, nodes, at)
        if any(isinstance(p, Literal) for p in parts) and not self._vocabularies(spec):
            self._say(
                (*at, "input"),
                "the template has text of its own, but no modality of the spec is a vocabulary",
                "add a modality such as text: {adapter: {use: bpe}}, or leave only {columns}",
            )
        if head is not None:
            self._head_fits(head, reads, backbones, spec, at)
        if head is None or len(self.problems) > before:
            return None
        known = (reads, head, task.weight)
        if several:
            return TaskPlan(name, parts, types, None, f"{name}.output", *known, written, written_as, mixed)
        return TaskPlan(name, parts, types, output, (written_as[output] or None) if output else None, *known)

    def _columns(self, task: Task, used: list[str], inputs: list[str], spec: Spec, at: Location) -> None:
        """What ``columns`` names is there."""
        for column, named in task.columns.items():
            where = (*at, "columns", column)
            if column not in used:
                self._say(where, f"no template names column {column!r}: {nearest(column, used)}")
            for modality in [named] if isinstance(named, str) else named:
                if modality not in spec.modalities:
                    self._say(where, f"unknown modality {modality!r}: {nearest(modality, list(spec.modalities))}")
            if not isinstance(named, str) and column in inputs:
                self._say(
                    where, f"column {column!r} of the input has several modalities, which only outputs have", "name one"
                )

    def _template(self, template: str, location: Location) -> tuple[Literal | Slot, ...]:
        try:
            return parse(template)
        except ValueError as error:
            self._say(location, f"bad template: {error}")
            return ()

    def _type(self, column: str, task: Task, spec: Spec, location: Location) -> str:
        if column in task.columns:
            named = task.columns[column]
            return named if isinstance(named, str) else next(iter(named), column)
        if column in spec.modalities:
            return column
        vocabularies = self._vocabularies(spec)
        if len(vocabularies) == 1:
            return vocabularies[0]
        if len(spec.modalities) == 1:
            return next(iter(spec.modalities))
        self._say(
            location,
            f"column {column!r} is not the name of a modality, and no single vocabulary could spell it",
            f"say which it is with columns: {{{column}: …}}; modalities: {', '.join(spec.modalities)}",
        )
        return column

    def _reads(
        self, task: Task, types: dict[str, str], spec: Spec, nodes: dict[str, str], at: Location
    ) -> tuple[str, ...]:
        if task.reads is not None:
            return tuple(self._node(n, nodes, (*at, "reads", i)) for i, n in enumerate(task.reads))
        if spec.backbone:
            return ("backbone",)
        inputs = sorted({modality for modality in types.values() if modality in nodes})
        if len(inputs) == 1:
            return (nodes[inputs[0]],)
        self._say(
            (*at, "reads"), "without a backbone, say which node the head reads", f"nodes: {', '.join(nodes) or 'none'}"
        )
        return ()

    def _head_fits(
        self, head: Placed, reads: tuple[str, ...], backbones: dict[str, BackbonePlan], spec: Spec, at: Location
    ) -> None:
        component = head.component
        if (component.autoregressive or component.spells or component.continuous) and spec.tasks[
            str(at[1])
        ].output is None:
            self._say(at, f"head {component.name!r} needs an output", 'add output: "{column}"')
        if len(reads) != component.reads and reads:
            self._say(
                (*at, "reads"), f"head {component.name!r} reads {component.reads} node(s), the task names {len(reads)}"
            )
        if component.autoregressive and reads:
            names = {"backbone": spec.backbone, **{n: node.backbone for n, node in spec.nodes.items()}}
            if reads[0] not in names or names[reads[0]] is None:
                self._say((*at, "reads"), f"head {component.name!r} generates, but {reads[0]!r} is not a backbone")
            elif reads[0] in backbones and not backbones[reads[0]].placed.component.generates:
                able = sorted(c.name for c in self.registry.of_kind("backbone") if c.generates)
                self._say(
                    (*at, "head"),
                    f"head {component.name!r} needs a backbone that generates; "
                    f"{backbones[reads[0]].placed.component.name!r} does not",
                    f"use one of: {', '.join(able)}",
                )

    def _sources(self, spec: Spec) -> None:
        for part in ("train", "valid", "test"):
            for index, given in enumerate(getattr(spec.data, part) if spec.data else []):
                if given.task not in spec.tasks:
                    at: Location = ("data", part, index, "task")
                    self._say(at, f"there is no task {given.task!r}: {nearest(given.task, list(spec.tasks))}")

    def _cycles(self, backbones: dict[str, BackbonePlan]) -> None:
        for name in backbones:
            seen, queue = set(), [name]
            while queue:
                for read, _ in backbones[queue.pop()].reads:
                    if read == name:
                        self._say(("nodes", name, "reads"), f"node {name!r} reads itself, directly or through others")
                        return
                    if read in backbones and read not in seen:
                        seen.add(read)
                        queue.append(read)
