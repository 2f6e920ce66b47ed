"""The one model: named nodes over a packed batch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmkit.errors import MmkitError, PluginError, nearest
from mmkit.interfaces import Loss, Processor, Scores, VocabularyAdapter
from mmkit.interfaces.codec import streams_of
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.cached import FeatureCache, encode
from mmkit.model.lora import Lora
from mmkit.model.prepare import Preparer
from mmkit.ragged import Ragged, cat
from mmkit.wiring.construct import Parts
from mmkit.wiring.graph import Plan

if TYPE_CHECKING:
    from mmkit.model.streaming import Piece


class Model(nn.Module):
    """What ``mmkit.build`` returns: encoders, adapters, backbones and heads of one spec.

    ``model(batch)`` gives ``{"loss": …, "losses": {task: …}}``; ``predict(task, samples)`` gives predictions.

    Attributes:
        privacy: what a private training has spent, as ``privacy.json`` of the saved model says it; None without one.
        compacted: how ``quantize`` holds its layers; empty: as they are saved.
    """

    def __init__(self, plan: Plan, parts: Parts) -> None:
        super().__init__()
        self.plan = plan
        self.vocabularies = parts.vocabularies
        self.offsets = parts.offsets
        self.encoders = _modules(parts.encoders)
        self.adapters = _modules(parts.adapters)
        self.backbones = _modules(parts.backbones)
        self.heads = _modules(parts.heads)
        self.parts = parts
        self.caches: dict[str, FeatureCache] = {}
        self.lora: list[Lora] = []
        self.privacy: dict[str, Any] | None = None
        self.compacted = ""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def nodes(self) -> dict[str, nn.Module]:
        """Every node by the name that globs and ``reads`` use."""
        named = {f"{name}.encoder": self.encoders[_key(name)] for name in self.parts.encoders}
        named.update({name: self.adapters[_key(name)] for name in self.parts.adapters})
        named.update({name: self.backbones[_key(name)] for name in self.parts.backbones})
        named.update({f"{name}.head": self.heads[_key(name)] for name in self.parts.heads})
        return named

    def processors(self) -> dict[str, Processor]:
        """The processor of every encoded modality."""
        return {name: encoder.processor() for name, encoder in self.parts.encoders.items()}

    def preparer(self, root: str | Path | None = None) -> Preparer:
        """Turns rows into samples, in data workers; looks features up in the caches that are on."""
        return Preparer.of(self.plan, self.parts, root, {name: cache.reader for name, cache in self.caches.items()})

    def train(self, mode: bool = True) -> "Model":
        """Training mode for every node that trains; a frozen one stays in evaluation mode (dropout off, batch
        statistics kept)."""
        super().train(mode)
        if mode:
            for module in self.nodes().values():
                if not any(p.requires_grad for p in module.parameters()) and any(True for _ in module.parameters()):
                    module.eval()
        return self

    def forward(self, batch: PackedBatch, num_items_in_batch: Tensor | int | None = None) -> dict[str, Any]:
        """Loss of a batch: per task, the summed loss over ``batch.denominators[task]``, times the task's weight."""
        losses = Run(self, batch).losses()
        total = torch.zeros((), device=self.device)
        for task, loss in losses.items():
            weight = self.plan.tasks[task].weight
            total = total + weight * loss.total.float() / max(1, batch.denominators.get(task, loss.count))
        if not losses:
            total = total + sum((p.sum() * 0 for p in self.parameters() if p.requires_grad), total)
        return {"loss": total, "losses": {t: (loss.total.detach(), loss.count) for t, loss in losses.items()}}

    @torch.no_grad()
    def predict(
        self,
        task: str,
        samples: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        root: str | Path | None = None,
        **options: Any,
    ) -> Any:
        """Predict one sample (a mapping of columns) or a list of them.

        Raises:
            SampleError: a column is missing or a value cannot be used.
        """
        from mmkit.model.generate import predict_batch

        self.known(task)
        one = isinstance(samples, Mapping)
        rows: Sequence[Mapping[str, Any]] = [samples] if isinstance(samples, Mapping) else samples
        if not rows:
            return []
        prepare = Preparer.of(self.plan, self.parts, root)
        batch = pack([prepare(task, row, target=False) for row in rows], self.processors())
        was = self.training
        self.eval()
        try:
            result = predict_batch(self, task, batch.to(self.device), **options)
        finally:
            self.train(was)
        return result[0] if one else result

    def stream(
        self, task: str, sample: Mapping[str, Any], root: str | Path | None = None, **options: Any
    ) -> Iterator["Piece"]:
        """Predict one sample and give what is new as soon as it is there: words, half seconds of sound, rows of a picture.

        Raises:
            MmkitError: the task does not generate. SampleError: as ``predict``.
        """
        from mmkit.model.streaming import stream

        return stream(self, task, sample, root, **options)

    def known(self, task: str) -> None:
        """Refuse a task that is not there.

        Raises:
            MmkitError: with the nearest name.
        """
        if task not in self.plan.tasks:
            raise MmkitError(f"there is no task {task!r}: {nearest(task, list(self.plan.tasks))}")

    def quantize(self, kind: str) -> "Model":
        """Hold the linear layers of backbones and encoders in fewer bits, for prediction: ``int8`` or ``nf4``; itself. There is no way
        back, and such a model is not saved.

        Raises:
            MmkitError: no such kind, or its library is not installed.
        """
        from mmkit.model.compact import compact

        compact(self, kind)
        return self

    def save(self, folder: str | Path) -> Path:
        """Write weights, spec, plugin lock and assets; see ``mmkit.load``."""
        from mmkit.model.checkpoint import save

        return save(self, Path(folder))


class Run:
    """One pass over one batch: every node is computed at most once, for all samples that need it.

    Args:
        embedded: in place of the main backbone's embeddings of ``batch.ids``. features: by modality, in place of what its
            encoder gives.
    """

    def __init__(
        self,
        model: Model,
        batch: PackedBatch,
        embedded: Tensor | None = None,
        features: Mapping[str, Ragged] | None = None,
    ) -> None:
        self.model, self.batch, self.given = model, batch, features or {}
        self.features: dict[str, tuple[Ragged, list[int]]] = {}
        self.embedded = embedded
        for name in batch.features:
            self._encode(name)

    def _encode(self, name: str) -> None:
        """All items of one modality at once; the promised lengths are checked."""
        model, batch, component = self.model, self.batch, self.model.plan.modalities[name]
        encoder = model.parts.encoders[name]
        if name in self.given:
            features = self.given[name]
        elif name in batch.cached:
            promised = batch.features[name].tolist()
            features = encode(encoder, batch.cached[name], promised, model.caches[name], model.device)
        else:
            features = encoder(batch.items[name])
        assert component.encoder is not None
        width = model.parts.dims[f"{name}.encoder"]
        _check(features, batch.features[name], width, component.encoder.component.full_name, "features")
        self.features[f"{name}.encoder"] = _by_sample(features, batch.owners[name])
        adapter = model.parts.adapters.get(f"{name}.adapter")
        tokens = features if adapter is None else adapter(features)
        if component.adapter is not None:
            width = model.parts.dims[f"{name}.adapter"]
            _check(tokens, batch.tokens[name], width, component.adapter.component.full_name, "tokens")
        self.features[f"{name}.adapter"] = _by_sample(tokens, batch.owners[name])

    def stream(self, samples: Sequence[int]) -> Ragged:
        """The embedded token streams of these samples, for the main backbone."""
        batch, backbone = self.batch, self.model.parts.backbones["backbone"]
        sources = [self.features[f"{name}.adapter"][0].values for name in batch.features]
        if batch.ids.shape[0] or not sources:
            if self.embedded is None:
                self.embedded = backbone.embed(batch.ids)
            sources = [self.embedded, *sources]
        kind = sources[0].dtype
        table = torch.cat([source.to(kind) for source in sources]) if len(sources) > 1 else sources[0]
        return Ragged(table.index_select(0, batch.stream), batch.stream_lengths).select(samples)

    def prompt(self, node: str, samples: Sequence[int]) -> Ragged:
        """What a backbone reads for these samples."""
        reads = self.model.plan.backbones[node].reads
        if not reads:
            return self.stream(samples)
        parts = []
        for read, adapter in reads:
            features = self.read(read, samples)
            parts.append(features if adapter is None else self.model.parts.adapters[adapter.node](features))
        joined = [torch.cat(pieces) for pieces in zip(*(part.split() for part in parts), strict=True)]
        return Ragged.of(joined)

    def read(self, node: str, samples: Sequence[int]) -> Ragged:
        """Features of a node for these samples."""
        if node in self.model.parts.backbones:
            prompt = self.prompt(node, samples)
            states = self.model.parts.backbones[node](prompt)
            who = self.model.plan.backbones[node].placed.component.full_name
            _check(states, prompt.lengths, self.model.parts.dims[node], who, "states")
            return states
        if node not in self.features:
            width = self.model.parts.dims[node]
            return Ragged(torch.zeros(0, width, device=self.model.device), torch.zeros(len(samples), dtype=torch.int64))
        features, owners = self.features[node]
        place = {owner: index for index, owner in enumerate(owners)}
        empty = features.values[:0]
        parts = features.split()
        return Ragged.of([parts[place[s]] if s in place else empty for s in samples])

    def losses(self) -> dict[str, Loss]:
        """The summed loss of every task in the batch; tasks that decode with one backbone share its forward pass."""
        plan, heads = self.model.plan.tasks, self.model.parts.heads
        decoding: dict[str, list[str]] = {}
        found: dict[str, Loss] = {}
        for task in dict.fromkeys(self.batch.tasks):
            if heads[task].autoregressive:
                decoding.setdefault(plan[task].reads[0], []).append(task)
            else:
                samples = self.batch.of_task(task)
                features = [self.read(node, samples) for node in plan[task].reads]
                found[task] = heads[task].loss(features, self._targets(task, len(samples)))
        for node, tasks in decoding.items():
            for task, scores in self.scores(node, tasks).items():
                found[task] = heads[task].loss([scores], self._targets(task, len(scores)))
        return found

    def _targets(self, task: str, count: int) -> Ragged:
        targets = self.batch.targets.get(task)
        if targets is None:
            nothing = torch.zeros(0, dtype=torch.int64, device=self.model.device)
            targets = Ragged(nothing, torch.zeros(count, dtype=torch.int64))
        return targets

    def scores(self, node: str, tasks: Sequence[str]) -> dict[str, Scores]:
        """Teacher-forced states of each task's targets, one row a target id, with the way to their scores."""
        backbone, samples = self.model.parts.backbones[node], [s for t in tasks for s in self.batch.of_task(t)]
        inputs = [self._inputs(task) for task in tasks]
        rows = self._embed(node, torch.cat([given.values for given in inputs])).split([len(i.values) for i in inputs])
        hidden = backbone(
            self.prompt(node, samples), cat([self._steps(*of) for of in zip(tasks, inputs, rows, strict=True)])
        )
        scores, first = {}, 0
        for task in tasks:
            vocabulary, offset = self._vocabulary(task)
            states, streams = hidden.select(range(first, first + len(self.batch.of_task(task)))), streams_of(vocabulary)
            values = states.values if streams == 1 else states.values.repeat_interleave(streams, 0)
            scores[task] = Scores(values, states.lengths * streams, backbone, offset, vocabulary.size)
            first += len(states)
        return scores

    def _inputs(self, task: str) -> Ragged:
        """What is read where target ids are predicted: the begin id, then the target without its last step."""
        vocabulary, offset = self._vocabulary(task)
        target, streams = self._targets(task, len(self.batch.of_task(task))), streams_of(vocabulary)
        starts = (target.offsets[:-1][target.lengths > 0][:, None] + torch.arange(streams)).flatten().to(target.device)
        return target.replace(target.values.roll(streams).index_fill(0, starts, vocabulary.begin_id) + offset)

    def _steps(self, task: str, inputs: Ragged, rows: Tensor) -> Ragged:
        """One row a step: the sum of its ids' rows."""
        streams = streams_of(self._vocabulary(task)[0])
        if streams == 1:
            return inputs.replace(rows)
        return Ragged(rows.unflatten(0, (-1, streams)).sum(1), inputs.lengths // streams)

    def _embed(self, node: str, ids: Tensor) -> Tensor:
        """Embedded ids; those of the streams are looked up with them, for one gradient of the table instead of two."""
        backbone = self.model.parts.backbones[node]
        if node != "backbone" or self.embedded is not None:
            return backbone.embed(ids)
        streams = self.batch.ids.shape[0]
        both = backbone.embed(torch.cat([self.batch.ids, ids]))
        self.embedded, rows = both[:streams], both[streams:]
        return rows

    def _vocabulary(self, task: str) -> tuple[VocabularyAdapter, int]:
        name = self.model.plan.tasks[task].output_modality
        assert name is not None
        return self.model.vocabularies[name], self.model.offsets[name]


_TAKEN = frozenset(dir(nn.ModuleDict()))


def _key(node: str) -> str:
    """A name that ModuleDict takes: without dots, and not one of its own attributes (``type``, ``float`` …)."""
    key = node.replace(".", "/")
    return f"{key}/" if key in _TAKEN else key


def _modules(named: Mapping[str, nn.Module]) -> nn.ModuleDict:
    return nn.ModuleDict({_key(name): module for name, module in named.items()})


def _by_sample(features: Ragged, owners: Sequence[int]) -> tuple[Ragged, list[int]]:
    """Join the items of each sample (they lie next to each other)."""
    merged = list(dict.fromkeys(owners))
    if len(merged) == len(owners):
        return features, merged
    lengths = dict.fromkeys(merged, 0)
    for owner, size in zip(owners, features.sizes, strict=True):
        lengths[owner] += size
    return Ragged(features.values, torch.tensor(list(lengths.values()))), merged


def _check(got: Ragged, promised: Tensor, width: int, who: str, what: str) -> None:
    """Hold a component to its promise before its rows are laid into the stream.

    Raises:
        PluginError: another number of items, of rows of an item, or another width.
    """
    wanted = promised.tolist()
    fault = ""
    if len(got) != len(wanted):
        fault = f"it was given {len(wanted)} items and returned {len(got)}"
    elif got.sizes != wanted:
        item = next(i for i, (a, b) in enumerate(zip(got.sizes, wanted, strict=True)) if a != b)
        fault = f"item {item} was promised {wanted[item]} {what} and has {got.sizes[item]}"
    elif got.values.dim() != 2 or got.values.shape[1] != width:
        fault = f"its {what} have the shape {list(got.values.shape)}, promised was a width of {width}"
    if fault:
        raise PluginError(f"{who} breaks its contract: {fault}")
