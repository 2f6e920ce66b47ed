"""Chunks of draws → prepared samples, in a data worker or in the main process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset, get_worker_info

from mmkit.data.draws import Chunk
from mmkit.data.masked import SHORT, masked
from mmkit.data.seeds import own_randomness, sample_seed, seed_everything
from mmkit.data.sources import Rows, without_stream
from mmkit.data.transport import ship
from mmkit.errors import DataError, MmkitError, PluginError, SampleError
from mmkit.model.batch import BadSample, Sample
from mmkit.model.prepare import Preparer


class Failure(str):
    """Why the run must stop: an error's message, which the main process raises when the row's turn comes."""

    kind: type[MmkitError] = DataError


class PluginFailure(Failure):
    """A component's fault."""

    kind = PluginError


Prepared = Sample | BadSample | Failure
Fetched = dict[str, Any] | Failure | SampleError


class Preparation(Dataset[Any]):
    """Prepares the draws of a chunk. What a sample becomes depends on its row, its pass and the seed alone."""

    def __init__(self, sources: Sequence[Rows], preparer: Preparer, skip: bool, seed: int, stage: int) -> None:
        self.sources = [without_stream(rows) for rows in sources]
        self.preparers = [replace(preparer, root=rows.root) for rows in sources]
        self.skip, self.seed, self.stage = skip, seed, stage

    def keep(self, columns: Sequence[str]) -> None:
        """Hand these columns of the rows on with the samples."""
        self.preparers = [replace(preparer, kept=tuple(columns)) for preparer in self.preparers]

    def __getitem__(self, chunk: Chunk) -> Any:
        """The prepared samples of ``chunk.draws``; shipped, when called in a worker."""
        prepared = self.prepare(chunk)
        return prepared if get_worker_info() is None else ship(prepared)

    def prepare(self, chunk: Chunk) -> list[Prepared]:
        """One result a draw, in order."""
        rows = self._rows(chunk)
        with own_randomness():
            return [
                self._one(draw.source, draw.epoch, draw.row, row) for draw, row in zip(chunk.draws, rows, strict=True)
            ]

    def _rows(self, chunk: Chunk) -> list[Fetched]:
        found: list[Any] = [None] * len(chunk.draws)
        for source in {draw.source for draw in chunk.draws}:
            places = [place for place, draw in enumerate(chunk.draws) if draw.source == source]
            given = self._fetched(source, chunk, [chunk.draws[place].row for place in places])
            for place, row in zip(places, given, strict=True):
                found[place] = row
        return found

    def _fetched(self, source: int, chunk: Chunk, numbers: list[int]) -> Sequence[Fetched]:
        rows = self.sources[source]
        try:
            if source not in chunk.tables:
                return rows.fetch(numbers)
            from datasets.formatting import PythonFormatter

            columns = PythonFormatter(rows.rows).format_batch(chunk.tables[source])
            return [
                rows.renamed(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
            ]
        except SampleError as error:
            if len(numbers) == 1:
                return [error]
            return [self._fetched(source, chunk, [number])[0] for number in numbers]
        except MmkitError as error:
            return [(PluginFailure if isinstance(error, PluginError) else Failure)(error)] * len(numbers)
        except Exception as error:
            detail = str(error).splitlines()[0] if str(error) else ""
            failure = Failure(f"cannot read {rows.name}: {type(error).__name__}: {detail}")
            return [failure] * len(numbers)

    def _one(self, source: int, epoch: int, number: int, row: Fetched) -> Prepared:
        if isinstance(row, Failure):
            return row
        address = self.sources[source].address(number, epoch)
        seed_everything(sample_seed(self.seed, self.stage, source, epoch, number))
        try:
            if isinstance(row, SampleError):
                raise row
            return self.preparers[source](self.sources[source].given.task, row, address=address)
        except SampleError as error:
            known = {} if isinstance(row, SampleError) else row
            if self.skip:
                return BadSample(address, masked(str(error), known))
            files = self.preparers[source].file_columns(self.sources[source].given.task)
            told = {
                column: value for column, value in known.items() if column not in files
            }  # a file's name is an address
            return Failure(
                f"{address}: {masked(str(error), told, SHORT)} (data.on_bad_sample: skip would leave such rows out)"
            )
        except MmkitError as error:
            return (PluginFailure if isinstance(error, PluginError) else Failure)(f"{address}: {error}")
        except Exception as error:
            error.add_note(f"while preparing {address}")
            raise
