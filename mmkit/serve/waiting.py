"""The bounded queue between requests and the model."""

import math
import threading
import time
from collections import deque

from mmkit.serve.jobs import Job
from mmkit.serve.refusal import Refusal
from mmkit.serve.settings import Settings

_KEPT = 0.9
"""Weight of what was known before in the running mean of a request's time."""


class Waiting:
    """Jobs that wait, in order; what leaves is a batch of one kind. A place is taken before a job is prepared, so that the bound
    holds whatever clients send."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.changed = threading.Condition()
        self.jobs: deque[Job] = deque()
        self.places = self.tokens = 0
        self.closed = False
        self.each = 0.05

    def reserve(self, count: int = 1) -> None:
        """Take places before the samples are prepared.

        Raises:
            Refusal: there are none, or the server stops.
        """
        with self.changed:
            if self.closed:
                raise Refusal(503, "stopping", "the server is stopping", headers={"Retry-After": "5"})
            if self.places + count > self.settings.queue_requests or self.tokens > self.settings.queue_tokens:
                raise self._full()
            self.places += count

    def release(self, count: int = 1) -> None:
        """Give places back."""
        with self.changed:
            self.places -= count

    def put(self, job: Job) -> None:
        """Add a job whose place is taken.

        Raises:
            Refusal: there is no room for its tokens.
        """
        with self.changed:
            if self.tokens and self.tokens + job.tokens > self.settings.queue_tokens:
                raise self._full()
            self.jobs.append(job)
            self.tokens += job.tokens
            self.changed.notify_all()

    def _full(self) -> Refusal:
        after = max(1, math.ceil(self.places * self.each))
        return Refusal(
            429,
            "queue_full",
            "too many requests are waiting; try again later",
            headers={"Retry-After": str(min(after, 60))},
        )

    def take(self, wait: float | None, streams: bool) -> list[Job]:
        """The next batch: the oldest job and those behind it that may go with it; nothing where none came in time.

        Args:
            wait: seconds; None: until there is one, or the queue is closed. streams: whether a job to be streamed may begin.
        """
        until = None if wait is None else time.monotonic() + wait
        with self.changed:
            while not (ready := self._ready(streams)) and not self.closed:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self.changed.wait(left)
            if not ready:
                return []
            if wait is None and not ready[0].streamed:
                self._company(ready[0], streams)
                ready = self._ready(streams)
            for job in ready:
                self.jobs.remove(job)
                self.tokens -= job.tokens
            return ready

    def _company(self, first: Job, streams: bool) -> None:
        """Give those that are being prepared a few milliseconds to join the first job of an idle model."""
        until = first.since + self.settings.batch_wait
        while (left := until - time.monotonic()) > 0 and len(self.jobs) < min(
            self.places, self.settings.batch_requests
        ):
            self.changed.wait(left)

    def _ready(self, streams: bool) -> list[Job]:
        """Jobs that go together, oldest first; those that nobody waits for are dropped."""
        for job in [job for job in self.jobs if job.gone.is_set()]:
            self.jobs.remove(job)
            self.tokens -= job.tokens
        first = next((job for job in self.jobs if streams or not job.streamed), None)
        if first is None or first.streamed:
            return [] if first is None else [first]
        chosen, tokens = list[Job](), 0
        for job in self.jobs:
            fits = tokens + job.tokens <= self.settings.batch_tokens or not chosen
            if not job.streamed and job.key == first.key and fits:
                chosen.append(job)
                tokens += job.tokens
            if len(chosen) == self.settings.batch_requests:
                break
        return chosen

    def took(self, seconds: float, count: int) -> None:
        """How long a batch took, for what ``Retry-After`` says."""
        self.each = _KEPT * self.each + (1 - _KEPT) * seconds / count

    def close(self) -> None:
        """No further jobs; those that wait are still taken."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
