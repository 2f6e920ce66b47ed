"""Threads that turn requests into samples, so that media are decoded while the model is busy. Each has components of its own."""

import asyncio
import logging
import pickle
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from mmkit.errors import PluginError, SampleError
from mmkit.model.batch import Sample
from mmkit.model.model import Model
from mmkit.model.prepare import Preparer
from mmkit.serve.engine import said
from mmkit.serve.jobs import tokens_of
from mmkit.serve.refusal import bad
from mmkit.serve.settings import Settings

log = logging.getLogger("mmkit.serve")
THREADS = 2


class Preparing:
    """A pool of preparers. Samples are prepared one by one: what is wrong with one is no other's trouble."""

    def __init__(self, model: Model, settings: Settings) -> None:
        preparer = model.preparer()
        self.caches, self.settings = preparer.caches, settings
        self.copy = pickle.dumps(replace(preparer, caches={}))
        self.own = threading.local()
        self.pool = ThreadPoolExecutor(THREADS, "mmkit-prepare", initializer=self._begin)

    def _begin(self) -> None:
        self.own.preparer = replace(pickle.loads(self.copy), caches=self.caches)

    async def sample(self, task: str, row: Mapping[str, Any], alone: str | None = None) -> Sample:
        """The sample of a row; ``alone``: of this column only.

        Raises:
            Refusal: a value cannot be used, or is too long.
        """
        made = await asyncio.get_running_loop().run_in_executor(self.pool, self._prepared, task, row, alone)
        tokens = tokens_of(made)
        if tokens > self.settings.max_tokens:
            most = self.settings.max_tokens
            raise bad("too_many_tokens", f"the input has {tokens} tokens; at most {most} are taken")
        return made

    def _prepared(self, task: str, row: Mapping[str, Any], alone: str | None) -> Sample:
        preparer: Preparer = self.own.preparer
        try:
            if alone is not None:
                return preparer.alone(task, alone, row[alone])
            return preparer(task, row, target=False)
        except SampleError as error:
            raise bad("invalid_value", str(error)) from None
        except PluginError as error:
            log.warning("a value was refused: %s", said(error, self.settings.log_details))
            raise bad("invalid_value", f"a value of task {task!r} cannot be read") from None

    def stop(self) -> None:
        """End the threads once what they do is done."""
        self.pool.shutdown(wait=False, cancel_futures=True)
