"""JSON Schemas of requests: tried where they can do no harm, then compiled beside the model."""

import asyncio
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmkit.errors import MmkitError
from mmkit.model import json_grammar
from mmkit.model.constrain import Schema, compiled
from mmkit.model.model import Model
from mmkit.serve.offer import Offered
from mmkit.serve.refusal import bad

KEPT = 32
PATIENCE = 5
"""How many times its processor time a trial may take on a machine that is busy."""


class Held:
    """Compiles schemas one at a time and keeps the last ones.

    A few lines of a schema can ask for more memory and time than there is, and nothing can stop a compiler inside this process; so a
    schema that was not seen before is compiled in a process of its own first, which ends at its limits.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pool = ThreadPoolExecutor(1, "mmkit-schema")
        self.kept: OrderedDict[tuple[str, str], Schema] = OrderedDict()

    async def schema(self, task: Offered, given: Mapping[str, Any] | None) -> Schema | None:
        """The schema of a request, compiled for the vocabulary of a task; None where none is given.

        Raises:
            Refusal: answers cannot be held to it.
        """
        if given is None:
            return None
        modality = self.model.plan.tasks[task.name].output_modality or ""
        try:
            key = (modality, json_grammar.written(given))
            if key not in self.kept:
                run = asyncio.get_running_loop().run_in_executor
                self.kept[key] = await run(self.pool, self._compiled, modality, dict(given), key[1])
        except json_grammar.Unusable as error:
            raise bad("invalid_schema", f"answers cannot be held to this schema: {error}", "schema") from None
        except MmkitError as error:
            raise bad("invalid_schema", str(error), "schema") from None
        self.kept.move_to_end(key)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return self.kept[key]

    def _compiled(self, modality: str, given: dict[str, Any], text: str) -> Schema:
        tried(text)
        return compiled(self.model.vocabularies[modality], modality, given)

    def stop(self) -> None:
        """Take no more."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def tried(text: str) -> None:
    """Compile a schema, as ``json_grammar.written`` gives it, in a process that may take ``SECONDS`` and ``MEBIBYTES``.

    Raises:
        Unusable: it takes more, or cannot be used.
    """
    command = [sys.executable, "-P", json_grammar.__file__]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=PATIENCE * json_grammar.SECONDS, check=False
        )
        said = done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode < 0:  # ended by a signal
        raise json_grammar.Unusable(json_grammar.TOO_COMPLEX)
    if done.returncode:
        raise RuntimeError(f"{json_grammar.__file__} failed: {done.stderr.decode('utf-8', 'replace')[-600:]}")
    if said:
        raise json_grammar.Unusable(said)
