"""Rows of raw values ⇄ what ``MmkitModel`` takes and gives, behind transformers' processor interface."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from mmkit.errors import MmkitError, SampleError, nearest
from mmkit.exchange.hf_build import ASSETS, parts_of, plan_of, push_options
from mmkit.exchange.hf_config import MmkitConfig
from mmkit.exchange.hf_inputs import padded
from mmkit.interfaces import HasAssets
from mmkit.model.batch import Sample
from mmkit.model.prepare import Preparer
from mmkit.ragged import Ragged
from mmkit.wiring.empty import empty_weights

Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]]
CALLED = {"images": "image", "videos": "video", "audio": "audio", "text": "text"}
"""What transformers calls its few kinds of input → the kind as components say it."""
NO_PARTS = (
    "a mmkit {what}: it prepares rows of any modality itself; use AutoProcessor, or pipeline('mmkit', model=…), "
    "since transformers' own pipelines want a tokenizer, an image processor or a feature extractor"
)


class MmkitFeatures(BatchFeature):
    """Tensors, and mappings of such."""

    def to(self, *args: Any, **kwargs: Any) -> "MmkitFeatures":
        """Move all of them, to a device or a type as ``Tensor.to``; integers keep their type."""
        self.data = _moved(self.data, args, kwargs)
        return self


class MmkitProcessor(ProcessorMixin):
    """Prepares rows by the templates of the spec, and spells what was generated.

    transformers knows five kinds of parts of a processor and loses others, so this one has no parts: it prepares any
    modality itself.
    """

    def __init__(self, prepare: Preparer, config: MmkitConfig) -> None:
        super().__init__()
        self.prepare, self.config, self.task = prepare, config, config.task

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> "MmkitProcessor":  # type: ignore[override]
        """From the folder of a model; ``task=`` names the task that is meant where a call names none."""
        config = MmkitConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)
        config.name_or_path = str(pretrained_model_name_or_path)
        planned = plan_of(config)
        with empty_weights():
            prepare = Preparer.of(planned, parts_of(config, planned))
        return cls(prepare, config)

    @classmethod
    def of(cls, model: Any) -> "MmkitProcessor":
        """Of a ``MmkitModel`` that is there; they share their vocabularies."""
        return cls(model.core.preparer(), model.config)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> None:  # type: ignore[override]
        """Write the configuration and the assets, which are all it needs; beside a model they are there already.
        ``push_to_hub=True`` is ``push_to_hub`` afterwards."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").is_file():
            self.config.save_pretrained(folder)
        for name, one in {**self.prepare.vocabularies, **self.prepare.continuous}.items():
            target = folder / ASSETS / f"{name}.adapter"
            if isinstance(one, HasAssets) and not target.is_dir():
                target.mkdir(parents=True)
                one.save_assets(target)
        pushed = push_options(options, folder)
        if pushed is not None:
            self.push_to_hub(**pushed)

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Upload what ``save_pretrained`` writes, as ``MmkitModel.push_to_hub`` uploads the model; without a card.

        Raises:
            MmkitError: it cannot be uploaded; the message says why.
        """
        from mmkit.exchange.hf_push import push_saved

        return push_saved(self.save_pretrained, repo_id, message="Upload processor", **options)

    def to_dict(self) -> dict[str, Any]:
        """What it shows of itself."""
        return {"processor_class": type(self).__name__, "task": self.task, "tasks": list(self.prepare.plan.tasks)}

    def __call__(
        self,
        rows: Rows | None = None,
        *,
        task: str | None = None,
        target: bool = False,
        root: str | Path | None = None,
        return_tensors: str = "pt",
        **columns: Any,
    ) -> MmkitFeatures:
        """Inputs of one batch of one task.

        Args:
            rows: one row, a mapping of columns, or a list of them. Else ``columns``: a value or a list of values each; also
                ``text``, ``images`` and ``audio`` as transformers has them, of the columns of those kinds.
            target: with ``labels``, of the output columns. root: paths of media are read inside this folder only.

        Raises:
            SampleError: a column is missing or its value cannot be used.
        """
        if return_tensors != "pt":
            raise MmkitError(f"return_tensors is 'pt', got {return_tensors!r}")
        task = self.known(task)
        given = [rows] if isinstance(rows, Mapping) else list(rows) if rows is not None else self._rows(task, columns)
        if not given:
            raise SampleError("there are no rows; give at least one")
        samples = [self.sample(row, task, target=target, root=root) for row in given]
        return MmkitFeatures(padded(self.prepare, self.config.vocab_size, samples, target))

    def sample(
        self, row: Mapping[str, Any], task: str, *, target: bool = False, root: str | Path | None = None
    ) -> Sample:
        """One row, prepared.

        Raises:
            SampleError: a column is missing or its value cannot be used.
        """
        prepare = self.prepare if root is None else replace(self.prepare, root=Path(root))
        return prepare(task, row, target=target)

    def known(self, task: str | None) -> str:
        """The task, or the one that is meant.

        Raises:
            MmkitError: there is no such task.
        """
        task = task or self.task
        if task not in self.prepare.plan.tasks:
            raise MmkitError(f"there is no task {task!r}: {nearest(task, list(self.prepare.plan.tasks))}")
        return task

    def _rows(self, task: str, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Columns → rows; one value stands for a row of its own."""
        named = {self._column(task, name): value for name, value in columns.items() if value is not None}
        lists = {name: value if isinstance(value, list | tuple) else [value] for name, value in named.items()}
        counts = {len(value) for value in lists.values()}
        if len(counts) > 1:
            said = ", ".join(f"{name} {len(value)}" for name, value in lists.items())
            raise SampleError(f"columns have different numbers of values: {said}")
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]

    def _column(self, task: str, name: str) -> str:
        """A column of the task, by its own name or by what transformers calls its kind."""
        planned = self.prepare.plan.tasks[task]
        if name in planned.columns or name in planned.outputs or name not in CALLED:
            return name
        kinds = {}
        for column, modality in planned.modality_of.items():
            placed = self.prepare.plan.modalities[modality]
            one = placed.encoder or placed.vocabulary
            kinds[column] = one.component.modality if one else ""
        found = [column for column, kind in kinds.items() if kind == CALLED[name]]
        if len(found) != 1:
            raise SampleError(
                f"{name}: task {task!r} has {len(found)} columns of the kind {CALLED[name]!r}; name the column"
            )
        return found[0]

    def collator(
        self, task: str | None = None, root: str | Path | None = None
    ) -> Callable[[Sequence[Any]], MmkitFeatures]:
        """``Trainer(data_collator=…)``: rows of raw values → a batch with labels."""
        chosen = self.known(task)
        return lambda rows: self(rows, task=chosen, target=True, root=root)

    def batch_decode(self, sequences: Any, task: str | None = None, **_: Any) -> list[Any]:
        """Values of what ``generate`` gave, with or without their prompts.

        Raises:
            MmkitError: the task does not generate.
        """
        task = self.known(task)
        head, name = self.prepare.heads[task], self.prepare.plan.tasks[task].output_modality or ""
        if not head.autoregressive:
            raise MmkitError(f"task {task!r} does not generate, so there is nothing to decode")
        offset, vocabulary = self.prepare.offsets[name], self.prepare.vocabularies[name]
        begin, end = offset + vocabulary.begin_id, offset + vocabulary.end_id
        found = []
        for row in sequences.tolist() if isinstance(sequences, Tensor) else sequences:
            ids = list(row)
            ids = ids[ids.index(begin) + 1 :] if begin in ids else ids
            ids = ids[: ids.index(end)] if end in ids else ids
            found.append(torch.tensor([i - offset for i in ids], dtype=torch.int64))
        return head.predict([Ragged.of(found)]) if found else []

    def decode(self, sequence: Any, task: str | None = None, **more: Any) -> Any:
        """The value of one sequence."""
        return self.batch_decode([sequence.tolist() if isinstance(sequence, Tensor) else sequence], task, **more)[0]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(NO_PARTS.format(what=f"processor has no {name!r}"))

    @property
    def model_input_names(self) -> list[str]:
        """Names of what a call gives."""
        return ["input_ids", "attention_mask", "token_type_ids", "task_ids", "media"]


class NoTokenizer:
    """Stands where transformers looks for a tokenizer, and would say that some library is missing."""

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> Any:
        """There is none.

        Raises:
            MmkitError: always; it says what to use.
        """
        raise MmkitError(NO_PARTS.format(what="model has no tokenizer"))


def _moved(value: Any, args: Any, kwargs: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(child, args, kwargs) for name, child in value.items()}
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point():
        return value.to(*args, **kwargs)
    args = tuple(one for one in args if not isinstance(one, torch.dtype))
    kwargs = {name: one for name, one in kwargs.items() if name != "dtype"}
    return value.to(*args, **kwargs) if args or kwargs else value
