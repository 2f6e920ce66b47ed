"""A component under test: built, fed and run in one way whatever its kind."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mmkit.interfaces import BuildContext, Fittable, HasExample, Loss, Scores
from mmkit.ragged import Ragged
from mmkit.registry.component import Component
from mmkit.testing.bench import Letters, Quads, Recurrent
from mmkit.testing.case import Case
from mmkit.testing.check import BrokenError, NotApplicable, require
from mmkit.wiring.construct import INTERFACES
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import import_path

WIDTH = 16
FEATURES = 12
ROWS = (5, 9, 3, 6)
WORDS = ("ab", "cabin", "b", "dab")
SERIES = ([0.5] * 8, [0.1 * n for n in range(8)], [1.0, -1.0] * 4)
Place: TypeAlias = torch.dtype | str | None
"""A type for floating-point numbers, or a device; None leaves everything as it is."""


class Subject(ABC):
    """One component with one of its cases, in a folder of its own."""

    def __init__(self, component: Component, case: Case, folder: Path) -> None:
        self.component, self.case, self.folder = component, case, folder

    @cached_property
    def given(self) -> dict[str, Any]:
        """The options as a spec gives them."""
        config = self.case.config
        return dict(config(self.folder) if callable(config) else config)

    @cached_property
    def config(self) -> Any:
        """The options, validated."""
        return import_path(self.component.config).model_validate(self.given, context={"root": self.folder})

    def values(self, name: str) -> list[Any]:
        """``raws`` or ``bad`` of the case."""
        given = getattr(self.case, name)
        return list(given(self.folder) if callable(given) else given)

    @property
    def interface(self) -> type:
        """What the builder gives."""
        return INTERFACES[self.component.kind]

    def context(self) -> dict[str, Any]:
        """What the builder is told beside the config."""
        return {}

    def build(self, seed: int = 0, assets: Path | None = None, load_weights: bool = True) -> Any:
        """A fresh one, fitted where it learns from data, in evaluation mode where it has one."""
        context = BuildContext(assets=assets, load_weights=load_weights, **self.context())
        options = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        with seeded(seed):
            built = import_path(self.component.builder)(context, **options)
            if isinstance(built, Fittable) and not built.fitted:
                built.fit(self.values("raws"))
        return built.eval() if isinstance(built, nn.Module) else built

    @cached_property
    def built(self) -> Any:
        """One that checks share and leave as it is."""
        return self.build()

    def empty(self) -> Any:
        """One whose weights take no memory."""
        with empty_weights():
            return self.build(load_weights=False)

    @cached_property
    @abstractmethod
    def inputs(self) -> list[Any]:
        """At least three samples' inputs, of different sizes where they have one."""

    @abstractmethod
    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """What the module is called with for these samples: floating-point inputs in this type, or on this device."""

    def call(self, module: Any, arguments: Sequence[Any]) -> Ragged:
        """The module's output; of a head, its summed loss."""
        return module(*arguments)

    def run(self, module: Any, inputs: Sequence[Any], to: Place = None) -> Ragged:
        """The output for these samples."""
        return self.call(module, self.arguments(inputs, to))

    def outputs(self, inputs: Sequence[Any] | None = None) -> Ragged:
        """What the shared one gives."""
        with torch.no_grad():
            return self.run(self.built, self.inputs if inputs is None else inputs)

    def close(self, got: Tensor, wanted: Tensor, what: str, times: float = 1.0) -> None:
        """Fail unless two results are equal within the case's tolerance, relative to the largest value."""
        require(got.shape == wanted.shape, f"{what}: the shape is {list(got.shape)}, wanted {list(wanted.shape)}")
        if not wanted.numel():
            return
        scale = max(1.0, float(wanted.abs().max()))
        worst = float((got.double() - wanted.double()).abs().max()) / scale
        allowed = self.case.tolerance * times
        require(worst <= allowed, f"{what}: they differ by {worst:.1e} of the largest value, allowed is {allowed:.0e}")


class EncoderSubject(Subject):
    """Raw values go through the processor."""

    @cached_property
    def raws(self) -> list[Any]:
        """Legal raw values, at least three."""
        raws = self.values("raws")
        if not raws:
            raws = [_example(self.processor)]
        return _three(raws)

    @cached_property
    def processor(self) -> Any:
        """Of the shared encoder."""
        return self.built.processor()

    def prepare(self, raw: Any) -> Any:
        """An item, its random draws always the same."""
        with seeded(1):
            return self.processor(raw)

    @cached_property
    def inputs(self) -> list[Any]:
        """Items."""
        return [self.prepare(raw) for raw in self.raws]

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """The batch."""
        return (placed(self.processor.collate(inputs), to),)


class AdapterSubject(Subject):
    """Features are drawn."""

    def context(self) -> dict[str, Any]:
        """Two widths."""
        return {"in_dim": FEATURES, "out_dim": WIDTH}

    @cached_property
    def inputs(self) -> list[Any]:
        """Float["rows in_dim"]."""
        return [drawn(rows, FEATURES, seed) for seed, rows in enumerate(ROWS)]

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """Features."""
        return (placed(Ragged.of(inputs), to),)


class WrittenSubject(Subject):
    """Raw values are encoded; a sub-class says into what."""

    @cached_property
    def raws(self) -> list[Any]:
        """Legal raw values, at least three."""
        return _three(self.values("raws") or [_example(self.built)])

    @cached_property
    def inputs(self) -> list[Any]:
        """Raw values."""
        return self.raws

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """Raw values."""
        return tuple(inputs)


class VocabularySubject(WrittenSubject):
    """Raw values become ids."""

    def call(self, module: Any, arguments: Sequence[Any]) -> Ragged:
        """Ids."""
        return Ragged.of([torch.tensor(module.encode(raw), dtype=torch.int64) for raw in arguments])


class ContinuousSubject(WrittenSubject):
    """Raw values become vectors."""

    def call(self, module: Any, arguments: Sequence[Any]) -> Ragged:
        """Vectors."""
        return Ragged.of([module.encode(raw) for raw in arguments])


class BackboneSubject(Subject):
    """Tokens are drawn: a prompt, and a target where it generates."""

    def context(self) -> dict[str, Any]:
        """A vocabulary of letters."""
        return {"vocabulary_size": Letters.size, "generates": self.component.generates}

    @cached_property
    def inputs(self) -> list[Any]:
        """(Float["rows token_dim"], Float["target token_dim"] or None)."""
        width = self.built.token_dim
        targets = (2, 5, 4, 1)
        return [
            (drawn(rows, width, seed), drawn(targets[seed], width, 10 + seed) if self.built.generates else None)
            for seed, rows in enumerate(ROWS)
        ]

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """Prompt, and target where it generates."""
        prompt = placed(Ragged.of([item[0] for item in inputs]), to)
        targets = [item[1] for item in inputs]
        target = None if targets[0] is None else placed(Ragged.of(targets), to)
        return (prompt,) if target is None else (prompt, target)


class HeadSubject(Subject):
    """Features are drawn; targets are made of the raw values."""

    def context(self) -> dict[str, Any]:
        """Widths, letters where it spells, vectors of numbers where it writes vectors."""
        return {
            "dims": (WIDTH,) * self.component.reads,
            "vocabulary": Letters() if self.component.spells else None,
            "continuous": Quads() if self.component.continuous else None,
        }

    @cached_property
    def raws(self) -> list[Any]:
        """Values of the output column; None where it needs none."""
        own = list(WORDS) if self.component.spells else [*SERIES] if self.component.continuous else [None] * len(ROWS)
        return _three(self.values("raws") or own)

    @cached_property
    def backbone(self) -> Recurrent:
        """Scores what an autoregressive head learns from."""
        with seeded(2):
            return Recurrent(Letters.size, WIDTH)

    @cached_property
    def inputs(self) -> list[Any]:
        """(one Float["rows width"] a node it reads, target or None)."""
        found = []
        for seed, raw in enumerate(self.raws):
            target = None if raw is None else self.built.target(raw)
            rows = self.case.features or ROWS[seed % len(ROWS)] + 8
            if self.component.autoregressive:
                if target is None:
                    raise BrokenError("an autoregressive head has targets: give raws in its case")
                rows = len(target)
            found.append(([drawn(rows, WIDTH, 20 * seed + n) for n in range(self.component.reads)], target))
        return found

    def features(self, inputs: Sequence[Any], to: Place = None) -> list[Ragged]:
        """What ``loss`` reads."""
        nodes = [placed(Ragged.of([item[0][n] for item in inputs]), to) for n in range(self.component.reads)]
        if not self.component.autoregressive:
            return nodes
        backbone = self.backbone.to(device=nodes[0].device, dtype=nodes[0].values.dtype)
        return [Scores(nodes[0].values, nodes[0].lengths, backbone, 0, Letters.size)]

    def arguments(self, inputs: Sequence[Any], to: Place = None) -> tuple[Any, ...]:
        """Features and targets."""
        targets = [item[1] for item in inputs if item[1] is not None]
        nothing = Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(len(inputs), dtype=torch.int64))
        return self.features(inputs, to), placed(Ragged.of(targets) if targets else nothing, to)

    def call(self, module: Any, arguments: Sequence[Any]) -> Ragged:
        """The summed loss."""
        return Ragged.of([module.loss(*arguments).total.reshape(1, 1)])

    def loss(self, module: Any, inputs: Sequence[Any]) -> Loss:
        """Of these samples."""
        return module.loss(*self.arguments(inputs))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators at a seed, and as they were afterwards."""
    import numpy as np

    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def drawn(rows: int, width: int, seed: int) -> Tensor:
    """Float["rows width"], always the same."""
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def placed(value: Any, to: Place) -> Any:
    """A batch with its floating-point tensors in another type, or as the core moves it to a device."""
    if to is None:
        return value
    if isinstance(value, Mapping):
        return {name: part if name.endswith("lengths") else placed(part, to) for name, part in value.items()}
    if isinstance(value, Ragged):
        return value.to(dtype=to) if isinstance(to, torch.dtype) else value.to(to)
    if isinstance(to, torch.dtype) and not value.is_floating_point():
        return value
    return value.to(to)


def _three(raws: list[Any]) -> list[Any]:
    return raws if len(raws) >= 3 else (raws * 3)[: max(3, len(raws))]


def _example(component: Any) -> Any:
    if not isinstance(component, HasExample):
        raise NotApplicable("nothing to try it on: give raws in its case, or a method example()")
    return component.example()[1]
