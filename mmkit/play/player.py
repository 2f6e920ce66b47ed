"""One task of a loaded model, asked by the page: one call at a time, each with its time and its tokens."""

import logging
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmkit
from mmkit.errors import MmkitError
from mmkit.explaining.look import has_attention
from mmkit.interfaces import Codec
from mmkit.model.batch import Media
from mmkit.model.model import Model
from mmkit.play.answer import Answer, places_of
from mmkit.play.columns import columns_of
from mmkit.play.decoding import chosen, options_of

_log = logging.getLogger("mmkit.play")


def explainer() -> Callable[..., Any] | None:
    """``mmkit.explain``, where this mmkit has it."""
    found = getattr(mmkit, "explain", None)
    return found if callable(found) else None


GRADIENTS, ATTENTION = "gradients", "gradients and attention"
"""How an answer is explained."""


class Player:
    """Answers one task.

    Attributes:
        ways: in which its answers can be explained; none without an explainer.

    Args:
        folder: of uploads and answers; no other file is read. lock: of the model, shared by its tasks.
    """

    def __init__(self, model: Model, task: str, folder: Path, lock: threading.Lock) -> None:
        self.model, self.task, self.folder, self.lock = model, task, folder.resolve(), lock
        self.columns, self.options = columns_of(model, task), options_of(model, task)
        self.ways: tuple[str, ...] = (GRADIENTS,) if explainer() else ()
        if self.ways and has_attention(model, task):
            self.ways += (ATTENTION,)
        self.streams = model.parts.heads[task].autoregressive and not self._in_chunks()

    def _in_chunks(self) -> bool:
        """Whether pieces of the output cannot be shown before the whole is there, as a browser's player starts anew with each."""
        vocabulary = self.model.vocabularies.get(self.model.plan.tasks[self.task].output_modality or "")
        return isinstance(vocabulary, Codec) and vocabulary.grid is None

    def row(self, fields: Sequence[Any]) -> dict[str, Any]:
        """The sample; of fields in the order of the columns, two where a column has two.

        Raises:
            SampleError: a field is empty or damaged.
        """
        left, found = list(fields), {}
        for column in self.columns:
            count = 2 if column.form == "file" else 1
            found[column.name] = column.value(left[:count])
            left = left[count:]
        return found

    def ask(self, fields: Sequence[Any], options: Sequence[Any], explain: str = "") -> Iterator[Answer]:
        """The answer as it comes into being; an error is an answer, too, and tells nothing of the program.

        Args:
            explain: one of the ``ways``; empty: not at all.
        """
        with self.lock:
            try:
                yield from self._asked(self.row(fields), chosen(self.options, options), explain)
            except MmkitError as error:
                yield Answer(fault=self._private(str(error)))
            except MemoryError:
                yield Answer(fault="the memory of this machine does not suffice for that; give less")
            except Exception as error:
                _log.error("task %r failed: %s", self.task, type(error).__name__)
                yield Answer(fault="this failed for a reason that lies in the program, not in what you gave")

    def _asked(self, row: Mapping[str, Any], options: Mapping[str, Any], explain: str) -> Iterator[Answer]:
        began = time.perf_counter()
        sample = self.model.preparer(self.folder)(self.task, row, target=False)
        read = sum(part.tokens if isinstance(part, Media) else len(part.ids) for part in sample.parts)
        value: Any = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if self.streams and options.get("beams", 1) == 1:
                for value in self._pieces(row, options):
                    yield Answer(places_of(value, self._write), "…")
            else:
                value = self.model.predict(self.task, row, root=self.folder, **options)
        said = self._said(time.perf_counter() - began, read, value)
        notes = [
            str(one.message) for one in caught if one.category is UserWarning and str(one.message).startswith("task ")
        ]
        answer = Answer(places_of(value, self._write), " · ".join([said, *notes]))
        yield answer
        function = explainer() if explain else None
        if function is not None:
            yield Answer(answer.places, answer.said + " · explaining …")
            wanted: dict[str, Any] = {"target": value} if isinstance(value, str) else {}
            wanted |= {"attention": True} if explain == ATTENTION else {}
            try:
                why = function(self.model, self.task, row, root=self.folder, **wanted).html()
                yield Answer(answer.places, answer.said, why=why)
            except MmkitError as error:
                yield Answer(answer.places, answer.said, fault=self._private(str(error)))

    def _pieces(self, row: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Any]:
        """The value so far, longer with every piece."""
        value: Any = None
        for piece in self.model.stream(self.task, row, self.folder, **options):
            if isinstance(piece.value, str) and not piece.replaces:
                value = (value or "") + piece.value
            elif piece.value is not None:
                value = piece.value
            yield value

    def _said(self, seconds: float, read: int, value: Any) -> str:
        words = [f"{seconds:.2f} s", f"{read} tokens read"]
        vocabulary = self.model.vocabularies.get(self.model.plan.tasks[self.task].output_modality or "")
        if vocabulary is not None and isinstance(value, str) and self.model.parts.heads[self.task].autoregressive:
            words.append(f"{len(vocabulary.encode(value))} tokens written")
        return " · ".join(words)

    def _write(self, suffix: str, content: bytes) -> str:
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="answer-", suffix=f".{suffix}", delete=False) as file:
            file.write(content)
        return file.name

    def _private(self, message: str) -> str:
        """Without the folder that uploads are in."""
        return message.replace(f"{self.folder}/", "").replace(f"the data folder {self.folder}", "the folder of uploads")
