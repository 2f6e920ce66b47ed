"""Rows → prepared samples in workers; mixing of sources by weight; counting of bad rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from mmkit.data.sources import Rows, open_source
from mmkit.errors import DataError, SampleError, nearest
from mmkit.model.batch import BadSample, PackedBatch, Sample, pack
from mmkit.model.model import Model
from mmkit.model.prepare import Preparer
from mmkit.spec.schema import Data, DataSource
from mmkit.wiring.graph import Plan


def open_all(plan: Plan, part: str) -> list[Rows]:
    """The sources of ``train``, ``valid`` or ``test``, their columns checked against the templates.

    Raises:
        DataError: nothing to read, or a template names a column that a file does not have.
    """
    data = plan.spec.data or Data()
    given: Sequence[DataSource] = getattr(data, part)
    if not given:
        raise DataError(f"the spec names no data.{part}; add data: {{{part}: [{{task: …, path: …}}]}}")
    opened = [open_source(source, data, plan.source.root) for source in given]
    for rows in opened:
        task = plan.tasks[rows.given.task]
        wanted = [*task.columns, *([task.output] if task.output else [])]
        names = rows.rows.column_names
        if names:
            have = [rows.given.rename.get(name, name) for name in names]
            for column in wanted:
                if column not in have:
                    hint = nearest(column, have)
                    raise DataError(
                        f"task {task.name!r} needs column {column!r}, which {rows.name} does not have: {hint}"
                    )
    return opened


class PreparedRows(Dataset[Sample | BadSample]):
    """All rows of several sources, prepared on access; a bad row raises or becomes a ``BadSample``."""

    def __init__(self, sources: Sequence[Rows], preparer: Preparer, skip: bool) -> None:
        self.sources = list(sources)
        self.preparer = preparer
        self.skip = skip
        self.starts = [0]
        for rows in self.sources:
            self.starts.append(self.starts[-1] + len(rows))

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Sample | BadSample:
        number = next(i for i in range(len(self.sources)) if index < self.starts[i + 1])
        rows, row = self.sources[number], index - self.starts[number]
        return prepare_row(rows, row, rows[row], self.preparer, self.skip)


def prepare_row(rows: Rows, number: int, row: dict[str, Any], preparer: Preparer, skip: bool) -> Sample | BadSample:
    """Prepare one row, or say why it cannot be."""
    address = f"{rows.name}:{number + 1}"
    try:
        return replace(preparer, root=rows.root)(rows.given.task, row, address=address)
    except SampleError as error:
        if skip:
            return BadSample(address, str(error))
        raise DataError(f"{address}: {error} (data.on_bad_sample: skip would leave such rows out)") from None


class Mixture(Sampler[int]):
    """Draws ``total`` rows: a source by weight, then the next row of that source's shuffled order."""

    def __init__(self, data: PreparedRows, total: int, seed: int) -> None:
        self.data, self.total, self.seed = data, total, seed

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        sizes = [len(rows) for rows in self.data.sources]
        if len(sizes) == 1:
            weights = torch.ones(1)
        else:
            weights = torch.tensor([rows.given.weight for rows in self.data.sources])
        orders: list[list[int]] = [[] for _ in sizes]
        for source in torch.multinomial(weights, self.total, replacement=True, generator=generator).tolist():
            if not orders[source]:
                orders[source] = torch.randperm(sizes[source], generator=generator).tolist()
            yield self.data.starts[source] + orders[source].pop()


class StreamedRows(IterableDataset[Sample | BadSample]):
    """Sources of which at least one is read row by row: never more in memory than the shuffling buffers.

    With ``total`` None every row comes once, in order; otherwise sources are drawn by weight, each repeated as
    often as needed. Every worker reads all rows and prepares its share.
    """

    BUFFER = 1000

    def __init__(
        self, sources: Sequence[Rows], preparer: Preparer, skip: bool, total: int | None = None, seed: int = 0
    ) -> None:
        self.sources, self.preparer, self.skip = list(sources), preparer, skip
        self.total, self.seed = total, seed

    def __iter__(self) -> Iterator[Sample | BadSample]:
        info = get_worker_info()
        mine, of = (info.id, info.num_workers) if info else (0, 1)
        for index, (rows, number, row) in enumerate(self._drawn() if self.total is not None else self._ordered()):
            if index % of == mine:
                yield prepare_row(rows, number, row, self.preparer, self.skip)

    def _ordered(self) -> Iterator[tuple[Rows, int, dict[str, Any]]]:
        for rows in self.sources:
            for number, row in enumerate(rows):
                yield rows, number, row

    def _drawn(self) -> Iterator[tuple[Rows, int, dict[str, Any]]]:
        generator = torch.Generator().manual_seed(self.seed)
        weights = torch.tensor([rows.given.weight for rows in self.sources])
        endless = [self._endless(rows) for rows in self.sources]
        for _ in range(self.total or 0):
            chosen = int(torch.multinomial(weights, 1, generator=generator))
            number, row = next(endless[chosen])
            yield self.sources[chosen], number, row

    def _endless(self, rows: Rows) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows for ever, each pass shuffled within a buffer."""
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            buffer: list[tuple[int, dict[str, Any]]] = []
            seen = 0
            for seen, pair in enumerate(enumerate(rows), 1):  # noqa: B007
                buffer.append(pair)
                if len(buffer) >= self.BUFFER:
                    yield buffer.pop(int(torch.randint(len(buffer), (1,), generator=generator)))
            for index in torch.randperm(len(buffer), generator=generator).tolist():
                yield buffer[index]
            if not seen:
                raise DataError(f"{rows.name} has no rows")


@dataclass
class Quarantine:
    """Bad rows seen so far; stops the run when their share passes the limit."""

    limit: float
    seen: int = 0
    bad: list[BadSample] = field(default_factory=list)

    def add(self, batch: PackedBatch) -> None:
        """Count a batch.

        Raises:
            DataError: too many rows were bad (after at least 100 rows, or when nothing is left).
        """
        self.seen += len(batch.tasks) + len(batch.bad)
        self.bad += batch.bad
        share = len(self.bad) / max(1, self.seen)
        if batch.bad and share > self.limit and (self.seen >= 100 or not batch.tasks):
            raise DataError(self.summary() + f"; more than data.max_bad = {self.limit:.1%} allows")

    def summary(self) -> str:
        """Counts and the first addresses."""
        first = "; ".join(f"{b.address}: {b.reason}" for b in self.bad[:3])
        return f"{len(self.bad)} of {self.seen} rows could not be used ({first})"


def autoregressive_tasks(model: Model) -> list[str]:
    """Tasks whose targets are counted in ids."""
    return [name for name, head in model.parts.heads.items() if head.autoregressive]


def loader(
    model: Model, sources: Sequence[Rows], batch_size: int, *, total: int | None = None, seed: int = 0
) -> "DataLoader[Any]":
    """Packed batches; ``total`` draws that many rows from the weighted mixture, else every row once in order."""
    data = model.plan.spec.data or Data()
    skip = data.on_bad_sample == "skip"
    if any(rows.given.streaming for rows in sources):
        streamed = StreamedRows(sources, model.preparer(), skip, total, seed)
        return DataLoader(streamed, batch_size, num_workers=data.workers, collate_fn=Collator(model))
    rows = PreparedRows(sources, model.preparer(), skip)
    sampler = None if total is None else Mixture(rows, total, seed)
    return DataLoader(
        rows,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=data.workers,
        collate_fn=Collator(model),
        persistent_workers=data.workers > 0,
    )


class Collator:
    """Packs prepared samples; picklable."""

    def __init__(self, model: Model) -> None:
        self.processors = model.processors()
        self.autoregressive = autoregressive_tasks(model)

    def __call__(self, samples: Sequence[Sample | BadSample]) -> PackedBatch:
        return pack(samples, self.processors, self.autoregressive)


def raw_values(sources: Sequence[Rows], plan: Plan, modality: str) -> Iterator[Any]:
    """Every raw value of a modality in the sources and the templates, to fit vocabularies on."""
    from mmkit.spec.template import Literal

    for task in plan.tasks.values():
        if modality == plan.literals:
            yield from (part.text for part in task.parts if isinstance(part, Literal))
    for rows in sources:
        task = plan.tasks[rows.given.task]
        columns = {c for c, m in task.modality_of.items() if m == modality}
        if task.output and task.output_modality == modality and task.spelt:
            columns.add(task.output)
        for row in rows:
            yield from (row[c] for c in sorted(columns) if row.get(c) is not None)


__all__ = ["Mixture", "PreparedRows", "Quarantine", "loader", "open_all", "raw_values"]
