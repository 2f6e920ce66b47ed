"""A model that is asked by many: what the routes share."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from starlette.requests import Request

from mmkit.errors import MmkitError, SampleError
from mmkit.model.batch import Sample
from mmkit.model.constrain import Schema
from mmkit.model.generate import BESIDE, Made, chosen_options
from mmkit.model.model import Model
from mmkit.model.rendering import with_files
from mmkit.model.streaming import Piece
from mmkit.serve.engine import Engine, said
from mmkit.serve.features import remember
from mmkit.serve.held import Held
from mmkit.serve.jobs import Job, tokens_of
from mmkit.serve.media import Media, to_data_uri
from mmkit.serve.meters import Meters
from mmkit.serve.offer import Choice, Offered, offered
from mmkit.serve.preparing import Preparing
from mmkit.serve.refusal import Refusal, bad, too_late
from mmkit.serve.settings import Settings

log = logging.getLogger("mmkit.serve")
T = TypeVar("T")
_SEEDS = 2**62


class GoneError(Exception):
    """The client has gone; nobody reads an answer."""


@dataclass(frozen=True)
class Answered:
    """Answers to one request, and the tokens of its input."""

    made: list[Made]
    tokens: int


class Service:
    """The model, its queue and its threads."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings, self.meters = model, settings, Meters()
        self.tasks = offered(model)
        self.choice = Choice(settings.name, self.tasks)
        if settings.feature_cache:
            remember(model, settings.feature_cache, self.meters)
        self.engine = Engine(model, settings, self.meters)
        self.meters.follow(self.engine.waiting)
        self.preparing = Preparing(model, settings)
        self.fetching = ThreadPoolExecutor(4, "mmkit-fetch")
        self.held = Held(model)
        self.media = Media(settings, self.fetching)

    def start(self) -> None:
        """Begin to answer."""
        self.engine.start()

    async def stop(self) -> None:
        """Answer what waits, then end."""
        await asyncio.to_thread(self.engine.stop, self.settings.drain_seconds)
        self.preparing.stop()
        self.held.stop()
        self.fetching.shutdown(wait=False, cancel_futures=True)

    def options(self, task: Offered, given: Mapping[str, Any], streamed: bool = False) -> tuple[dict[str, Any], bool]:
        """Decoding options of a request without its seed and its schema, and whether its answer is drawn.

        Raises:
            Refusal: an option that the task does not take, or that does not fit the others.
        """
        options = {name: value for name, value in given.items() if value is not None and name not in BESIDE}
        schema = {} if given.get("schema") is None else {"schema": given["schema"]}
        for name, most in (("max_new_tokens", self.settings.max_new_tokens), ("beams", self.settings.max_beams)):
            if isinstance(options.get(name), int) and options[name] > most:
                raise bad("invalid_option", f"{name} is {options[name]}; at most {most} is taken", name)
        try:
            chosen = chosen_options(self.model, task.name, {**options, **schema})
        except MmkitError as error:
            raise bad("invalid_option", str(error)) from None
        if streamed and chosen.get("beams", 1) > 1:
            raise bad("invalid_option", "beams > 1 cannot be streamed: which text wins is known at the end", "stream")
        return options, task.draws or bool(chosen.get("temperature"))

    async def ask(
        self, request: Request, task: Offered, row: Mapping[str, Any], given: Mapping[str, Any], count: int = 1
    ) -> Answered:
        """Predictions for one row: ``count`` of them, with seeds that follow one another.

        Raises:
            Refusal: no room, no time, or a value or an option that cannot be used. GoneError: nobody waits.
        """
        options, drawn = self.options(task, given)
        seed = _seed(given) if drawn else None
        self._reserve(count)
        jobs: list[Job] = []
        try:
            async with _deadline(request):
                sample = await unless_gone(request, self.preparing.sample(task.name, row))
                schema = await unless_gone(request, self.held.schema(task, given.get("schema")))
                for index in range(count):
                    jobs.append(self._job(sample, options, None if seed is None else seed + index, schema))
                made = await unless_gone(request, self._answers(jobs))
            self._count(task, tokens_of(sample), made)
            return Answered(made, tokens_of(sample))
        finally:
            self._end(jobs, count)

    async def embed(self, request: Request, task: Offered, column: str, values: Sequence[Any]) -> Answered:
        """Embeddings of values of one column.

        Raises:
            Refusal, GoneError: as ``ask``.
        """
        count, jobs = len(values), list[Job]()
        self._reserve(count)
        try:
            async with _deadline(request):
                for value in values:
                    sample = await unless_gone(request, self.preparing.sample(task.name, {column: value}, column))
                    jobs.append(self._job(sample, {}, None, embed=task.embeds[column]))
                made = await unless_gone(request, self._answers(jobs))
            tokens = sum(job.tokens for job in jobs)
            self._count(task, tokens, made)
            return Answered(made, tokens)
        finally:
            self._end(jobs, count)

    async def stream(
        self, request: Request, task: Offered, row: Mapping[str, Any], given: Mapping[str, Any]
    ) -> tuple[int, AsyncIterator[Piece]]:
        """Tokens of the input, and the pieces of an answer as they come. Its place is free again when the request ends, however it
        does.

        Raises:
            Refusal: as ``ask``; also while it is read.
        """
        options, drawn = self.options(task, given, streamed=True)
        self._reserve(1)
        jobs: list[Job] = []
        request.scope["mmkit"]["ends"].append(lambda: self._end(jobs, 1))
        async with _deadline(request):
            sample = await unless_gone(request, self.preparing.sample(task.name, row))
            schema = await unless_gone(request, self.held.schema(task, given.get("schema")))
        jobs.append(self._job(sample, options, _seed(given) if drawn else None, schema, streamed=True))
        return tokens_of(sample), self._pieces(request, task, jobs[0])

    async def _pieces(self, request: Request, task: Offered, job: Job) -> AsyncIterator[Piece]:
        until = request.scope["mmkit"]["until"]
        while (answer := await _in_time(job.answers.get(), until)) is not None:
            if isinstance(answer, BaseException):
                raise self.refusal(answer)
            yield answer
            if answer.last:
                self._count(task, job.tokens, [Made(None, answer.ids)])

    def _reserve(self, count: int) -> None:
        """Take places.

        Raises:
            Refusal: there are none, or nobody takes jobs.
        """
        if not self.engine.thread.is_alive():
            raise Refusal(503, "not_ready", "the model does not answer", headers={"Retry-After": "5"})
        self.engine.waiting.reserve(count)

    def _job(
        self,
        sample: Sample,
        options: Mapping[str, Any],
        seed: int | None,
        schema: Schema | None = None,
        streamed: bool = False,
        embed: int | None = None,
    ) -> Job:
        job = Job(sample, options, seed, asyncio.get_running_loop(), schema, streamed, embed)
        self.engine.waiting.put(job)
        return job

    async def _answers(self, jobs: Sequence[Job]) -> list[Made]:
        made = [await job.answers.get() for job in jobs]
        for answer in made:
            if not isinstance(answer, Made):
                raise self.refusal(answer)
        return made

    def _end(self, jobs: Sequence[Job], places: int) -> None:
        for job in jobs:
            job.cancel()
        self.engine.waiting.release(places)

    def _count(self, task: Offered, tokens: int, made: Sequence[Made]) -> None:
        self.meters.tokens.labels(task.name, "in").inc(tokens)
        self.meters.tokens.labels(task.name, "out").inc(sum(one.ids for one in made))

    def refusal(self, error: BaseException) -> Refusal:
        """What a client is told of an error of the model; the log has the rest."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, SampleError):
            return bad("invalid_value", str(error))
        log.error("the model failed: %s", said(error, self.settings.log_details))
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return Refusal(503, "out_of_memory", "the server has not enough memory for this request")
        return Refusal(500, "model_failed", "the model failed on this request")

    async def plain(self, value: Any) -> Any:
        """A value as JSON holds it: files as data URIs, numbers that are none as null."""
        return finite(await self._written(value, to_data_uri))

    async def files(self, value: Any) -> list[tuple[str, bytes]]:
        """The files, suffix and content, that a value becomes."""
        found: list[tuple[str, bytes]] = []

        def write(suffix: str, content: bytes) -> str:
            found.append((suffix, content))
            return ""

        await self._written(value, write)
        return found

    async def _written(self, value: Any, write: Callable[[str, bytes], str]) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, with_files, value, write)
        except Exception as error:
            raise self.refusal(error) from None


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return value


def _seed(given: Mapping[str, Any]) -> int:
    """That of the request, else any: who asks twice without one wants two answers."""
    seed = given.get("seed")
    return secrets.randbelow(_SEEDS) if seed is None else int(seed)


@asynccontextmanager
async def _deadline(request: Request) -> AsyncIterator[None]:
    """Until when a request may take; beyond that 504."""
    try:
        async with asyncio.timeout_at(request.scope["mmkit"]["until"]):
            yield
    except TimeoutError:
        raise too_late() from None


async def _in_time(work: Awaitable[T], until: float) -> T:
    try:
        return await asyncio.wait_for(work, until - asyncio.get_running_loop().time())
    except TimeoutError:
        raise too_late() from None


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What ``work`` gives, unless the client disconnects first.

    Raises:
        GoneError: it did.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise GoneError
        return working.result()
    finally:
        for task in (working, watching):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
