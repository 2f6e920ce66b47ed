"""One pass over transformers' inputs: the same nodes as ``Model.forward`` runs, the answer padded again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.exchange.hf_cache import StepCache
from mmkit.exchange.hf_inputs import IGNORED, copies, packed, ragged_labels, split
from mmkit.interfaces import Backbone, Loss, Scores
from mmkit.interfaces.codec import streams_of
from mmkit.model.model import Model, Run
from mmkit.ragged import Ragged


@dataclass(frozen=True)
class Asked:
    """The inputs of one batch of one task."""

    model: Model
    task: str
    input_ids: Tensor
    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    media: Mapping[str, Any] | None

    @property
    def head(self) -> Any:
        """The task's."""
        return self.model.parts.heads[self.task]

    @property
    def node(self) -> str:
        """The first that the head reads; of one that generates, the backbone."""
        return self.model.plan.tasks[self.task].reads[0]

    @property
    def backbone(self) -> Backbone:
        """That decodes."""
        return self.model.parts.backbones[self.node]

    @property
    def span(self) -> slice:
        """Of the task's vocabulary in the shared table."""
        name = self.model.plan.tasks[self.task].output_modality or ""
        offset = self.model.offsets[name]
        return slice(offset, offset + self.model.vocabularies[name].size)

    @cached_property
    def parts(self) -> tuple[Ragged, Ragged, Tensor]:
        """Prompts, targets with their begin ids, and the targets' places."""
        return split(self.input_ids, self.attention_mask, self.token_type_ids)

    @property
    def copies(self) -> int:
        """Rows of a sample."""
        return copies(len(self.input_ids), self.media)

    def run(self) -> Run:
        """The pass, over every sample once."""
        prompts = self.parts[0]
        samples = prompts.select(range(0, len(prompts), self.copies))
        return Run(self.model, packed(self.model, self.task, samples, self.media).to(self.model.device))


def answer(
    asked: Asked,
    labels: Tensor | None,
    cache: StepCache | None,
    use_cache: bool,
    keep: int,
    counted: Tensor | int | None,
) -> dict[str, Any]:
    """The fields of ``MmkitOutput``."""
    if not asked.head.autoregressive:
        return _read(asked, labels, counted)
    name = asked.model.plan.tasks[asked.task].output_modality or ""
    if streams_of(asked.model.vocabularies[name]) > 1:
        raise MmkitError(
            f"task {asked.task!r} writes several ids of {name!r} a step, which transformers does not know; "
            "use model.core.predict, or pattern: flat in the codec"
        )
    if cache is not None:
        return _step(asked, cache)
    if use_cache and labels is None:
        return _prefill(asked)
    return _teach(asked, labels, keep, counted)


def _read(asked: Asked, labels: Tensor | None, counted: Tensor | int | None) -> dict[str, Any]:
    """A task whose head reads features."""
    run, samples = asked.run(), list(range(len(asked.input_ids)))
    features = [run.read(node, samples) for node in asked.model.plan.tasks[asked.task].reads]
    found: dict[str, Any] = {}
    if labels is not None:
        loss: Loss = asked.head.loss(features, ragged_labels(labels))
        found["loss"] = _loss(asked, loss, int((labels != IGNORED).sum()), counted)
        if asked.model.training:
            return found
    tensors = asked.head.outputs(features)
    plain = {name: value.to_padded()[0] if isinstance(value, Ragged) else value for name, value in tensors.items()}
    return {**found, "logits": next(iter(plain.values())), "outputs": plain}


def _loss(asked: Asked, loss: Loss, own: int, counted: Tensor | int | None) -> Tensor:
    """The mean over what the head counts; of a step of several passes, this one's share."""
    weight = asked.model.plan.tasks[asked.task].weight
    mean = weight * loss.total.float() / max(1, loss.count)
    return mean if counted is None else mean * own / counted


def _teach(asked: Asked, labels: Tensor | None, keep: int, counted: Tensor | int | None) -> dict[str, Any]:
    """Every target read at once."""
    _, targets, places = asked.parts
    rows = list(range(len(asked.input_ids)))
    prompt = asked.run().prompt(asked.node, [row // asked.copies for row in rows])
    states = asked.backbone(prompt, targets.replace(asked.backbone.embed(targets.values)))
    found: dict[str, Any] = {}
    if labels is not None:
        found["loss"] = _taught(asked, states, labels, places, counted)
        if asked.model.training:
            return found
    if keep:
        last = states.lengths.cumsum(0) - 1
        return {**found, "logits": _scores(asked, states.values[last.to(states.device)])[:, None]}
    scores = _scores(asked, states.values)
    logits = scores.new_full((*places.shape, scores.shape[1]), float("-inf"))
    logits[places] = scores
    return {**found, "logits": logits}


def _taught(asked: Asked, states: Ragged, labels: Tensor, places: Tensor, counted: Tensor | int | None) -> Tensor:
    """Cross-entropy of the labels, each from the state of the place before it."""
    after = torch.full_like(labels, IGNORED)
    after[:, :-1] = labels[:, 1:]
    wanted, owners = after[places], states.segments()
    known = wanted != IGNORED
    lengths = torch.bincount(owners[known], minlength=len(states)).cpu()
    span, taught = asked.span, states.values[known]
    scores = Scores(taught, lengths, asked.backbone, span.start, span.stop - span.start)
    loss: Loss = asked.head.loss([scores], Ragged(wanted[known] - span.start, lengths))
    return _loss(asked, loss, int(known.sum()), counted)


def _scores(asked: Asked, states: Tensor) -> Tensor:
    """Over the shared table; minus infinity outside the task's vocabulary."""
    scores = asked.backbone.logits(states).float()
    legal = torch.full_like(scores, float("-inf"))
    legal[:, asked.span] = scores[:, asked.span]
    return legal[:, : asked.model.parts.vocabulary_size]


def _prefill(asked: Asked) -> dict[str, Any]:
    """The prompts are read, then the targets token by token."""
    _, targets, places = asked.parts
    longest = max(targets.sizes, default=0)
    if not longest or set(targets.sizes) != {longest}:
        raise MmkitError(
            f"the targets have {targets.sizes} tokens; with a cache each row ends in as many, at least the begin id; "
            "give the processor's inputs, or use_cache=False"
        )
    run, kept = asked.run(), asked.copies
    state = asked.backbone.prefill(run.prompt(asked.node, list(range(len(places) // kept))))
    if kept > 1:
        rows = torch.arange(len(places), device=asked.input_ids.device) // kept
        state = state.reorder(rows)
    for step in range(longest):
        states = asked.backbone.step(state, asked.backbone.embed(targets.values.view(-1, longest)[:, step]))
    return {"logits": _scores(asked, states)[:, None], "past_key_values": StepCache(state, asked.input_ids.shape[1])}


def _step(asked: Asked, cache: StepCache) -> dict[str, Any]:
    """One more token each."""
    for token in asked.input_ids.T:
        states = asked.backbone.step(cache.state, asked.backbone.embed(token))
        cache.length += 1
    return {"logits": _scores(asked, states)[:, None], "past_key_values": cache}


class Forward:
    """``forward`` with the columns of the tasks in its signature: ``Trainer`` drops columns that it does not find there."""

    def __init__(self, model: Any) -> None:
        self.model, self.__name__ = model, "forward"
        own = signature(type(model).forward)
        known = [p for name, p in own.parameters.items() if name != "self"]
        columns = dict.fromkeys(
            column for task in model.core.plan.tasks.values() for column in (*task.columns, *task.outputs)
        )
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None)
            for name in columns
            if name.isidentifier() and name not in own.parameters
        ]
        self.__signature__ = own.replace(parameters=[*known[:-1], *more, known[-1]])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own ``forward``."""
        return type(self.model).forward(self.model, *args, **kwargs)
