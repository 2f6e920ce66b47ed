"""The thread that owns the model: batches of equal jobs, and streams that take turns with them."""

import logging
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmkit.model.batch import pack
from mmkit.model.generate import Made, made_batch
from mmkit.model.model import Model, Run
from mmkit.model.streaming import Piece, stream_prepared
from mmkit.serve.jobs import Job
from mmkit.serve.meters import Meters
from mmkit.serve.settings import Settings
from mmkit.serve.waiting import Waiting

log = logging.getLogger("mmkit.serve")


@dataclass
class Stream:
    """An answer that comes piece by piece."""

    job: Job
    pieces: Iterator[Piece]


class Engine:
    """Runs the model in a thread of its own. Nothing else calls it."""

    def __init__(self, model: Model, settings: Settings, meters: Meters) -> None:
        self.model, self.settings, self.meters = model.eval(), settings, meters
        self.waiting = Waiting(settings)
        self.streams: list[Stream] = []
        self.thread = threading.Thread(target=self._run, name="mmkit-model", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self.thread.start()

    def stop(self, seconds: float) -> None:
        """Take no further jobs; wait for those that are there."""
        self.waiting.close()
        if self.thread.is_alive():
            self.thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self.thread.is_alive() and not self.waiting.closed

    def _run(self) -> None:
        going = True
        while going:
            try:
                going = self._turn()
            except Exception as error:  # a fault of ours: those that wait for this turn run into their deadline
                log.error("the model's thread goes on after: %s", said(error, self.settings.log_details))

    def _turn(self) -> bool:
        """A batch or the beginning of a stream, and a piece of every stream; whether there is more to come."""
        room = len(self.streams) < self.settings.streams
        jobs = self.waiting.take(0.0 if self.streams else None, room)
        if jobs and jobs[0].streamed:
            self._begin(jobs[0])
        elif jobs:
            self._predict(jobs)
        elif not self.streams and self.waiting.closed:
            return False
        self._advance()
        return True

    def _begin(self, job: Job) -> None:
        options = dict(job.options) | ({} if job.seed is None else {"seed": job.seed})
        if job.schema is not None:
            options["schema"] = job.schema
        self.streams.append(Stream(job, stream_prepared(self.model, job.sample, options)))

    def _advance(self) -> None:
        """One piece of every stream."""
        for stream in list(self.streams):
            job = stream.job
            try:
                piece = None if job.gone.is_set() else next(stream.pieces, None)
            except Exception as error:
                job.give(error)
                piece = None
            if piece is None:
                stream.pieces.close()  # type: ignore[attr-defined]
                self.streams.remove(stream)
                job.give(None)
            else:
                job.give(piece)
        self.meters.streams.set(len(self.streams))

    def _predict(self, jobs: Sequence[Job]) -> None:
        started = time.monotonic()
        self.meters.batch.observe(len(jobs))
        for job in jobs:
            self.meters.queued.observe(started - job.since)
        for job, answer in zip(jobs, self._answers(jobs), strict=True):
            job.give(answer)
        self.waiting.took(time.monotonic() - started, len(jobs))

    def _answers(self, jobs: Sequence[Job]) -> list[Any]:
        """An answer or an error for each; where a batch fails each of its jobs is tried alone, to find the one at fault."""
        try:
            return self._together(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            said = traceback.extract_tb(error.__traceback__)[-1]
            log.warning(
                "a batch of %d failed (%s at %s:%d): one by one",
                len(jobs),
                type(error).__name__,
                said.filename,
                said.lineno,
            )
        return [answer for job in jobs for answer in ([None] if job.gone.is_set() else self._answers([job]))]

    @torch.no_grad()
    def _together(self, jobs: Sequence[Job]) -> list[Any]:
        model, first = self.model, jobs[0]
        batch = pack([job.sample for job in jobs], model.processors()).to(model.device)
        if first.embed is not None:
            return self._embedded(batch, first, len(jobs))
        options: Mapping[str, Any] = first.options
        if first.seed is not None:
            options = {**options, "seed": [job.seed for job in jobs]}
        if any(job.schema is not None for job in jobs):
            options = {**options, "schema": [job.schema for job in jobs]}
        made: list[Made] = made_batch(model, first.sample.task, batch, **options)
        return list(made)

    def _embedded(self, batch: Any, job: Job, count: int) -> list[Any]:
        task, place = job.sample.task, job.embed or 0
        features = Run(self.model, batch).read(self.model.plan.tasks[task].reads[place], list(range(count)))
        vectors = self.model.parts.heads[task].embed_one(place, features)
        return [Made(vector) for vector in vectors.float().cpu().tolist()]


def said(error: BaseException, details: bool) -> str:
    """An error for the log: its type and where it was raised; its message, which may hold what a client sent, only with
    ``details``."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames[-6:]))
    message = f": {error}" if details else ""
    return f"{type(error).__name__}{message} at {where}"
