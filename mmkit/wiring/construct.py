"""plan → component objects, checking that widths, vocabularies and generation fit together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkit.errors import MmkitError, PluginError, Problem, SpecError
from mmkit.interfaces import (
    Backbone,
    BuildContext,
    ContinuousAdapter,
    Encoder,
    Fittable,
    SoftAdapter,
    TaskHead,
    VocabularyAdapter,
)
from mmkit.interfaces.codec import streams_of
from mmkit.wiring.graph import Placed, Plan
from mmkit.wiring.interleaved import Interleaved, unfit

INTERFACES: dict[str, type] = {
    "encoder": Encoder,
    "adapter": SoftAdapter,
    "vocabulary": VocabularyAdapter,
    "continuous": ContinuousAdapter,
    "backbone": Backbone,
    "head": TaskHead,
}


@dataclass
class Parts:
    """The built components by node name.

    Attributes:
        dims: width of what every readable node gives.
        offsets: where each vocabulary's ids start in the shared table; ``vocabulary_size`` is its rows.
    """

    vocabularies: dict[str, VocabularyAdapter] = field(default_factory=dict)
    continuous: dict[str, ContinuousAdapter] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    adapters: dict[str, SoftAdapter] = field(default_factory=dict)
    backbones: dict[str, Backbone] = field(default_factory=dict)
    heads: dict[str, TaskHead] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    vocabulary_size: int = 0


def construct(
    plan: Plan,
    assets: Path | None = None,
    load_weights: bool = True,
    fit: Mapping[str, Iterable[Any]] | None = None,
    require_fitted: bool = True,
) -> Parts:
    """Build every component of the plan.

    Args:
        assets: folder of a checkpoint's assets, one sub-folder a node.
        load_weights: False builds architectures only.
        fit: raw values per modality for components that learn from data before the build.
        require_fitted: False accepts unfitted components at their nominal size (``mmkit check``).

    Raises:
        SpecError: widths or vocabularies do not fit; every such problem found.
        PluginError: a builder failed or gave a wrong type.
    """
    return _Constructor(plan, assets, load_weights, fit or {}, require_fitted).run()


class _Constructor:
    def __init__(
        self,
        plan: Plan,
        assets: Path | None,
        load_weights: bool,
        fit: Mapping[str, Iterable[Any]],
        require_fitted: bool,
    ) -> None:
        self.plan, self.assets, self.load_weights = plan, assets, load_weights
        self.fit, self.require_fitted = fit, require_fitted
        self.parts = Parts()
        self.problems: list[Problem] = []

    def run(self) -> Parts:
        self._vocabularies()
        self._interleaved()
        self._encoders()
        for name in self._backbone_order():
            self._backbone(name)
        self._adapters()
        for name in self.plan.tasks:
            self._head(name)
        if self.problems:
            raise SpecError(self.problems)
        return self.parts

    def _say(self, placed: Placed, message: str, fix: str = "") -> None:
        self.problems.append(self.plan.source.problem(placed.location, message, fix))

    def _build(self, placed: Placed, **known: Any) -> Any:
        component = placed.component
        folder = self.assets / placed.node if self.assets is not None else None
        if folder is not None and not folder.is_dir():
            folder = None
        context = BuildContext(assets=folder, load_weights=self.load_weights, **known)
        try:
            built = placed.build(context)
        except MmkitError:
            raise
        except Exception as error:
            where = f"{component.full_name} at {'.'.join(str(p) for p in placed.location)}"
            raise PluginError(f"{where} could not be built: {type(error).__name__}: {error}") from error
        if not isinstance(built, INTERFACES[component.kind]):
            wanted = INTERFACES[component.kind].__name__
            raise PluginError(f"{component.full_name}: builder gave a {type(built).__name__}, wanted a mmkit.{wanted}")
        return built

    def _fitted(self, placed: Placed, built: Any, modality: str) -> None:
        if not isinstance(built, Fittable) or built.fitted:
            return
        if modality in self.fit:
            built.fit(self.fit[modality])
        elif self.require_fitted:
            self._say(
                placed,
                f"{placed.component.name!r} of modality {modality!r} learns from data, and has seen none",
                f"mmkit.train(spec) trains it first, or give it raw values: mmkit.build(spec, fit={{{modality!r}: [...]}})",
            )

    def _vocabularies(self) -> None:
        for name, modality in self.plan.modalities.items():
            if modality.vocabulary:
                built = self._build(modality.vocabulary)
                self._fitted(modality.vocabulary, built, name)
                self.parts.vocabularies[name] = built
                self.parts.offsets[name] = self.parts.vocabulary_size
                self.parts.vocabulary_size += built.size
            if modality.continuous:
                written = self._build(modality.continuous)
                self._fitted(modality.continuous, written, name)
                self.parts.continuous[name] = written
        if self.problems:
            raise SpecError(self.problems)

    def _interleaved(self) -> None:
        """A vocabulary of its own for every task whose output has several parts."""
        for task in self.plan.tasks.values():
            if not task.written:
                continue
            main = self.plan.literals or ""
            found = {name: self.parts.vocabularies[name] for name in dict.fromkeys([main, *task.output_modalities])}
            odd = unfit(found)
            if odd is not None:
                self._say(
                    task.head,
                    f"{odd!r} writes {streams_of(found[odd])} ids a step, and an output of several parts has one a step",
                    f"write {odd!r} with pattern: flat",
                )
                continue
            offsets = {name: self.parts.offsets[name] for name in found}
            size, name = self.parts.vocabulary_size, f"{task.name}.output"
            self.parts.offsets[name] = 0
            self.parts.vocabularies[name] = Interleaved(
                found, offsets, main, task.written, task.written_as, size, task.mixed
            )
        if self.problems:
            raise SpecError(self.problems)

    def _encoders(self) -> None:
        for name, modality in self.plan.modalities.items():
            if modality.encoder:
                built = self._build(modality.encoder)
                self._fitted(modality.encoder, built, name)
                self.parts.encoders[name] = built
                self.parts.dims[f"{name}.encoder"] = built.feature_dim

    def _backbone_order(self) -> list[str]:
        order: list[str] = []
        pending = list(self.plan.backbones)
        while pending:
            for name in pending:
                reads = [node for node, _ in self.plan.backbones[name].reads if node in self.plan.backbones]
                if all(node in order for node in reads):
                    order.append(name)
                    pending.remove(name)
                    break
        return order

    def _backbone(self, name: str) -> None:
        planned = self.plan.backbones[name]
        generates = any(t.head.component.autoregressive and name in t.reads for t in self.plan.tasks.values())
        built = self._build(planned.placed, vocabulary_size=self.parts.vocabulary_size, generates=generates)
        if generates and not built.generates:
            component = planned.placed.component.name
            self._say(planned.placed, f"{component!r} with these options does not generate, and a head needs it to")
        self.parts.backbones[name] = built
        self.parts.dims[name] = built.hidden_dim
        for index, (node, adapter) in enumerate(planned.reads):
            width = self.parts.dims.get(node, 0)
            if node.endswith(".adapter") and not width:
                width = self._adapter(node.removesuffix(".adapter"))
            if adapter:
                made = self._build(adapter, in_dim=width, out_dim=built.token_dim)
                self.parts.adapters[adapter.node] = made
                width = made.out_dim
            if width != built.token_dim:
                self._say(
                    planned.placed,
                    f"reads[{index}] gives tokens {width} wide, the backbone reads {built.token_dim}",
                    "put an adapter between them, for example adapter: {use: linear}",
                )

    def _adapters(self) -> None:
        for name in self.plan.modalities:
            self._adapter(name)

    def _adapter(self, name: str) -> int:
        """Build the soft adapter of a modality once; check that the stream's backbone can read its tokens."""
        modality, main = self.plan.modalities[name], self.parts.backbones.get("backbone")
        node = f"{name}.adapter"
        if modality.encoder is None or node in self.parts.dims:
            return self.parts.dims.get(node, 0)
        features = self.parts.dims[f"{name}.encoder"]
        width = features
        if modality.adapter:
            out = main.token_dim if main else features
            made = self._build(modality.adapter, in_dim=features, out_dim=out)
            self.parts.adapters[node] = made
            self.parts.dims[node] = width = made.out_dim
        streamed = any(
            "backbone" in self._sources_of(task.reads) and name in task.modality_of.values()
            for task in self.plan.tasks.values()
        )
        if main and streamed and width != main.token_dim:
            self._say(
                modality.adapter or modality.encoder,
                f"modality {name!r} gives tokens {width} wide, the backbone reads {main.token_dim}",
                "add or change its adapter, for example adapter: {use: linear}",
            )
        return width

    def _sources_of(self, nodes: Iterable[str]) -> set[str]:
        found: set[str] = set()
        queue = list(nodes)
        while queue:
            node = queue.pop()
            if node not in found:
                found.add(node)
                if node in self.plan.backbones:
                    queue += [read for read, _ in self.plan.backbones[node].reads]
        return found

    def _head(self, name: str) -> None:
        task = self.plan.tasks[name]
        output = task.output_modality or ""
        encoders = {f"{modality}.encoder": encoder for modality, encoder in self.parts.encoders.items()}
        self.parts.heads[name] = self._build(
            task.head,
            dims=tuple(self.parts.dims[node] for node in task.reads),
            processors=tuple(encoders[node].processor() if node in encoders else None for node in task.reads),
            vocabulary=self.parts.vocabularies.get(output),
            continuous=self.parts.continuous.get(output),
        )
