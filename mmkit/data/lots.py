"""Poisson-sampled batches for private training: every row comes or does not, on its own, with a fixed probability."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from mmkit.data.draws import Chunk, Draw
from mmkit.data.preparation import Failure, Preparation, Prepared
from mmkit.data.quarantine import PackingReport
from mmkit.data.seeds import generator
from mmkit.data.sources import Rows
from mmkit.data.transport import receive
from mmkit.model.batch import BadSample, PackedBatch, Sample, pack
from mmkit.model.model import Model
from mmkit.spec.schema import Data

CHUNK = 16
_SAMPLING = 7_919


class Lots:
    """One lot a step, without end: a list of batches of one sample each, none where no row was drawn.

    The sum of lots is what the subsampled Gaussian mechanism assumes (Abadi et al. 2016; Mironov et al. 2019): a lot has a
    random number of rows, no row twice, and whether one comes does not depend on the others. Bad rows are drawn as others
    and give nothing.

    Args:
        rates: per source, the probability of each of its rows.
        secret: the sampling's randomness. seed: of the samples' own (augmentation).
    """

    def __init__(
        self, model: Model, sources: Sequence[Rows], rates: Sequence[float], *, secret: int, seed: int, stage_index: int
    ) -> None:
        data = model.plan.spec.data or Data()
        self.sources, self.rates, self.secret, self.stage = list(sources), list(rates), secret, stage_index
        self.workers = data.workers
        self.processors = model.processors()
        self.autoregressive = [name for name, head in model.parts.heads.items() if head.autoregressive]
        preparer = replace(model.preparer(), training=True)
        self.preparation = Preparation(self.sources, preparer, data.on_bad_sample == "skip", seed, stage_index)
        self.report = PackingReport()
        self.position = 0

    def __iter__(self) -> Iterator[list[PackedBatch]]:
        """Lots from the position on.

        Raises:
            DataError, PluginError: a row cannot be used.
        """
        lot: list[Prepared] = []
        for prepared, last in self._prepared():
            lot += prepared
            if last:
                for sample in lot:
                    if isinstance(sample, Failure):
                        raise sample.kind(str(sample))
                self.position += 1
                yield self._packed(lot)
                lot = []

    def drawn(self, step: int) -> list[Draw]:
        """The rows of a step, in order."""
        found = []
        for index, (rows, rate) in enumerate(zip(self.sources, self.rates, strict=True)):
            chosen = (
                generator(self.secret, self.secret >> 64, _SAMPLING, self.stage, step, index).random(len(rows)) < rate
            )
            found += [Draw(0, index, step, int(row)) for row in chosen.nonzero()[0]]
        return found

    def _chunks(self, ends: deque[bool]) -> Iterator[Chunk]:
        step = self.position
        while True:
            draws = self.drawn(step)
            for first in range(0, max(1, len(draws)), CHUNK):
                ends.append(first + CHUNK >= len(draws))
                yield Chunk({}, draws[first : first + CHUNK])
            step += 1

    def _prepared(self) -> Iterator[tuple[list[Prepared], bool]]:
        """Prepared chunks, and whether each is the last of its lot."""
        ends: deque[bool] = deque()
        if not self.workers:
            for chunk in self._chunks(ends):
                yield self.preparation.prepare(chunk), ends.popleft()
        loader: DataLoader[Any] = DataLoader(
            self.preparation,
            batch_size=None,
            sampler=self._chunks(ends),
            num_workers=self.workers,
            collate_fn=_same,
            generator=torch.Generator(),
        )
        for shipped in loader:
            yield receive(shipped), ends.popleft()

    def _packed(self, lot: Sequence[Prepared]) -> list[PackedBatch]:
        good = [sample for sample in lot if isinstance(sample, Sample)]
        bad = [sample for sample in lot if isinstance(sample, BadSample)]
        groups: list[list[Sample | BadSample]] = [[sample] for sample in good]
        if bad:
            groups = [[*groups[0], *bad], *groups[1:]] if groups else [[*bad]]
        return [pack(group, self.processors, self.autoregressive) for group in groups]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: how many lots were handed out."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on there."""
        self.position = state["position"]


def _same(value: Any) -> Any:
    return value
