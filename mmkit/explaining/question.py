"""What is asked: the number that is explained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError, SampleError
from mmkit.interfaces import Explainable
from mmkit.interfaces.codec import streams_of
from mmkit.model.batch import Ids, Sample, pack
from mmkit.model.generate import prepared, seeds_of
from mmkit.model.model import Model, Run


@dataclass(frozen=True)
class Question:
    """The score of one answer to one sample.

    Attributes:
        sample: prepared; of a generated answer, with its ids as the target.
        words: what the score is. answer: that is explained. wanted: what the head's ``score`` is given.
        outputs: the parts of the answer that have a score each: what is written for every id of a generated one.
    """

    model: Model
    task: str
    sample: Sample
    words: str
    answer: Any
    wanted: Any
    outputs: tuple[str, ...]

    def __call__(self, run: Run) -> Tensor:
        """Float["copies outputs"]; the score is their sum."""
        planned, head = self.model.plan.tasks[self.task], self.model.parts.heads[self.task]
        copies = list(range(len(run.batch.tasks)))
        if not head.autoregressive:
            features = [run.read(node, copies) for node in planned.reads]
            assert isinstance(head, Explainable)
            return head.score(features, self.wanted)[:, None]
        logits = run.scores(planned.reads[0], [self.task])[self.task].logits().float()
        ids = run.batch.targets[self.task].values
        return logits.log_softmax(-1).gather(1, ids[:, None]).view(len(copies), -1)


def question(model: Model, task: str, row: Mapping[str, Any], target: Any, root: str | Path | None) -> Question:
    """What is asked of a task: about ``target``, or about what it predicts.

    Raises:
        MmkitError: the task's head cannot be explained, or has no such answer. SampleError: as ``predict``.
    """
    planned, head = model.plan.tasks[task], model.parts.heads[task]
    if not (head.autoregressive or isinstance(head, Explainable)):
        can = [name for name, one in model.parts.heads.items() if one.autoregressive or isinstance(one, Explainable)]
        raise MmkitError(
            f"task {task!r} cannot be explained: its head {planned.head.component.full_name} has no score for one answer to "
            f"one sample; tasks of this model that can be: {', '.join(can) or 'none'} (a head can where it has the methods "
            "asked and score of mmkit.Explainable)"
        )
    if not planned.columns:
        raise MmkitError(f"task {task!r} cannot be explained: its input has no column")
    prepare = replace(model.preparer(root), caches={})
    sample = prepare(task, row, target=False)
    if head.autoregressive:
        return _generated(model, task, sample, prepare, row, target)
    assert isinstance(head, Explainable)
    asked = model.predict(task, row, root) if target is None else target
    try:
        words, wanted = head.asked(asked)
    except SampleError as error:
        raise MmkitError(f"target of task {task!r}: {error}") from None
    return Question(model, task, sample, words, asked, wanted, ("",))


def _generated(model: Model, task: str, sample: Sample, prepare: Any, row: Mapping[str, Any], target: Any) -> Question:
    planned, head = model.plan.tasks[task], model.parts.heads[task]
    assert planned.output_modality is not None
    vocabulary = model.vocabularies[planned.output_modality]
    if target is None:
        run = Run(model, pack([sample], model.processors()).to(model.device))
        with torch.no_grad():
            decoder, prompt, chosen = prepared(run, task, {"seed": seeds_of(head.options().get("seed", 0), 1)})
            ids = decoder.sample(prompt, chosen)[0]
        ended = [] if decoder.cut else [vocabulary.end_id] * streams_of(vocabulary)
        sample = replace(sample, target=torch.tensor([*ids, *ended], dtype=torch.int64))
    else:
        given = target if planned.written else {planned.output: target}
        if not isinstance(given, Mapping):
            raise MmkitError(f"target of task {task!r} is a mapping of its columns: {', '.join(planned.outputs)}")
        sample = prepare(task, {**row, **given})
    assert sample.target is not None
    if not len(sample.target):
        raise MmkitError(f"task {task!r}: the answer is empty, there is nothing to explain")
    ids = sample.target.tolist()
    answer = vocabulary.decode(ids) if target is None else target
    words = f"log-probability of {len(ids)} {'id' if len(ids) == 1 else 'ids'}"
    return Question(model, task, sample, words, answer, None, tuple(piece(vocabulary, one) for one in ids))


def pieces_of(asked: Question, modality: str, run: Ids) -> tuple[str, ...]:
    """What every id of a run of the input says."""
    vocabulary, offset = asked.model.vocabularies[modality], asked.model.offsets[modality]
    return tuple(piece(vocabulary, number - offset) for number in run.ids)


def piece(vocabulary: Any, number: int) -> str:
    """What one id says, where that is text; else the id."""
    if number == vocabulary.end_id:
        return "⏹"
    try:
        said = vocabulary.decode([number])
    except Exception:  # a vocabulary whose values are never one id
        return str(number)
    return said if isinstance(said, str) and said else str(number)
