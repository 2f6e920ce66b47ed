"""What waits for the model: one prepared sample each, and how its answer goes back to the request's event loop."""

import asyncio
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.model.batch import Ids, Sample
from mmkit.model.constrain import Schema


@dataclass
class Job:
    """One sample to be predicted, or streamed.

    Attributes:
        options: without what may differ in a batch: the seed, and the schema that the answer is held to. embed: place of the node whose embedding is wanted, in place of a prediction.
        tokens: of its input. loop: where its answers are awaited; ``answers`` has one, or the pieces of a stream and then None.
    """

    sample: Sample
    options: Mapping[str, Any]
    seed: int | None
    loop: asyncio.AbstractEventLoop
    schema: Schema | None = None
    streamed: bool = False
    embed: int | None = None
    answers: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)
    since: float = field(default_factory=time.monotonic)
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def tokens(self) -> int:
        """As the model counts them."""
        return tokens_of(self.sample)

    @property
    def key(self) -> Hashable:
        """Jobs of one key are predicted together."""
        return self.sample.task, self.embed, self.seed is None, tuple(sorted(self.options.items()))

    def give(self, answer: Any) -> None:
        """From the model's thread: an answer, a piece, an error, or None where a stream ends."""
        try:
            self.loop.call_soon_threadsafe(self.answers.put_nowait, answer)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.gone.set()

    def cancel(self) -> None:
        """Nobody waits for it any more: it is dropped where it waits, a stream stops at its next piece."""
        self.gone.set()


def tokens_of(sample: Sample) -> int:
    """Tokens of a prepared sample's input."""
    return sum(len(part.ids) if isinstance(part, Ids) else part.tokens for part in sample.parts)
