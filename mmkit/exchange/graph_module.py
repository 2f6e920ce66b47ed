"""One task's way through a model as a module of plain tensors: encoders, adapters, stream, backbones, head, as they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.exchange.graph_inputs import LENGTH, Place, encoder_batch, one_item
from mmkit.model.model import Model
from mmkit.ragged import Padded, Ragged
from mmkit.wiring.graph import Placed

Answer = Callable[[Sequence[Ragged]], Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """What one graph computes.

    Attributes:
        name: of the file. task: whose template and head it is. nodes: what the head reads. places: what is given.
        answer: the tensors, of the nodes' features. alone: nodes that want lengths as numbers; with any, the graph is for one
            item at a time.
    """

    name: str
    task: str
    nodes: tuple[str, ...]
    places: tuple[Place, ...]
    answer: Answer
    alone: frozenset[str] = frozenset()


@dataclass
class Progress:
    """How far a pass is.

    Attributes:
        at: the component that is being run, for messages. outputs: names, once it has run.
    """

    at: Placed | None = None
    outputs: list[str] = field(default_factory=list)


class Graph(nn.Module):
    """``forward(**inputs)`` gives the outputs by name; sequences have an output ``NAME_length`` beside them."""

    def __init__(self, model: Model, question: Question) -> None:
        super().__init__()
        self.parts, self.plan, self.offsets, self.question = model.parts, model.plan, model.offsets, question
        self.used = nn.ModuleList(_used(model, question))
        self.forward = _named(self.compute, question)
        self.progress = Progress()  # an object, since torch.export takes back what a pass sets on a module
        for place in question.places:
            if place.own:
                self.register_buffer(f"own_{place.at}", torch.tensor(place.own), persistent=False)

    def compute(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Float["items …"] by name; inputs as ``graph_inputs`` names them."""
        run = _Run(self, given)
        features = [run.read(node) for node in self.question.nodes]
        head = self.plan.tasks[self.question.task].head
        with self.running(head, run.items):
            answer = self.question.answer([run.given_to(head, node) for node in features])
        found: dict[str, Tensor] = {}
        for name, value in answer.items():
            if isinstance(value, Ragged):
                padded = _padded(value)
                found[name], found[name + LENGTH] = padded.to_padded()[0], padded.lengths
            else:
                found[name] = value
        self.progress.outputs = list(found)
        return found

    @contextmanager
    def running(self, placed: Placed, items: Any) -> Iterator[None]:
        """Inside, ``progress.at`` is this component.

        Raises:
            TypeError: it made a constant of the number of items.
        """
        self.progress.at = placed
        yield
        if isinstance(items, torch.SymInt) and items.node.maybe_as_int() is not None:
            raise TypeError("it needs the number of items as a number, and an exported graph is for any")
        self.progress.at = None


class _Run:
    """One pass; as ``mmkit.model.model.Run``, of padded items."""

    def __init__(self, graph: Graph, given: Mapping[str, Tensor]) -> None:
        self.graph, self.given, self.parts, self.plan = graph, given, graph.parts, graph.plan
        self.items = next(iter(given.values())).shape[0]
        self.made: dict[int, tuple[Padded, Padded]] = {}

    def read(self, node: str) -> Padded:
        """Features of a node."""
        if node in self.plan.backbones:
            prompt = self._prompt(node)
            with self.graph.running(self.plan.backbones[node].placed, self.items):
                placed = self.plan.backbones[node].placed
                return _padded(self.parts.backbones[node](self.given_to(placed, prompt)))
        name, _, stage = node.rpartition(".")
        mine = [place for place in self.graph.question.places if place.modality == name]
        return join([self._media(place)[stage == "adapter"] for place in mine])

    def given_to(self, placed: Placed, rows: Padded) -> Ragged:
        """What a component is given: of one that wants lengths as numbers, a batch of one item."""
        return one_item(rows) if placed.node in self.graph.question.alone else rows

    def _media(self, place: Place) -> tuple[Padded, Padded]:
        """Features and tokens of a column."""
        if place.at not in self.made:
            planned = self.plan.modalities[place.modality]
            assert planned.encoder is not None
            with self.graph.running(planned.encoder, self.items):
                packed = planned.encoder.node in self.graph.question.alone
                features = _padded(self.parts.encoders[place.modality](encoder_batch(place, self.given, packed)))
            tokens = features
            if planned.adapter is not None:
                with self.graph.running(planned.adapter, self.items):
                    adapter = self.parts.adapters[f"{place.modality}.adapter"]
                    tokens = _padded(adapter(self.given_to(planned.adapter, features)))
            self.made[place.at] = features, tokens
        return self.made[place.at]

    def _prompt(self, node: str) -> Padded:
        """What a backbone reads."""
        reads = self.plan.backbones[node].reads
        if not reads:
            return join([self._tokens(place) for place in self.graph.question.places])
        parts = []
        for read, adapter in reads:
            features = self.read(read)
            if adapter is not None:
                with self.graph.running(adapter, self.items):
                    features = _padded(self.parts.adapters[adapter.node](self.given_to(adapter, features)))
            parts.append(features)
        return join(parts)

    def _tokens(self, place: Place) -> Padded:
        """A part of the stream."""
        if place.fields and place.fields[0].key:
            return self._media(place)[1]
        if place.own:
            own = self.graph.get_buffer(f"own_{place.at}")
            ids = Padded(own[None].expand(self.items, -1), None)
        else:
            name = place.fields[0].name
            ids = Padded(self.given[name] + self.graph.offsets[place.modality], self.given.get(name + LENGTH))
        with self.graph.running(self.plan.backbones["backbone"].placed, self.items):
            return ids.replace(self.parts.backbones["backbone"].embed(ids.values))


def join(parts: Sequence[Padded]) -> Padded:
    """Each item's rows of all parts one after another, with padding at the end only."""
    if len(parts) == 1:
        return parts[0]
    rows = torch.cat([part.values.to(parts[0].values.dtype) for part in parts], dim=1)
    if all(part.full for part in parts):
        return Padded(rows, None)
    lengths = torch.stack([part.lengths for part in parts]).sum(0)
    if all(part.full for part in parts[:-1]):
        return Padded(rows, lengths)
    real = torch.cat([part.mask for part in parts], dim=1).long()
    behind = lengths[:, None] + (1 - real).cumsum(1) - 1
    goal = torch.where(real > 0, real.cumsum(1) - 1, behind)[..., None].expand_as(rows)
    return Padded(torch.zeros_like(rows).scatter(1, goal, rows), lengths)


def _named(compute: Callable[[Mapping[str, Tensor]], Any], question: Question) -> Callable[..., Any]:
    """A function with the inputs as its parameters, by which torch.export names them."""
    fields = [one for place in question.places for one in place.fields]
    lengths = not question.alone
    names = [name for f in fields for name in ([f.name, f.name + LENGTH] if f.ragged and lengths else [f.name])]
    signature = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in dict.fromkeys(names)])

    def forward(*args: Any, **kwargs: Any) -> Any:
        return compute(signature.bind(*args, **kwargs).arguments)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward


def _padded(given: Ragged) -> Padded:
    if isinstance(given, Padded):
        return given
    if len(given) == 1:
        return Padded(given.values[None], None)
    return Padded(given.to_padded()[0], given.lengths.to(given.device))


def _used(model: Model, question: Question) -> list[nn.Module]:
    """The modules that run, whose weights the file will have."""
    names, todo = [f"{question.task}.head"], list(question.nodes)
    modalities = {place.modality for place in question.places if place.modality in model.parts.encoders}
    for name in modalities:
        names += [f"{name}.encoder", f"{name}.adapter"]
    while todo:
        node = todo.pop()
        if node in model.plan.backbones:
            reads = model.plan.backbones[node].reads
            names += [node, *(adapter.node for _, adapter in reads if adapter is not None)]
            todo += [read for read, _ in reads]
    known = model.nodes()
    return [known[name] for name in dict.fromkeys(names) if name in known]
