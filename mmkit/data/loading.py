"""Packed batches from sources: the draws, prepared in workers, packed here; at a position that can be saved."""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from mmkit.data.draws import Chunk, Draws
from mmkit.data.packing import Batching, Fixed
from mmkit.data.preparation import Preparation, Prepared
from mmkit.data.quarantine import PackingReport, Quarantine
from mmkit.data.sources import Rows, open_all, raw_values
from mmkit.data.transport import receive
from mmkit.data.window import Entry, Record, Window
from mmkit.errors import DataError
from mmkit.model.batch import BadSample, PackedBatch, Sample, pack
from mmkit.model.model import Model
from mmkit.spec.schema import Data

CHUNK = 16
"""Rows that are prepared together: one message between processes instead of sixteen."""
PROBED = 512
"""Rows from which the number of token-budget batches of an epoch is told."""


class PackedLoader:
    """Packed batches of one rank.

    Iterating starts at the beginning, or once where ``load_state_dict`` said. With a fixed number of samples a batch every
    rank gets equally many batches, the last ones smaller, possibly empty. With a token budget and a seed there is no end:
    ``steps`` says how many batches make the wanted number of samples.

    Attributes:
        report: how full the batches were, and which samples were too long.
    """

    def __init__(
        self,
        model: Model,
        sources: Sequence[Rows],
        batching: Batching,
        *,
        total_samples: int | None = None,
        seed: int | None = None,
        stage_index: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        data = model.plan.spec.data or Data()
        skip = data.on_bad_sample == "skip"
        self.sources, self.batching, self.total = list(sources), batching, total_samples
        self.seed, self.stage, self.rank, self.world, self.workers = seed, stage_index, rank, world, data.workers
        self.processors = model.processors()
        self.autoregressive = [name for name, head in model.parts.heads.items() if head.autoregressive]
        self.preparation = Preparation(
            self.sources, replace(model.preparer(), training=seed is not None), skip, seed or 0, stage_index
        )
        self.skip = skip
        self.by_tokens = batching.tokens_per_batch is not None
        self.loaded: dict[str, Any] | None = None
        self._reset()

    def _reset(self) -> None:
        self.draws = self._draws(None if self.by_tokens and self.seed is not None else self.total)
        self.window = Window(self.batching, self.autoregressive, self.skip)
        self.report = PackingReport(self.batching.tokens_per_batch or 0)
        self.position = 0

    def _draws(self, total: int | None) -> Draws:
        chunk = CHUNK if self.workers or self.by_tokens else min(CHUNK, self.batching.batch_size or CHUNK)
        return Draws(
            self.sources, self.seed, stage=self.stage, total=total, rank=self.rank, world=self.world, chunk=chunk
        )

    def __iter__(self) -> Iterator[PackedBatch]:
        self._reset()
        done: Container[int] = ()
        if self.loaded is not None:
            done = self._restore(self.loaded)
            self.loaded = None
        prepared, more, first, batches = self._prepared(done), True, self.position, 0
        while True:
            while more and self.window.wants_more():
                chunk = next(prepared, None)
                if chunk is None:
                    more = False
                else:
                    self.window.add(*chunk)
            if not self.window.entries:
                break
            entries = self.window.take()
            if self._usable(entries):
                batches += 1
                yield self._batch(entries)
        while not self.by_tokens and batches < self._batches(self.draws.number - first):
            batches += 1
            yield self._batch([])

    def _prepared(self, done: Container[int]) -> Iterator[tuple[Record, list[Prepared]]]:
        """Chunks in the order of their draws, each with its record, which is known from the moment it is drawn."""

        def chunks() -> Iterator[Chunk]:
            for chunk in self.draws.chunks(done):
                self.window.records.append(Record(chunk.start, chunk.draws, chunk.done))
                yield replace(chunk, start={}, done=[])

        if not self.workers:
            for chunk in chunks():
                yield self.window.records[-1], self.preparation.prepare(chunk)
            return
        # A generator of its own: the loader must not draw its workers' seed from the one that the model's dropout uses.
        loader: DataLoader[Any] = DataLoader(
            self.preparation,
            batch_size=None,
            sampler=chunks(),
            num_workers=self.workers,
            collate_fn=_same,
            generator=torch.Generator(),
        )
        for shipped in loader:
            yield next(record for record in self.window.records if record.left is None), receive(shipped)

    def _usable(self, entries: Sequence[Entry]) -> bool:
        """Whether a batch holds anything but dropped samples, which are counted here.

        Raises:
            DataError: nothing but dropped samples so far.
        """
        for entry in entries:
            if entry.fate and entry.piece == 0:
                self.report.note(entry.fate, entry.address)
        usable = any(entry.sample is not None for entry in entries)
        if not usable and not self.report.batches:
            raise DataError(
                f"every one of {len(entries):,} samples is longer than tokens_per_batch = {self.report.budget:,} and was "
                f"dropped ({', '.join(entry.address for entry in entries[:3])}); raise tokens_per_batch"
            )
        return usable

    def _batch(self, entries: Sequence[Entry]) -> PackedBatch:
        report = self.report
        samples = [entry.sample for entry in entries if isinstance(entry.sample, Sample | BadSample)]
        if not self.by_tokens:
            self.position += self.window.budget * self.world
            self.window.forget(self.position, self.draws.number)
        report.batches += 1
        report.tokens += sum(entry.tokens for entry in entries if isinstance(entry.sample, Sample))
        return pack(samples, self.processors, self.autoregressive)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: the position after the last batch that was handed out, whatever is already prepared."""
        if self.loaded is not None:
            return self.loaded
        records = self.window.records
        return {
            "world": self.world,
            "position": self.position,
            "draws": records[0].start if records else self.draws.state(),
            **self.window.state(),
            "report": self.report.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on after the batch at which the state was taken.

        Raises:
            DataError: the state is of a run with other sources or of other ranks.
        """
        if len(state["draws"]["sources"]) != len(self.sources):
            raise DataError(
                f"the saved position is of {len(state['draws']['sources'])} sources, the spec names "
                f"{len(self.sources)}; resume with the spec that the run was started with"
            )
        if state["world"] != self.world and self.by_tokens:
            raise DataError(
                f"the saved position is of {state['world']} processes, this run has {self.world}; with tokens_per_batch "
                "each packs samples of its own: resume with as many, or train with batch_size"
            )
        self.loaded = state

    def _restore(self, state: dict[str, Any]) -> Container[int]:
        """Go to the oldest draw that still waited; the result says which of those after it are used up."""
        self.draws.load(state["draws"])
        self.report.load(state["report"])
        self.position = state["position"]
        self.window.used_pieces = {int(number): list(used) for number, used in state["pieces"].items()}
        return set(state["done"]) if self.by_tokens else range(self.position)

    def steps(self, accumulate: int) -> int:
        """Optimizer steps that make ``total_samples`` samples; with a token budget told from the first 512 of them.

        Raises:
            DataError: ``total_samples`` is not known, or a sample cannot be prepared.
        """
        if self.total is None:
            raise DataError("the number of steps is not known without total_samples; give steps")
        batches = self._told(self.total) if self.by_tokens else self._batches(self.total) * self.world
        return max(1, math.ceil(batches / (self.world * accumulate)))

    def _batches(self, total: int) -> int:
        """Batches of each rank, where they have a fixed number of samples."""
        return math.ceil(total / (self.window.budget * self.world))

    def _told(self, total: int) -> float:
        """Batches of all ranks: packing some samples tells how many tokens they have and how full a batch gets."""
        count = min(total, PROBED)
        draws = Draws(self.sources, self.seed, stage=self.stage, total=count)
        window = Window(self.batching, self.autoregressive, self.skip)
        for chunk in draws.chunks():
            window.add(Record(chunk.start, chunk.draws, chunk.done), self.preparation.prepare(chunk))
        packed: list[int] = []
        while window.entries:
            packed.append(sum(entry.tokens for entry in window.take()))
        full = packed[:-1] or packed
        return len(packed) if count == total else sum(packed) / count * total / (sum(full) / len(full))


def loader(
    model: Model,
    sources: Sequence[Rows],
    batching: Batching | int,
    *,
    total_samples: int | None = None,
    seed: int | None = None,
    stage_index: int = 0,
    rank: int = 0,
    world: int = 1,
) -> PackedLoader:
    """Packed batches of some sources.

    Args:
        batching: a stage, or a number of samples a batch.
        total_samples: how many rows all ranks draw from the weighted mixture; None: without end.
        seed: of the order, the mixture and every sample's own randomness; None: every row once, in order.
    """
    given: Batching = Fixed(batching) if isinstance(batching, int) else batching
    return PackedLoader(
        model,
        sources,
        given,
        total_samples=total_samples,
        seed=seed,
        stage_index=stage_index,
        rank=rank,
        world=world,
    )


def _same(value: Any) -> Any:
    return value


__all__ = ["PackedLoader", "Quarantine", "loader", "open_all", "raw_values"]
