"""What ``generate`` of transformers has to know of a task: where it ends, what it may write, how its head decodes."""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.logits_process import LogitsProcessor

from mmkit.interfaces import Backbone, Grammar
from mmkit.model.generate import LONGEST, OPTIONS
from mmkit.model.model import Model


class Legal(LogitsProcessor):
    """Minus infinity for what may not follow: the begin id, and what the vocabulary's grammar forbids."""

    def __init__(self, model: Model, task: str) -> None:
        name = model.plan.tasks[task].output_modality or ""
        self.vocabulary, self.offset = model.vocabularies.get(name), model.offsets.get(name, 0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Float["rows table"] → log-probabilities of what may follow; of nothing else, so that beams are scored as ours."""
        if self.vocabulary is None:
            return scores
        begin, end = self.offset + self.vocabulary.begin_id, self.offset + self.vocabulary.end_id
        if begin != end:
            scores = scores.index_fill(1, torch.tensor([begin], device=scores.device), float("-inf"))
        if not isinstance(self.vocabulary, Grammar):
            return scores.log_softmax(-1)
        mask = torch.ones_like(scores, dtype=torch.bool)
        for row, ids in enumerate(input_ids.tolist()):
            written = [i - self.offset for i in ids[ids.index(begin) + 1 :] if i != end]
            for legal in self.vocabulary.allowed(written):
                mask[row, self.offset + legal.start : self.offset + legal.stop] = False
        if not mask.all(1).any():
            scores = scores.masked_fill(mask, float("-inf"))
        return scores.log_softmax(-1)


def can_cache(model: Model, task: str) -> bool:
    """Whether the backbone decodes step by step."""
    backbone = model.parts.backbones.get(model.plan.tasks[task].reads[0])
    return backbone is not None and type(backbone).prefill is not Backbone.prefill


def generation_config_of(model: Model, task: str) -> GenerationConfig:
    """The head's decoding options in transformers' words."""
    head = model.parts.heads[task]
    if not head.autoregressive:
        return GenerationConfig(mmkit_task=task)
    name = model.plan.tasks[task].output_modality or ""
    vocabulary, offset = model.vocabularies[name], model.offsets[name]
    chosen: dict[str, Any] = {**OPTIONS, **{k: v for k, v in head.options().items() if k in OPTIONS}}
    longest = chosen["max_new_tokens"] or (vocabulary.longest if isinstance(vocabulary, Grammar) else LONGEST)
    made: dict[str, Any] = {
        "mmkit_task": task,
        "bos_token_id": offset + vocabulary.begin_id,
        "eos_token_id": offset + vocabulary.end_id,
        "pad_token_id": offset + vocabulary.end_id,
        "max_new_tokens": longest,
        "use_cache": can_cache(model, task),
        "num_beams": chosen["beams"],
    }
    if chosen["beams"] > 1:
        made |= {"length_penalty": chosen["length_penalty"], "early_stopping": True}
    if chosen["temperature"]:
        made |= {"do_sample": True, "temperature": chosen["temperature"]}
        made |= {"top_k": chosen["top_k"] or 0, "top_p": chosen["top_p"] or 1.0}
    return GenerationConfig(**made)


def merged(own: GenerationConfig, read: GenerationConfig | None) -> GenerationConfig:
    """What the folder's generation_config.json says of this task, over the head's options."""
    if read is not None and getattr(read, "mmkit_task", None) == getattr(own, "mmkit_task", None):
        own.update(**{name: value for name, value in read.to_diff_dict().items() if value is not None})
    return own
